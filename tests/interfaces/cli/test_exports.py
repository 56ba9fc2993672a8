"""Exports from the command line; those of vectors are in test_vectors.py."""

import json
from pathlib import Path

import pyarrow.parquet as pq

from tests.interfaces.cli.conftest import Study


def test_calls_and_events_are_written_to_files_and_to_stdout(study_here: Study, tmp_path: Path) -> None:
    for prompt in ("Where is Rome?", "Where is Paris?"):
        study_here("ask", prompt, "--provider", "local", "--group", "batch/cities")
    out = tmp_path / "calls.parquet"
    out.write_text("what was there before")
    done = study_here("export", "calls", "--format", "parquet", "--out", str(out), "--json").document
    assert {"what": "calls", "format": "parquet", "rows": 2, "path": str(out)}.items() <= done.items()
    assert done["bytes"] == out.stat().st_size
    assert [json.loads(text)["messages"][-1]["content"] for text in pq.read_table(out)["request_json"].to_pylist()] == [
        "Where is Rome?",
        "Where is Paris?",
    ]
    lines = study_here("export", "calls", "--format", "jsonl", "--out", "-", "--group", "batch/cities")
    assert [json.loads(line)["status"] for line in lines.out.splitlines()] == ["success"] * 2
    assert f"2 calls, as of position {done['position']}" in lines.err
    found = study_here("export", "calls", "--format", "jsonl", "--out", "-", "--search", "paris", "--in", "prompt")
    assert [json.loads(line)["request_json"]["messages"][-1]["content"] for line in found.out.splitlines()] == [
        "Where is Paris?"
    ]
    events = study_here("export", "events", "--kind", "call", "--format", "csv", "--out", str(tmp_path / "e.csv"))
    assert events.out.startswith("4 events in ")
    nothing = study_here("export", "calls", "--format", "jsonl", "--out", "-", "--as-of", "0")
    assert (nothing.out, nothing.code) == ("", 0)


def test_without_a_format_the_formats_are_told(study_here: Study) -> None:
    told = study_here("export", "calls", "--out", "calls.jsonl")
    assert (told.code, "--format" in told.err) == (2, True), told


def test_what_can_not_be_exported_is_told(study_here: Study, tmp_path: Path) -> None:
    out = str(tmp_path / "calls")
    for words, code in (
        (("--format", "npy", "--out", out), 2),
        (("--format", "jsonl", "--out", out, "--spreadsheet"), 2),
        (("--format", "jsonl", "--out", str(tmp_path)), 2),
        (("--format", "jsonl", "--out", str(tmp_path / "no" / "calls")), 2),
        (("--format", "jsonl", "--out", out, "--group", "no/group"), 3),
        (("--format", "jsonl", "--out", "-", "--json"), 2),
        (("--format", "jsonl", "--out", out, "--search", "+++"), 2),
        (("--format", "jsonl", "--out", out, "--in", "prompt"), 2),
    ):
        refused = study_here("export", "calls", *words)
        assert (refused.code, "Error: " in refused.err or "Invalid value" in refused.err) == (code, True), words
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith((".calls", "calls"))] == []
