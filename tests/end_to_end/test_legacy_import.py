"""An older notebook comes in once, whole, at its own times; what differs afterwards is named."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import study_query_llm as sq
from application import import_legacy_runs
from domain.errors import Unavailable
from infrastructure.legacy_runs import LegacyDatabases
from tests.conftest import Database
from tests.support.legacy_database import NAMED, ODD, PLANTED, in_postgres, in_sqlite, rows, run

ROWS = 700


@pytest.fixture(params=["sqlite", "postgres"])
def legacy(request: pytest.FixtureRequest, database: Database, tmp_path: Path) -> str:
    made = rows(ROWS)
    return in_sqlite(tmp_path / "old.db", made) if request.param == "sqlite" else in_postgres(database.owner_uri, made)


def test_an_older_notebook_comes_in_once_and_differences_are_named(
    database: Database, tmp_path: Path, legacy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sq.open(database_url=database.application_uri, home=tmp_path) as study:
        tried = study.import_legacy(legacy, dry_run=True)
        assert (tried.imported, tried.groups, study.calls()) == (ROWS, 40, [])
        monkeypatch.setattr(import_legacy_runs, "ROWS_AT_ONCE", 100)
        _break_off_after(study, legacy, 300)
        imported = study.import_legacy(legacy)
        assert (imported.already_there, imported.imported) == (300, ROWS - 300)
        assert {row.row: row.reason for row in imported.odd} == ODD
        assert study.import_legacy(legacy).imported == 0
        before = study.events(limit=10_000)
        assert len(before) == len({event["stream_id"] for event in before if event["kind"] == "group"}) + 2 * ROWS
        found = study.validate_legacy(legacy)
        assert (found.equal, found.differences, found.compared, found.batches) == (True, [], ROWS, 40)
        (call,) = (each for each in study.calls(limit=1000) if each["metadata"]["legacy_id"] == 11)
        whole = study.call(call["call_id"])
        members = study.group("batch", "batch-11").members(limit=1000)
        summary = study.calls(until=datetime(2024, 4, 1, tzinfo=UTC), limit=1000)
        run(legacy, *PLANTED)
        differing = study.validate_legacy(legacy)
        sampled = study.validate_legacy(legacy, sample=5, seed=3)
    assert whole["request"] == {"prompt": "What is number 11?"}
    assert whole["response"] == {"text": "It is 11.It is 11."}
    assert (whole["status"], whole["text"]) == ("success", "It is 11.It is 11.")
    assert [member["position"] for member in members] == list(range(len(members)))
    assert len(summary) == ROWS
    _check_named(differing)
    assert (sampled.compared, sampled.equal) == (5, False)


def _break_off_after(study: sq.Study, legacy: str, count: int) -> None:
    class Broken(Exception):
        pass

    def told(done: int, _total: int) -> None:
        if done >= count:
            raise Broken

    with pytest.raises(Broken):
        study._portal.call(
            lambda: study._study._wired.legacy.import_runs(study._study._wired.context(), url=legacy, told=told)
        )


def _check_named(found: Any) -> None:
    named = {(each.what, each.row) for each in found.differences}
    sums = {what for what, row in named - NAMED if row is None}
    assert named >= NAMED
    assert sums <= {f"{what} of {provider}" for what in ("tokens", "milliseconds", "calls") for provider in PROVIDERS}
    assert {(what, row) for what, row in named - NAMED if row is not None} == {("not in the legacy database", "18")}


PROVIDERS = ("azure", "openai", "hyperbolic")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (None, "Say where the older database is"),
        ("mysql://host/db", "neither sqlite:// nor postgresql://"),
        ("sqlite:////no/such/file.db", "There is no file /no/such/file.db"),
        ("postgresql://user:secret@host:port/db?nonsense=1", "can't be read"),
    ],
)
def test_a_database_that_can_not_be_opened_is_told_without_its_password(url: str | None, said: str) -> None:
    with pytest.raises(sq.Rejected, match=said) as refused:
        LegacyDatabases(lambda: None).open(url)
    assert "secret" not in str(refused.value)


def test_a_file_that_is_no_database_or_has_no_such_table_is_told(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("nothing " * 200)
    with pytest.raises(Unavailable, match="file is not a database"):
        LegacyDatabases(lambda: None).open(f"sqlite:///{tmp_path}/text.db")
    (tmp_path / "empty.db").touch()
    with pytest.raises(sq.Rejected, match="no table inference_runs"):
        LegacyDatabases(lambda: None).open(f"sqlite:///{tmp_path}/empty.db")
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1"):
        LegacyDatabases(lambda: "postgresql://nobody:secret@127.0.0.1:1/none").open(None)


def test_a_database_is_only_read_and_may_lack_columns(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/old.db"
    run(url, "CREATE TABLE inference_runs (id, prompt, response)", "INSERT INTO inference_runs VALUES (2, 'p', 'r')")
    runs = LegacyDatabases(lambda: None).open(url)
    ((row,),) = runs.chunks(10)
    assert (row.id, row.prompt, row.metadata, row.batch_id, runs.count()) == (2, "p", None, None, 1)
    with pytest.raises(Exception, match="readonly"):
        runs._connection.execute("COMMIT; ").connection.execute("DELETE FROM inference_runs")  # type: ignore[attr-defined]
    runs.close()
