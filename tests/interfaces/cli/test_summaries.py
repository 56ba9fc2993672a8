"""`study summarise`, and sweeps whose clusters are worded."""

from pathlib import Path

import pytest

from tests.interfaces.cli.conftest import Study
from tests.support.misbehaving_server import MisbehavingServer

ROWS = """text,topic,stars
The night train to Rome was late.,travel,1
The bus to Rome was early.,travel,5
We baked a cake with butter.,food,5
We baked bread in the oven.,food,5
"""


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "mine.csv"
    path.write_text(ROWS)
    return path


def test_every_text_of_a_file_has_its_summary_and_again_nothing_is_paid(study_here: Study, csv: Path) -> None:
    words = ("summarise", str(csv), "--provider", "local", "--json")
    first = study_here(*words).document
    assert [item["index"] for item in first["items"]] == [0, 1, 2, 3]
    assert first["items"][0]["summary"] == "The night train to Rome was late."
    assert (first["fell_back"], {item["status"] for item in first["items"]}) == (0, {"success"})
    again = study_here(*words).document
    assert [item["call_id"] for item in again["items"]] == [item["call_id"] for item in first["items"]]
    assert all(item["cached"] for item in again["items"])
    members = study_here("calls", "--group", f"summarization_batch/{first['name']}", "--json").document["items"]
    assert len(members) == 4


def test_rows_are_summarised_by_a_column_of_a_dataset(study_here: Study, csv: Path) -> None:
    study_here("dataset", "import", str(csv), "--name", "mine")
    done = study_here("summarise", "mine", "--by", "topic", "--provider", "local", "--group", "summarization_batch/t")
    assert done.code == 0
    assert "travel" in done.out
    assert "rome" in done.out.lower()
    assert "baked" in done.out.lower()
    assert "2 summarised, 0 fell back" in done.err
    one = study_here("summarise", "mine", "--by", "topic", "--max-texts", "1", "--provider", "local", "--json").document
    assert [item["key"] for item in one["items"]] == ["travel", "food"]
    assert "The night train to Rome was late." in one["items"][0]["summary"]


def test_what_fails_falls_back_and_says_so_and_when_all_fail_the_command_does(study_here: Study, csv: Path) -> None:
    with MisbehavingServer() as server:
        settings = {"OPENAI_BASE_URL": server.url, "STUDY_CHAT_ATTEMPTS": "1"}
        server.behave_by(lambda request, _number: "server_error" if b"bread" in request.body else "ok")
        words = ("summarise", str(csv), "--provider", "openai", "--model", "m", "--template", "Short: {texts}")
        done = study_here(*words, **settings)
        assert done.code == 0
        assert "fell back" in done.out
        assert "1 fell back" in done.err
        server.behave_always("null_content")
        done = study_here(*words, "--again", "--json", **settings)
        assert done.code == 1
        assert {(item["status"], item["fell_back"]) for item in done.document["items"]} == {("empty", True)}
        assert done.document["items"][3]["summary"] == "We baked bread in the oven."


def test_what_cannot_be_summarised_is_told(study_here: Study, csv: Path) -> None:
    for words, code, said in (
        (("mine.csv", "--by", "color"), 2, "no column 'color'"),
        (("mine.csv", "--text-column", "words"), 2, "no column 'words'"),
        (("mine.csv", "--template", "no place"), 2, "no {texts}"),
        (("mine.csv", "--by", "topic", "--max-texts", "0"), 2, "At least 1 text"),
        (("mine.csv", "--temperature", "3"), 2, "temperature"),
        (("none.csv",), 3, "none.csv"),
        (("nobody",), 3, "no dataset named 'nobody'"),
        (("nobody", "--text-column", "text"), 2, "belong to a file"),
    ):
        done = study_here("summarise", *words, "--provider", "local")
        assert (done.code, said in done.err) == (code, True), done.err


def test_k_llmmeans_is_swept_with_the_bundled_models_and_leads_back_to_the_bytes(study_here: Study, csv: Path) -> None:
    study_here("dataset", "import", str(csv), "--name", "mine", "--label-column", "topic")
    words = ("sweep", "run", "mine", "--provider", "local", "--method", "k-llmmeans", "--k-min", "2", "--k-max", "3")
    words += ("--summarise", "local/local-extract", "--param", "rounds=2", "--param", "sample=3", "--pca-dim", "3")
    sweep = study_here(*words, "--json").document
    assert (sweep["status"], sweep["method"]) == ("finished", "k-llmmeans")
    assert [(done["k"], done["round"]) for done in sweep["rounds"]] == [(2, 1), (2, 2), (3, 1), (3, 2)]
    assert study_here(*words, "--json").document == sweep
    assert all(cluster["named_by_call_id"] for cluster in sweep["clusters"])
    shown = study_here("sweep", "show", sweep["sweep_id"])
    assert "4 rounds replaced 10 centroids by what was said of their clusters" in shown.out
    walk = study_here("provenance", "cluster", f"{sweep['sweep_id']}/0", "--depth", "8", "--json").document
    names = {(node["kind"], link["name"]) for node in walk["nodes"] for link in node["links"] or ()}
    assert {
        ("step", "summaries"),
        ("step", "summaries_embedded"),
        ("cluster", "name"),
        ("attempt", "received"),
    } <= names
    report = Path(study_here("report", sweep["sweep_id"], "--out", "r.html", "--json").document["report"]).read_text()
    assert "were to be replaced by summaries" in report
    assert "--param rounds=2 --param sample=3" in report
    plain = study_here(*words[:-8], "--param", "summary=medoid", "--json").document
    assert not any(cluster["named_by_call_id"] for cluster in plain["clusters"])


def test_every_ks_clusters_are_named_when_asked(study_here: Study, csv: Path) -> None:
    study_here("dataset", "import", str(csv), "--name", "mine")
    words = ("sweep", "run", "mine", "--provider", "local", "--k-max", "3", "--summarise", "local/local-extract")
    sweep = study_here(*words, "--name-every-k", "--json").document
    assert all("step_clusters" in step["artifact_ids"] for step in sweep["steps"])
    assert len(study_here("calls", "--json").document["items"]) <= 1 + 2 + 3
    of_two = next(step for step in sweep["steps"] if step["k"] == 2)["artifact_ids"]["step_clusters"]
    assert study_here("artifact", "get", of_two, "--out", "names.json").code == 0
    assert study_here(*words, "--json").document["sweep_id"] != sweep["sweep_id"]


def test_parameters_are_read_by_name(study_here: Study, csv: Path) -> None:
    study_here("dataset", "import", str(csv), "--name", "mine")
    words = ("sweep", "run", "mine", "--provider", "local", "--k-max", "3", "--method", "k-llmmeans")
    for more, said in (
        ((), "needs somebody who summarises"),
        (("--param", "rounds"), "NAME=VALUE"),
        (("--param", "rounds=0", "--summarise", "local/local-extract"), "rounds"),
        (("--param", "turns=1", "--summarise", "local/local-extract"), "no parameter 'turns'"),
        (("--summarise", "local/other"), "other"),
        (("--summarise", "local/local-extract", "--param", "embedding=local"), "PROVIDER/MODEL"),
    ):
        done = study_here(*words, *more)
        assert (done.code, said in done.err) == (2, True), done.err
