"""k-llmmeans against a server that misbehaves, and in a process that is killed: no call too many, and none twice."""

import hashlib
import json
import os
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

import study_query_llm as sq
from tests.conftest import Database
from tests.support.misbehaving_server import Behaviour, MisbehavingServer, Received
from tests.support.server_process import server_process
from tests.support.warm_process import WarmCommand

K, ROUNDS, SAMPLE = 4, 3, 5
TEXTS = [f"text {number} of {'poison' if number % 9 == 0 else 'bread'}" for number in range(40)]
REFUSAL = json.dumps(
    {
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": None, "refusal": "No."}, "finish_reason": "stop"}
        ]
    }
).encode()


def listed(request: dict[str, Any]) -> list[str]:
    return [line for line in request["messages"][-1]["content"].splitlines() if line.startswith("- ")]


def unruly(request: Received, _number: int) -> str | Behaviour:
    """Whatever a prompt meets, it meets each time; a summary that says poison is not embedded."""
    if request.path.endswith("/embeddings"):
        return "bad_request" if b"echo" in request.body and b"poison" in request.body else "ok"
    fates: tuple[str | Behaviour, ...] = ("ok", "server_error", "null_content", Behaviour("reply", body=REFUSAL), "ok")
    return fates[hashlib.sha256(request.body).digest()[0] % len(fates)]


def test_every_call_is_one_of_k_times_l_and_whatever_fails_is_recorded(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDY_CHAT_ATTEMPTS", "2")
    with MisbehavingServer() as server:
        server.behave_by(unruly)
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        with sq.open(database_url=database.application_uri, home=tmp_path) as study:
            sweep = study.sweep(
                study.embed(TEXTS, provider="openai", model="e"),
                texts=TEXTS,
                method="k-llmmeans",
                k=[K],
                restarts=2,
                pca_dim=4,
                paraphraser="openai/m",
                parameters={"rounds": ROUNDS, "sample": SAMPLE},
            )
            calls = [call for call in study.calls(limit=1000) if call["modality"] == "text"]
            whole = {call["call_id"]: study.call(call["call_id"]) for call in calls}
            report = study.report(sweep.sweep_id, tmp_path / "report.html").read_text()
    assert len(calls) == K * ROUNDS
    assert all(1 <= len(listed(call["request"])) <= SAMPLE for call in whole.values())
    summaries = {one["call_id"]: one for done in sweep.document["rounds"] for one in done["summaries"]}
    assert summaries.keys() == whole.keys()
    seen = set()
    for call_id, one in summaries.items():
        call = whole[call_id]
        seen.add(one.get("status", "success"))
        match one.get("status", "success"):
            case "failed":
                assert (call["status"], call["attempts"]) == ("failed", 2)
            case "empty":
                assert (call["status"], call["text"]) == ("success", None)
            case "refused":
                assert call["text"] == "No."
            case "not_embedded":
                assert "poison" in call["text"]
            case _:
                assert not one.get("fell_back", False)
                assert "poison" not in call["text"]
                assert call["text"].startswith("echo: ")
        assert one.get("fell_back", False) == (one.get("status", "success") != "success")
    assert {"failed", "success", "not_embedded"} <= seen
    fell_back = sum(one.get("fell_back", False) for one in summaries.values())
    assert sum(done["fell_back"] for done in sweep.document["rounds"]) == fell_back > 0
    assert f"{fell_back} of them stayed the means they were" in " ".join(report.split())


def rounds_in(uri: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(uri) as connection:
        return connection.execute(
            "SELECT k, round, labels_sha256, centroids_sha256, summaries_json FROM study.sweep_rounds ORDER BY k, round"
        ).fetchall()


def answers_in(uri: str) -> int:
    with psycopg.connect(uri) as connection:
        found = connection.execute(
            "SELECT count(*) FROM study.raw_calls WHERE modality = 'text' AND status = 'success'"
        ).fetchone()
    assert found is not None
    return int(found[0])


def stored(uri: str) -> dict[str, int]:
    """How many events there are of each name that counts here; the log and not a table of it, which may lag."""
    with psycopg.connect(uri) as connection:
        rows = connection.execute("SELECT topic, count(*) FROM events.events GROUP BY topic").fetchall()
    return dict(rows)


def test_a_process_killed_between_rounds_and_within_one_repeats_none_and_ends_with_the_same_bits(
    database: Database, tmp_path: Path
) -> None:
    lines, log = tmp_path / "texts.txt", tmp_path / "server.jsonl"
    lines.write_text("\n".join(TEXTS))
    words = ("--provider", "openai", "--model", "e", "--method", "k-llmmeans", "--k-min", str(K), "--k-max", str(K))
    words += ("--summarise", "openai/m", "--param", f"rounds={ROUNDS}", "--param", f"sample={SAMPLE}", "--json")

    def chats() -> int:
        return log.read_text().count("/chat/completions") if log.exists() else 0

    with server_process(log) as address:
        environment = {
            **os.environ,
            "DATABASE_URL": database.application_uri,
            "STUDY_HOME": str(tmp_path),
            "OPENAI_BASE_URL": address,
            "STUDY_CHAT_ATTEMPTS": "1",
        }

        def study(*words: str) -> closing[WarmCommand]:
            return closing(WarmCommand(*words, folder=tmp_path, environment=environment))

        def done(*words: str) -> str:
            with study(*words) as command:
                code, out, error = command.ended()
            assert code == 0, error
            return out

        run = ("sweep", "run", "mine", *words)
        done("dataset", "import", str(lines), "--name", "mine")
        for kill in (1, 2):
            with study(*run) as sweeping:
                while chats() < K * kill + kill:  # in the round after the one that was finished
                    assert sweeping.exit_code is None
                    time.sleep(0.002)
        survived = stored(database.owner_uri).get("sweep.round_finished.v1", 0)
        first = json.loads(done(*run))
        asked, rounds, answered = chats(), rounds_in(database.owner_uri), answers_in(database.owner_uri)
        second = json.loads(done(*run, "--force"))
    assert survived >= 1
    assert stored(database.owner_uri)["sweep.round_finished.v1"] == 2 * ROUNDS
    # A call under way when its process was killed is nobody's answer: at most one round of them for each kill.
    assert K * ROUNDS <= asked <= K * (ROUNDS + 2)
    assert first["sweep_id"] != second["sweep_id"]
    alike = ("k", "round", "labels_sha256", "centroids_sha256", "objective", "iterations")
    assert [[each[name] for name in alike] for each in first["rounds"]] == [
        [each[name] for name in alike] for each in second["rounds"]
    ]
    for step, other in zip(first["steps"], second["steps"], strict=True):
        assert (step["labels_sha256"], step["centroids_sha256"]) == (other["labels_sha256"], other["centroids_sha256"])
    assert len(rounds) == ROUNDS
    assert answered == K * ROUNDS
