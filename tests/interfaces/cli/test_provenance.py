"""Provenance, the log and exact bytes on the command line."""

import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.conftest import Database
from tests.interfaces.cli.conftest import Study
from tests.support.swept import TEXTS


@pytest.fixture
def swept(study_here: Study, tmp_path: Path) -> str:
    """A small sweep with names; its id."""
    (tmp_path / "things.csv").write_text("text\n" + "\n".join(TEXTS) + "\n")
    assert study_here("dataset", "import", "things.csv", "--name", "things", "--text-column", "text").code == 0
    ran = study_here(
        *"sweep run things --provider local --k-max 3 --restarts 2 --pca-dim 4".split(),
        *"--summarise local/local-extract --json".split(),
    )
    assert ran.code == 0, ran
    sweep_id: str = ran.document["sweep_id"]
    return sweep_id


def test_a_cluster_a_text_and_a_model_show_where_they_came_from_and_went(study_here: Study, swept: str) -> None:
    tree = study_here("provenance", "cluster", f"{swept}/0", "--few", "2", "--verify")
    assert tree.code == 0, tree
    for expected in ("wasDerivedFrom artifact", "wasGeneratedBy step", "used group", "hadMember embedding", "response"):
        assert expected in tree.out
    assert "24 embeddings in all" in tree.out
    assert tree.err.startswith("Exact bytes: study ")
    asked = study_here(*tree.err.split()[3:])
    assert (asked.code, any(text in asked.out for text in TEXTS)) == (0, True)
    assert "sha256_ok True" in " ".join(tree.out.split())

    walk = study_here("provenance", "text", TEXTS[3], "--provider", "local", "--direction", "down", "--json")
    assert walk.code == 0, walk
    assert f"sweep/{swept}" in {f"{node['kind']}/{node['id']}" for node in walk.document["nodes"]}
    document = study_here("provenance", "model", "local/local-ngrams", "--direction", "down", "--format", "prov-json")
    assert f"sq:sweep/{swept}" in document.document["activity"]
    unknown = study_here("provenance", "text", "never seen", "--provider", "local")
    assert (unknown.code, "Nobody embedded 'never seen'" in unknown.err) == (3, True)
    assert study_here("provenance", "dog", "1").code == 2
    assert study_here("provenance", "call", "1").code == 3


def test_every_list_says_that_there_is_more_and_how_to_go_on(study_here: Study, swept: str) -> None:
    study_here("dataset", "sample", "things", "--as", "few", "--rows", "5")
    study_here(*"sweep run things --provider local --k-max 2 --restarts 1 --pca-dim 4".split())
    lists = (
        "calls",
        "events",
        "sweep list",
        "dataset list",
        "group list",
        "artifact list",
        f"group children run/{swept}",
    )
    for words in lists:
        first = study_here(*words.split(), "--limit", "1", "--json")
        assert first.code == 0, first
        (item,) = first.document["items"]
        cursor = first.document["next_cursor"]
        shown = study_here(*words.split(), "--limit", "1")
        assert f"There are more: --cursor {cursor} goes on" in shown.err, words
        (other,) = study_here(*words.split(), "--limit", "1", "--cursor", cursor, "--json").document["items"]
        assert item != other, words
    assert "There are more" not in study_here("sweep", "list").err
    assert study_here("events", "--limit", "1001", "--json").code == 2


def test_two_sweeps_are_compared(study_here: Study, swept: str) -> None:
    other = study_here(*"sweep run things --provider local --k-max 3 --restarts 3 --pca-dim 4 --json".split()).document
    shown = study_here("sweep", "compare", swept, other["sweep_id"])
    assert shown.code == 0, shown
    assert "config.restarts" in shown.out
    found = study_here("sweep", "compare", swept, other["sweep_id"], "--json").document
    fields = {each["field"]: (each["first"], each["second"]) for each in found["differences"]}
    assert fields["config.restarts"] == (2, 3)
    assert fields["config.summarise"] == ("local/local-extract", None)
    assert {"config.seed", "source.vectors_sha256", "software.numpy"} <= set(found["equal"])
    assert found["chosen_ari"] > 0.5
    assert "Nothing differed." in study_here("sweep", "compare", swept, swept).out


def test_the_log_is_listed_and_written_to_a_file_one_event_a_line(
    study_here: Study, swept: str, tmp_path: Path
) -> None:
    listed = study_here("events", "--kind", "sweep", "--json").document
    assert listed["items"][0]["event"] == "sweep.started.v1"
    assert study_here("events", "--limit", "1000").out.count(swept) == 4
    out = tmp_path / "events.jsonl"
    written = study_here("events", "--out", str(out), "--json").document
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    positions = [line["position"] for line in lines]
    assert len(lines) == written["rows"]
    # An append that was refused leaves its positions empty.
    assert positions == sorted({*positions})
    assert (positions[0], positions[-1]) == (1, written["position"])
    assert lines == study_here("events", "--limit", "1000", "--json").document["items"]
    calls = study_here("events", "--kind", "call", "--out", str(out), "--json").document
    assert 0 < calls["rows"] < written["rows"]
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".events")] == []
    assert study_here("events", "--out", str(tmp_path / "none" / "x")).code == 2
    assert study_here("events", "--follow", "--out", str(out)).code == 2
    exported = study_here("export", "events", "--kind", "call", "--out", str(out), "--json")
    assert exported.document == calls
    assert study_here("unanswered").out.strip() == "Every call was answered."


def test_a_groups_history_tells_of_its_members_and_links(
    study_here: Study, swept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = study_here("sweep", "show", swept, "--json").document["run_group_id"]
    events = study_here("history", "group", run, "--json").document["items"]
    assert [event["event"] for event in events].count("group.linked.v1") == 4
    assert events[0]["event"] == "group.created.v1"
    monkeypatch.setattr("interfaces.study.history.MOST_EVENTS", 2)
    cut = study_here("history", "group", run)
    _, _, command = cut.err.partition("There are more: study ")
    assert study_here(*command.split(), "--json").document["items"] == events[2:]


def test_exact_bytes_are_written_and_altered_ones_are_not(
    study_here: Study, database: Database, tmp_path: Path
) -> None:
    call_id = study_here("ask", "The cat sat. The dog ran.", "--provider", "local", "--json").document["call_id"]
    out = tmp_path / "answer.json"
    written = study_here("call", call_id, "--bytes", "response", "--out", str(out), "--json")
    assert written.code == 0, written
    assert hashlib.sha256(out.read_bytes()).hexdigest() == written.document["sha256"]
    assert study_here("call", call_id, "--bytes", "response").out.encode() == out.read_bytes()
    assert study_here("call", call_id, "--verify").code == 0
    assert study_here("call", call_id, "--bytes", "completion").code == 3

    with psycopg.connect(database.owner_uri, autocommit=True) as connection:
        connection.execute("ALTER TABLE events.payloads DISABLE TRIGGER append_only")
        connection.execute("UPDATE events.payloads SET body = 'altered' WHERE part = 'response'")
        connection.execute("ALTER TABLE events.payloads ENABLE TRIGGER append_only")
    verified = study_here("call", call_id, "--verify", "--json")
    assert verified.code == 1
    assert [part["sha256_ok"] for part in verified.document["items"]] == [True, False]
    refused = study_here("call", call_id, "--bytes", "response", "--out", str(out))
    assert (refused.code, "is not what was recorded" in refused.err) == (4, True)
    assert out.read_bytes() != b"altered"


def test_following_shows_what_comes_until_it_is_stopped(
    study: Study, environment: dict[str, str], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "interfaces.cli.main", "events", "--follow", "--after", "0", "--json"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        asked = study("ask", "The cat sat.", "--provider", "local", "--json").document
        seen = [json.loads(following.stdout.readline()) for _ in range(2)]
        following.send_signal(signal.SIGINT)
        assert following.wait(timeout=20) == 0
    assert [event["event"] for event in seen] == ["call.requested.v1", "call.answered.v1"]
    assert {event["entity_id"] for event in seen} == {asked["call_id"]}
