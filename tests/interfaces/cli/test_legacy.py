"""Bringing an older notebook in, from the command line."""

from pathlib import Path

from tests.interfaces.cli.conftest import Study
from tests.support.legacy_database import in_sqlite, rows, run


def test_an_older_notebook_is_imported_and_validated(study_here: Study, tmp_path: Path) -> None:
    url = in_sqlite(tmp_path / "old.db", rows(60, huge=50))
    tried = study_here("import", "legacy", "--legacy-url", url, "--dry-run")
    assert "60 would be imported (1 as failed calls) in " in tried.out
    assert "its created_at, 'yesterday', is no time" in tried.out
    missing = study_here("import", "validate", "--legacy-url", url, "--json")
    assert (missing.code, missing.document["equal"], missing.document["imported"]) == (1, False, 0)
    done = study_here("import", "legacy", LEGACY_DATABASE_URL=url)
    assert (done.code, "60 imported" in done.out) == (0, True)
    again = study_here("import", "legacy", "--legacy-url", url, "--json").document
    assert (again["imported"], again["already_there"], again["odd_rows"]) == (0, 60, 5)
    assert study_here("import", "validate", "--legacy-url", url).code == 0
    run(url, "UPDATE inference_runs SET response = 'changed' WHERE id = 20")
    found = study_here("import", "validate", "--legacy-url", url)
    assert (found.code, "changed" in found.out, "batches: 1 difference." in found.out) == (1, True, True)
    assert study_here("analytics", "summary", "--until", "2024-04-01", "--json").document["calls"] == 60
    slow = study_here("calls", "--since", "1969-01-01", "--until", "1971-01-01", "--json").document["items"]
    assert [(call["latency_ms"], call["metadata"]["legacy_created_at"]) for call in slow] == [(None, "yesterday")]


def test_what_can_not_be_imported_is_told(study_here: Study, tmp_path: Path) -> None:
    url = in_sqlite(tmp_path / "old.db", rows(1))
    for words, code in (
        (("legacy",), 2),
        (("legacy", "--legacy-url", "sqlite:////no/such.db"), 2),
        (("legacy", "--legacy-url", url, "--timezone", "Mars/Olympus"), 2),
        (("legacy", "--legacy-url", url, "--source", " "), 2),
        (("validate", "--legacy-url", url, "--sample", "0"), 2),
    ):
        assert study_here("import", *words).code == code, words
