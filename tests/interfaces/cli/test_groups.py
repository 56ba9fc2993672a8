"""Groups, samples and artifacts on the command line."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.interfaces.cli.conftest import Study


def document(study: Study, *words: str) -> Any:
    done = study(*words, "--json")
    assert done.code == 0, done.err
    return done.document


@pytest.fixture
def call_id(study_here: Study) -> str:
    return str(document(study_here, "ask", "Two is prime.", "--provider", "local")["call_id"])


def test_a_group_is_made_filled_linked_and_looked_at(study_here: Study, call_id: str, tmp_path: Path) -> None:
    made = document(study_here, "group", "create", "experiment", "march", "--metadata", '{"a": 1}')
    again = study_here("group", "create", "experiment", "march", "--json")
    assert (again.code, again.document["existing_id"]) == (2, made["group_id"])
    described = document(study_here, "group", "describe", "experiment/march", "--description", "mine")
    assert (described["description"], described["metadata"]) == ("mine", {"a": 1})
    added = document(study_here, "group", "add", "experiment/march", call_id, "--role", "output", "--position", "3")
    assert added["member_count"] == 1
    (member,) = document(study_here, "group", "members", made["group_id"])["items"]
    assert (member["call_id"], member["role"], member["position"]) == (call_id, "output", 3)
    document(study_here, "group", "create", "run", "first")
    linked = document(study_here, "group", "link", "experiment/march", "run/first", "--type", "contains")
    assert linked["linked"]
    shown = study_here("group", "show", "experiment/march")
    assert "contains run/first" in shown.out
    assert [each["name"] for each in document(study_here, "group", "children", "experiment/march")["items"]] == [
        "first"
    ]
    assert [each["name"] for each in document(study_here, "group", "parents", "run/first")["items"]] == ["march"]
    assert document(study_here, "group", "steps", "run/first")["items"] == []
    cycle = study_here("group", "link", "run/first", "experiment/march", "--type", "depends_on")
    assert (cycle.code, "would close a cycle" in cycle.err) == (2, True)
    assert document(study_here, "group", "unlink", "experiment/march", "run/first", "--type", "contains")["unlinked"]
    then = document(study_here, "group", "children", "experiment/march", "--as-of", str(linked["position"]))
    assert len(then["items"]) == 1
    (tmp_path / "members.csv").write_text(f"call_id,role\n{call_id},\n")
    removed = document(study_here, "group", "remove", "experiment/march", "--file", str(tmp_path / "members.csv"))
    assert removed["member_count"] == 0
    page = study_here("group", "list", "--limit", "1")
    assert "run/first" in page.out
    assert "There are more: --cursor " in page.err


def test_dependencies_that_go_on_are_told(study_here: Study) -> None:
    for name in "abc":
        document(study_here, "group", "create", "run", name)
    for parent, child in (("a", "b"), ("b", "c")):
        study_here("group", "link", f"run/{parent}", f"run/{child}", "--type", "depends_on")
    near = study_here("group", "dependencies", "run/a", "--depth", "1")
    assert "run/b" in near.out
    assert "There are more beyond 1 links" in near.err
    down = document(study_here, "group", "dependencies", "run/c", "--direction", "down")
    assert [(each["name"], each["depth"]) for each in down["items"]] == [("b", 1), ("a", 2)]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["add", "experiment/march"], "Name at least one call"),
        (["add", "experiment/march", "x"], "'x' is no id of a call"),
        (["add", "march", "0195512a-7c00-7000-8000-000000000001"], "A group is written TYPE/NAME"),
        (["describe", "experiment/march"], "Give --description or --metadata"),
        (["create", "t", "n", "--metadata", "[1]"], "is no JSON object"),
        (["create", "t", "n", "--metadata", "{"], "is not JSON"),
        (["add", "experiment/march", "--file", "bad.csv"], "has no column call_id; it has a, b"),
        (["add", "experiment/march", "--file", "place.csv"], "A position is a number, not 'x'"),
    ],
)
def test_words_that_make_no_sense_are_refused(study_here: Study, words: list[str], why: str) -> None:
    Path("bad.csv").write_text("a,b\n1,2\n")
    Path("place.csv").write_text("call_id,position\n0195512a-7c00-7000-8000-000000000001,x\n")
    done = study_here("group", *words)
    assert (done.code, why in done.err) == (2, True), done.err


@pytest.mark.parametrize("words", [["show"], ["remove", "01a22f4d-9d16-7000-9dd0-406f0f60aef3"]])
def test_who_names_a_group_that_is_not_there_is_told_that_name(study_here: Study, words: list[str]) -> None:
    command, *calls = words
    refused = study_here("group", command, "experiment/none", *calls)
    assert (refused.code, "There is no group experiment/none" in refused.err) == (3, True), refused


def test_a_sample_is_drawn(study_here: Study, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_bytes("text,kind\nzwölf,a\nzwei,b\ndrei,a\n".encode("latin-1"))
    refused = study_here("dataset", "import", "r.csv", "--name", "r")
    assert (refused.code, "r.csv, line 2: byte 0xf6" in refused.err) == (2, True)
    document(study_here, "dataset", "import", "r.csv", "--name", "r", "--encoding", "latin-1")
    sample = document(study_here, "dataset", "sample", "r", "--as", "a", "--where", "kind=a", "--rows", "1")
    assert (sample["row_count"], sample["sampling"]) == (1, {"rows": 1, "seed": 0, "where": {"kind": "a"}})
    assert (
        "Had already 1 texts of r as a"
        in study_here("dataset", "sample", "r", "--as", "a", "--where", "kind=a", "--rows", "1").out
    )
    for wrong in (["--where", "kind"], ["--where", "kind=a", "--where", "kind=b"], []):
        assert study_here("dataset", "sample", "r", "--as", "x", *wrong).code == 2
    page = study_here("dataset", "list", "--limit", "1")
    assert "--cursor" in page.err


def test_a_file_is_kept_and_got_back(study_here: Study, tmp_path: Path) -> None:
    document(study_here, "group", "create", "run", "first")
    (tmp_path / "r.json").write_text("[1, 2]")
    kept = document(study_here, "artifact", "keep", "r.json", "--group", "run/first", "--type", "results")
    assert kept["name"].endswith("/run/results.json")
    assert "Kept " in study_here("artifact", "keep", "r.json", "--group", "run/first", "--type", "results").out
    listed = document(study_here, "artifact", "list", "--group", "run/first")["items"]
    assert [each["artifact_id"] for each in listed] == [kept["artifact_id"]]
    assert "results.json" in study_here("artifact", "list").out
    assert document(study_here, "artifact", "get", kept["name"]) == kept
    assert kept["name"] in study_here("artifact", "get", kept["artifact_id"]).out
    document(study_here, "artifact", "get", kept["name"], "--out", "out.json")
    (tmp_path / "folder").mkdir()
    assert "Wrote " in study_here("artifact", "get", kept["artifact_id"], "--out", "folder").out
    assert study_here("artifact", "get", kept["name"], "--out", "-").out == "[1, 2]"
    for path in ("out.json", "folder/results.json"):
        assert (tmp_path / path).read_text() == "[1, 2]"
    assert sorted(each.name for each in (tmp_path / "folder").iterdir()) == ["results.json"]
    for words, code in (
        (["get", "../../etc/passwd"], 2),
        (["get", "run/step/none.json"], 3),
        (["get", kept["name"], "--out", "no/such/folder/x"], 2),
        (["keep", "none.json", "--group", "run/first", "--type", "results"], 3),
        (["keep", "folder", "--group", "run/first", "--type", "results"], 2),
        (["keep", "/dev/zero", "--group", "run/first", "--type", "results"], 2),
        (["keep", "r.json", "--group", "run/none", "--type", "results"], 3),
    ):
        assert study_here("artifact", *words).code == code, words


def checks(study: Study, *words: str) -> dict[str, Any]:
    done = study("doctor", *words, "--json")
    return {check["check"]: check for check in json.loads(done.out)["items"]}


def test_the_doctor_finds_orphans_and_what_is_missing(
    study_here: Study, environment: dict[str, str], tmp_path: Path
) -> None:
    document(study_here, "group", "create", "run", "first")
    (tmp_path / "r.json").write_text("[1, 2]")
    kept = document(study_here, "artifact", "keep", "r.json", "--group", "run/first", "--type", "results")
    (file,) = (Path(environment["STUDY_HOME"]) / "artifacts").rglob(kept["sha256"])
    orphan = file.with_name("ab" * 32)
    orphan.write_text("nobody tells of me")
    day_ago = time.time() - 25 * 3600
    os.utime(orphan, (day_ago, day_ago))
    os.utime(file, (day_ago, day_ago))
    found = checks(study_here)["artifacts"]
    assert (found["ok"], "of 1 (18 bytes) no event tells" in found["detail"]) == (False, True)
    mended = checks(study_here, "--mend")["artifacts"]
    assert (mended["ok"], "1 that no event told of were removed" in mended["detail"]) == (True, True)
    assert not orphan.exists()
    file.unlink()
    missing = checks(study_here)["missing artifacts"]
    assert (missing["ok"], kept["name"] in missing["detail"]) == (False, True)


def test_artifacts_may_lie_elsewhere(study_here: Study, tmp_path: Path) -> None:
    elsewhere = {"STUDY_ARTIFACTS": f"file://{tmp_path}/elsewhere"}
    study_here("group", "create", "run", "first")
    (tmp_path / "r.json").write_text("[1, 2]")
    kept = study_here(
        "artifact", "keep", "r.json", "--group", "run/first", "--type", "results", "--json", **elsewhere
    ).document
    assert len(list((tmp_path / "elsewhere").rglob(kept["sha256"]))) == 1
    unknown = study_here("artifact", "list", STUDY_ARTIFACTS="nowhere://me:a-secret@bucket")
    assert (unknown.code, "a-secret" in unknown.err + unknown.out) == (2, False)
