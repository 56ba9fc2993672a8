import json
import re
from pathlib import Path

import numpy as np
import psycopg
import pytest

from tests.conftest import Database
from tests.interfaces.cli.conftest import Study
from tests.support.misbehaving_server import MisbehavingServer

TEXTS = {
    "travel": [
        "the train to Rome is late",
        "a train ticket to Paris",
        "which train goes to Rome",
        "the night train to Paris",
    ],
    "food": ["bake bread with flour", "bread needs more flour", "bake a cake with flour", "a recipe to bake bread"],
    "pets": ["the cat sleeps all day", "my cat eats fish", "a cat and her kitten", "the kitten plays with the cat"],
}


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    file = tmp_path / "texts.csv"
    rows = [f'"{text}",{topic}' for topic, texts in TEXTS.items() for text in texts]
    file.write_text("text,topic\n" + "\n".join(rows) + "\n")
    return file


def test_a_question_is_answered_recorded_and_found_again(study_here: Study) -> None:
    asked = study_here("ask", "Rome is in Italy. Where is Rome?", "--json", "--group", "batch/cities")
    assert asked.code == 0
    answer = asked.document
    assert answer["status"] == "success"
    assert set(answer["tokens"]) == {"prompt", "completion", "total", "cached"}
    listed = study_here("calls", "--json", "--group", "batch/cities").document
    assert [call["call_id"] for call in listed["items"]] == [answer["call_id"]]
    assert study_here("call", answer["call_id"], "--json").document["text"] == answer["text"]
    history = study_here("history", "call", answer["call_id"], "--json").document["items"]
    assert [event["event"] for event in history] == ["call.requested.v1", "call.answered.v1"]
    assert study_here("calls", "--as-of", "0", "--json").document["items"] == []
    assert answer["text"] in study_here("ask", "Rome is in Italy. Where is Rome?").out


def test_a_failure_is_recorded_and_exits_with_1(study: Study, study_here: Study) -> None:
    with MisbehavingServer() as server:
        server.behave_always("unauthorized")
        settings = {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "sk-planted-secret-42"}
        failed = study("ask", "?", "--json", "--log-level", "debug", **settings)
        assert failed.code == 1
        assert failed.document["title"] == "Provider failed"
        call = study_here("call", failed.document["call_id"], "--json", **settings)
    assert call.document["status"] == "failed"
    assert call.document["error"]["kind"] == "authentication"
    assert call.document["response"] is None
    assert "planted" not in failed.out + failed.err + call.out


def test_an_openai_compatible_endpoint_is_asked_through_its_retries(study_here: Study) -> None:
    with MisbehavingServer() as server:
        server.behave("rate_limited", "ok")
        answer = study_here("ask", "hello", "--json", OPENAI_BASE_URL=server.url).document
    assert (answer["provider"], answer["text"], answer["attempts"]) == ("openai", "echo: hello", 2)


def test_every_question_can_be_asked_as_of_a_moment(study_here: Study, tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("a cat\na dog\na bus\n")
    study_here("dataset", "import", str(tmp_path / "lines.txt"), "--name", "lines")
    swept = study_here("sweep", "run", "lines", "--provider", "local", "--k-max", "2", "--restarts", "1", "--json")
    sweep_id = swept.document["sweep_id"]
    call_id = study_here("calls", "--json").document["items"][0]["call_id"]
    last = study_here("history", "sweep", sweep_id, "--json").document["items"][-1]
    for words in (("calls",), ("dataset", "list"), ("sweep", "list")):
        found = [
            len(study_here(*words, "--as-of", when, "--json").document["items"])
            for when in ("0", "2020-01-01", str(last["position"]), last["recorded_at"], "2999-01-01")
        ]
        assert found == [0, 0, 1, 1, 1], words
    for words in (("call", call_id), ("dataset", "show", "lines"), ("sweep", "show", sweep_id)):
        assert study_here(*words, "--as-of", last["recorded_at"]).code == 0
        before = study_here(*words, "--as-of", "0")
        assert (before.code, "at position 0" in before.err) == (3, True), words
        beyond = study_here(*words, "--as-of", "20990301", "--json")
        assert (beyond.code, beyond.document["fields"]) == (2, ["as_of"]), words


def test_a_file_of_prompts_keeps_its_order_and_its_failures(study_here: Study, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("\n".join(json.dumps({"prompt": f"prompt {number}"}) for number in range(1, 31)))
    with MisbehavingServer() as server:
        server.behave_by(lambda request, _number: "bad_request" if b"prompt 7" in request.body else "ok")
        done = study_here("ask", "--file", str(prompts), "--json", OPENAI_BASE_URL=server.url)
    assert done.code == 1
    items = done.document["items"]
    assert [item["line"] for item in items] == list(range(1, 31))
    assert [item["line"] for item in items if item["status"] == "failed"] == [7]
    assert items[2]["text"] == "echo: prompt 3"
    assert items[6]["call_id"] is not None


def test_a_file_that_is_asked_again_pays_only_for_what_has_no_answer(study_here: Study, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"prompt {number}"}) + "\n" for number in range(1, 9)))
    words = ("ask", "--file", str(prompts), "--json")
    with MisbehavingServer() as server:
        server.behave_by(lambda request, _number: "bad_request" if b"prompt 7" in request.body else "ok")
        failed = study_here(*words, "--in-flight", "3", OPENAI_BASE_URL=server.url)
        server.behave_by(lambda _request, _number: "ok")
        mended = study_here(*words, OPENAI_BASE_URL=server.url)
        assert (failed.code, mended.code, len(server.requests)) == (1, 0, 9)
        assert [item["cached"] for item in mended.document["items"]] == [True] * 6 + [False, True]
        assert mended.document["name"].startswith("prompts.jsonl ")
        anew = study_here(*words, "--again", "--group", "batch/anew", OPENAI_BASE_URL=server.url)
        assert (anew.document["name"], len(server.requests)) == ("anew", 17)
        told = study_here(*words[:-1], OPENAI_BASE_URL=server.url)
        assert "8 asked, 8 of them without a call of their own" in told.err
    assert study_here(*words, "--in-flight", "0").code == 2


def test_of_several_answers_those_that_came_are_shown_and_the_others_named(study_here: Study) -> None:
    with MisbehavingServer() as server:
        server.behave_by(lambda _request, number: "bad_request" if number == 1 else "ok")
        done = study_here("ask", "hello", "-n", "3", OPENAI_BASE_URL=server.url)
    assert (done.code, done.out.count("echo: hello")) == (1, 2)
    assert "1 of 3 failed; the first: openai failed after 1 attempt" in done.err
    groups = {call["call_id"] for call in study_here("calls", "--json").document["items"]}
    assert len(groups) == 3


def test_an_earlier_answer_is_asked_for_with_a_time(study_here: Study, tmp_path: Path) -> None:
    words = ("ask", "The cat sat.", "--temperature", "0", "--json")
    first = study_here(*words, "--no-share").document
    again = study_here(*words, "--cache", "1h").document
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "The cat sat.", "cache": "10m", "share": false}\n')
    lines = study_here("ask", "--file", str(tmp_path / "prompts.jsonl"), *words[2:]).document["items"]
    assert [each["cached"] for each in (first, again, *lines)] == [False, True, True]
    shown = study_here("call", again["call_id"]).out
    assert first["call_id"] in shown
    assert first["text"] in shown
    assert study_here("history", "call", again["call_id"]).code == 0
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "?", "cache": [1]}\n')
    for wrong in ((*words, "--cache", "soon"), ("ask", "?", "--cache", "1h"), ("ask", "--file", "prompts.jsonl")):
        assert study_here(*wrong).code == 2, wrong


def test_a_line_of_a_file_overrides_the_options(study_here: Study, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "Rome", "n": 2, "group": "batch/lines"}\n\n{"prompt": ""}\n', encoding="utf-8-sig")
    done = study_here("ask", "--file", str(prompts), "--provider", "local", "--group", "batch/all")
    items = [json.loads(line) for line in done.out.splitlines()]
    # The empty line is none of the questions, and yet it counts: people look for what failed in their editor.
    assert [(item["line"], item["status"]) for item in items] == [(1, "success"), (1, "success"), (3, "rejected")]
    assert (done.code, "1 of 3 failed" in done.err) == (1, True)
    found = study_here("calls", "--group", "batch/lines", "--json").document["items"]
    assert {call["call_id"] for call in found} == {items[0]["call_id"], items[1]["call_id"]}


def test_a_file_of_plain_lines_is_answered_with_what_a_line_looks_like(
    study_here_without_store: Study, tmp_path: Path
) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("Name a prime.\nName another.\n")
    done = study_here_without_store("ask", "--file", str(prompts))
    assert (done.code, "line 1: JSON is malformed" in done.err, '{"prompt": "Name a prime."}' in done.err) == (
        2,
        True,
        True,
    )


def test_an_unknown_key_of_a_line_is_named(study_here_without_store: Study, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "Rome"}\n{"prompt": "Rome", "temprature": 1}\n')
    done = study_here_without_store("ask", "--file", str(prompts))
    assert (done.code, "line 2: unknown key temprature" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("ask",), 2, "Give either a PROMPT or --file"),
        (("ask", "?", "--group", "nameless"), 2, "TYPE/NAME"),
        (("calls", "--since", "soon"), 2, "is no time"),
        (("sweep", "run"), 2, "DATASET or --vectors"),
        (("sweep", "run", "x", "--rank", "2"), 2, "belongs to k-subspaces"),
        (("sweep", "run", "x", "--k-min", "5", "--k-max", "4"), 2, "K runs"),
        (("report", "0195512a-7c00-7000-8000-000000000001", "--out", "nowhere/report.html"), 2, "no folder nowhere"),
        (("quickstart", "--out", "."), 2, "is a folder"),
        (("quickstart", "--out", "/"), 2, "is a folder"),
        (("db", "stop"), 2, "DATABASE_URL is set"),
    ],
)
def test_wrong_input_is_refused_before_the_store_is_opened(
    study_here_without_store: Study, words: tuple[str, ...], code: int, says: str
) -> None:
    done = study_here_without_store(*words)
    assert (done.code, says in done.err) == (code, True), done
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("ask", "?", "--provider", "gemini"), 2, "azure, openai, hyperbolic, local"),
        (("ask", "?", "--provider", "azure"), 2, "AZURE_OPENAI_API_KEY"),
        (("ask", "?", "--temperature", "9"), 2, "between 0 and 2"),
        (("call", "nonsense"), 3, "is no id"),
        (("call", "0195512a-7c00-7000-8000-000000000001"), 3, "There is no call"),
        (("calls", "--as-of", "yesterday"), 2, "neither a position nor a time"),
        (("dataset", "show", "nowhere"), 3, "nowhere"),
        (("report", "0195512a-7c00-7000-8000-000000000001"), 3, "There is no sweep"),
        (("projections", "rebuild", "nothing"), 3, "nothing"),
    ],
)
def test_wrong_input_is_answered_in_words(study_here: Study, words: tuple[str, ...], code: int, says: str) -> None:
    done = study_here(*words)
    assert (done.code, says in done.err) == (code, True), done
    assert "Traceback" not in done.err


def test_serving_other_machines_without_a_token_is_refused(study: Study) -> None:
    done = study("serve", "--host", "0.0.0.0")
    assert (done.code, "other machines" in done.err) == (2, True), done


def test_a_store_that_is_not_there_exits_with_4(study_here_without_store: Study) -> None:
    done = study_here_without_store("calls", "--json")
    assert done.code == 4
    assert done.document["title"] == "Store unavailable"
    assert "secret-password" not in done.out + done.err


def test_a_wrong_setting_is_named(study_here_without_store: Study) -> None:
    done = study_here_without_store("calls", STUDY_CHAT_ATTEMPTS="many")
    assert done.code == 2
    assert "STUDY_CHAT_ATTEMPTS" in done.err


def test_a_bad_row_is_named_by_its_line(study_here_without_store: Study, tmp_path: Path) -> None:
    file = tmp_path / "bad.csv"
    file.write_text("text,label\nfine,a\nbroken\n")
    done = study_here_without_store("dataset", "import", str(file), "--name", "bad")
    assert done.code == 2
    assert "line 3" in done.err


def test_the_same_content_is_the_same_dataset_and_another_needs_another_name(study_here: Study, csv: Path) -> None:
    words = ("dataset", "import", str(csv), "--name", "mine", "--label-column", "topic", "--json")
    assert study_here(*words).document["imported"] is True
    assert study_here(*words).document["imported"] is False
    csv.write_text("text,topic\nother,x\n")
    assert study_here(*words).code == 2


def test_a_sweep_runs_is_found_again_and_reports(study_here: Study, csv: Path, tmp_path: Path) -> None:
    study_here("dataset", "import", str(csv), "--name", "mine", "--label-column", "topic")
    words = ("sweep", "run", "mine", "--k-max", "4", "--restarts", "3", "--pca-dim", "4", "--json")
    first = study_here(*words, "--summarise", "local/local-extract").document
    again = study_here(*words, "--summarise", "local/local-extract").document
    assert first == again
    assert first["status"] == "finished"
    assert [step["k"] for step in first["steps"]] == [2, 3, 4]
    assert sum(cluster["size"] for cluster in first["clusters"]) == 12
    assert all(cluster["named_by_call_id"] for cluster in first["clusters"])
    forced = study_here(*words, "--summarise", "local/local-extract", "--force").document
    assert forced["sweep_id"] != first["sweep_id"]
    assert [step["labels_sha256"] for step in forced["steps"]] == [step["labels_sha256"] for step in first["steps"]]
    done = study_here("report", first["sweep_id"], "--out", "r.html", "--json")
    assert "night train" in Path(done.document["report"]).read_text()
    study_here("report", first["sweep_id"], "--out", "r.md")
    assert "night train" in Path("r.md").read_text()
    assert "Chosen: K" in study_here("sweep", "show", first["sweep_id"]).out


def test_vectors_made_elsewhere_are_swept_with_their_texts(study_here: Study, csv: Path, tmp_path: Path) -> None:
    vectors = np.repeat(np.eye(3, 8, dtype=np.float32), 4, axis=0)
    np.save(tmp_path / "v.npy", vectors + np.random.default_rng(0).normal(0, 0.01, vectors.shape).astype(np.float32))
    words = ("sweep", "run", "--vectors", "v.npy", "--k-max", "4", "--restarts", "2", "--pca-dim", "0", "--json")
    sweep = study_here(*words, "--texts", f"{csv}:text", "--labels", str(csv)).document
    assert sweep["chosen_k"] == 3
    step = next(step for step in sweep["steps"] if step["k"] == 3)
    assert (step["acc"], step["nmi"], step["ari"]) == (1.0, 1.0, 1.0)
    assert "kitten" in " ".join(text for cluster in sweep["clusters"] for text in cluster["representatives"])
    assert study_here("sweep", "run", "--vectors", "v.npy", "--labels", "missing.csv").code == 3


def test_a_row_changed_by_hand_is_named(study_here: Study, database: Database) -> None:
    call_id = study_here("ask", "Rome is in Italy.", "--json").document["call_id"]
    assert study_here("projections", "rebuild").code == 0
    assert study_here("projections", "verify").code == 0
    with psycopg.connect(database.owner_uri, autocommit=True) as owner:
        row = owner.execute(
            "SELECT generation FROM projections.generations WHERE name = 'raw_calls' AND state = 'live'"
        )
        (generation,) = row.fetchone() or (0,)
        owner.execute(f"UPDATE raw_calls_g{generation}.calls SET model = 'forged'".encode())
    verified = study_here("projections", "verify")
    assert verified.code == 1
    assert call_id in verified.out
    assert "calls" in verified.out
    assert study_here("projections", "rebuild", "raw_calls").code == 0
    assert study_here("projections", "verify").code == 0


def test_the_doctor_says_that_all_is_well(study_here: Study) -> None:
    done = study_here("doctor", "--json")
    assert done.code == 0
    found = {item["check"]: item["detail"] for item in done.document["items"]}
    assert {*found} >= {"store", "home", "room", "log", "sweeps", "providers", "read model raw_calls"}
    assert "Python 3." in found["program"]
    assert re.fullmatch(r"\d+ events; Postgres \d\d[.\d]*.*, database test_\w+, \d+ MB with all tables", found["store"])


def test_the_doctor_says_when_there_is_no_room_left(
    study_here_without_store: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interfaces.cli.doctor.LEAST_FREE", 2**80)
    done = study_here_without_store("doctor", "--json")
    room = next(item for item in done.document["items"] if item["check"] == "room")
    assert (done.code, room["ok"]) == (1, False)
    assert "Make room" in room["remedy"]


def test_providers_are_listed_with_their_models(study_here: Study) -> None:
    with MisbehavingServer() as server:
        done = study_here("providers", "--models", "--json", OPENAI_BASE_URL=server.url)
    assert [item["provider"] for item in done.document["items"]] == ["openai", "local"]
    assert "gpt-4o-mini" in done.document["items"][0]["models"]


def test_what_providers_use_by_default_is_validated_once(study_here: Study) -> None:
    with MisbehavingServer() as server:
        own = {
            "AZURE_OPENAI_ENDPOINT": server.root,
            "AZURE_OPENAI_API_KEY": "sk-not-a-real-one",
            "AZURE_OPENAI_DEPLOYMENT": "gpt-4o-mini-deploy",
            "AZURE_OPENAI_EMBEDDING_DEPLOYMENT": "gone",
        }
        done = study_here("providers", "--validate", "--json", **own)
        again = study_here("providers", "--validate", **own)
        asked = len(server.requests)
        assert study_here("providers", "--validate", "--again", "--json", **own).code == 0
        assert len(server.requests) > asked
    assert done.code == 0, done.err
    azure = done.document["items"][0]["validated"]
    assert [(each["operation"], each["model"], each["outcome"]) for each in azure] == [
        ("chat", "gpt-4o-mini-deploy", "available"),
        ("embeddings", "gone", "missing"),
    ]
    assert "remembered" in again.out
    assert study_here("providers", "--again").code == 2


def test_why_nothing_is_known_of_a_provider_is_said_in_its_row(study_here: Study) -> None:
    with MisbehavingServer() as server:
        server.behave_always("unauthorized")
        done = study_here("providers", "--validate", OPENAI_BASE_URL=server.url, OPENAI_API_KEY="sk-not-a-real-one")
    assert done.code == 0, done.err
    assert "unknown; openai failed after 1 attempt: HTTP 401" in " ".join(done.out.split())
    assert "deployment not available" not in done.err
