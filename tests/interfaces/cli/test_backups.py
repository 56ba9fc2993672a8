"""`study db backup` and `study db restore`: all of a store in one file, and back, or nothing."""

import json
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import psycopg
import pytest

from domain.identity import sha256_hex
from infrastructure.event_store.keeper import Keeper
from tests.conftest import Database, fresh_database
from tests.interfaces.cli.conftest import Study

Alter = Callable[[dict[str, bytes]], None]


@pytest.fixture
def another(server: tuple[str, str], template: str) -> Iterator[Database]:
    """A second store, empty."""
    with fresh_database(server, template) as database:
        yield database


@pytest.fixture
def used(study_here: Study, tmp_path: Path) -> Study:
    """`study` on a store that holds a bit of everything: calls, vectors, groups and a file."""
    (tmp_path / "notes.txt").write_text("what was kept")
    assert study_here("ask", "Name three primes. Two is one.", "--group", "experiment/march").code == 0
    (tmp_path / "texts.txt").write_text("a train to Rome\nbread\n")
    assert study_here("dataset", "import", "texts.txt", "--name", "texts", "--text-column", "text").code == 0
    assert study_here("embed", "texts").code == 0
    kept = study_here("artifact", "keep", "notes.txt", "--group", "experiment/march", "--type", "notes")
    assert kept.code == 0, kept
    return study_here


@pytest.fixture(scope="module")
def backups() -> list[bytes]:
    return []


@pytest.fixture
def made(backups: list[bytes], study_here: Study, server: tuple[str, str], template: str, tmp_path: Path) -> bytes:
    """A backup, made once for all."""
    if not backups:
        (tmp_path / "notes.txt").write_text("what was kept")
        keeping = ("artifact", "keep", "notes.txt", "--group", "experiment/march", "--type", "notes")
        with fresh_database(server, template) as database:
            there = {"DATABASE_URL": database.application_uri}
            for words in (
                ("ask", "Name primes.", "--group", "experiment/march"),
                keeping,
                ("db", "backup", "made.zip"),
            ):
                assert study_here(*words, **there).code == 0
        backups.append(Path("made.zip").read_bytes())
    return backups[0]


def store_of(backup: bytes) -> str:
    with ZipFile(BytesIO(backup)) as file:
        return str(json.loads(file.read("backup.json"))["store_id"])


def rows_of(uri: str) -> list[list[tuple[object, ...]]]:
    with psycopg.connect(uri) as connection:
        return [
            connection.execute(f"SELECT * FROM events.{table} ORDER BY 1, 2, 3".encode()).fetchall()
            for table in ("events", "payloads")
        ]


def store_id(uri: str) -> str:
    with psycopg.connect(uri) as connection:
        row = connection.execute("SELECT store_id FROM events.store").fetchone()
    assert row is not None
    return str(row[0])


def checksums(study: Study, **settings: str) -> list[tuple[str, int, str]]:
    report = study("projections", "verify", "--json", **settings).document
    assert report["equal"]
    return [(each["table"], each["rows"], each["checksum_live"]) for each in report["tables"]]


def test_a_restored_store_has_the_same_bytes_the_same_tables_and_the_same_files(
    used: Study, database: Database, another: Database, tmp_path: Path
) -> None:
    backed_up = used("db", "backup", "b.zip", "--json")
    assert backed_up.code == 0, backed_up
    assert backed_up.document["missing"] == []
    assert backed_up.document["store_id"] == store_id(database.owner_uri)
    assert Path("b.zip").stat().st_mode & 0o777 == 0o600
    there = {"DATABASE_URL": another.owner_uri, "STUDY_HOME": str(tmp_path / "other")}

    restored = used("db", "restore", "b.zip", "--json", **there)

    assert restored.code == 0, restored
    assert {name: restored.document[name] for name in ("store_id", "position", "events", "artifacts")} == {
        name: backed_up.document[name] for name in ("store_id", "position", "events", "artifacts")
    }
    assert store_id(another.owner_uri) == store_id(database.owner_uri)
    assert rows_of(another.owner_uri) == rows_of(database.owner_uri)
    as_application = {**there, "DATABASE_URL": another.application_uri}
    compared = checksums(used, **as_application)
    assert compared == checksums(used)
    assert all(rows for table, rows, _ in compared if table in ("calls", "searched_texts")), compared
    assert all(check["ok"] for check in used("doctor", "--json", **as_application).document["items"])
    notes = used("artifact", "list", "--json", **as_application).document["items"]
    name = next(each["artifact_id"] for each in notes if each["artifact_type"] == "notes")
    assert used("artifact", "get", name, "--out", "again.txt", **as_application).code == 0
    assert Path("again.txt").read_text() == "what was kept"
    with psycopg.connect(another.owner_uri) as owner, pytest.raises(psycopg.errors.InsufficientPrivilege):
        owner.execute("UPDATE events.store SET store_id = gen_random_uuid()")


def test_a_copy_is_another_store_that_can_be_asked_on(study_here: Study, made: bytes, tmp_path: Path) -> None:
    there = {"DATABASE_URL": "", "STUDY_HOME": str(tmp_path / "copy")}
    Path("b.zip").write_bytes(made)
    copied = study_here("db", "restore", "b.zip", "--as-copy", "--json", **there)
    assert copied.code == 0, copied
    uri = study_here("db", "uri", "--json", **there).document["uri"]
    assert store_id(uri) == copied.document["store_id"] != store_of(made)
    asked = study_here("ask", "Name three primes. Three is one.", "--json", **there)
    assert asked.document["position"] > copied.document["position"]
    assert study_here("db", "stop", **there).code == 0


def test_a_store_with_events_is_never_touched(study_here: Study, made: bytes, database: Database) -> None:
    Path("b.zip").write_bytes(made)
    assert study_here("ask", "Name three primes.").code == 0
    before = rows_of(database.owner_uri)
    refused = study_here("db", "restore", "b.zip", DATABASE_URL=database.owner_uri)
    assert (refused.code, "give a new folder as --home" in refused.err) == (2, True)
    assert rows_of(database.owner_uri) == before


def test_a_store_that_others_have_open_is_not_restored(study_here: Study, made: bytes, database: Database) -> None:
    Path("b.zip").write_bytes(made)
    keeper = Keeper(database.application_uri, on_event=lambda: None)
    try:
        refused = study_here("db", "restore", "b.zip", DATABASE_URL=database.owner_uri)
        assert (refused.code, "1 other processes have the store open" in refused.err) == (2, True)
    finally:
        keeper.close()


def test_only_the_owner_restores(study_here: Study, made: bytes, database: Database) -> None:
    Path("b.zip").write_bytes(made)
    refused = study_here("db", "restore", "b.zip")
    assert (refused.code, "Only the store's owner" in refused.err) == (2, True)


def test_a_backup_replaces_no_file(study_here: Study) -> None:
    Path("b.zip").write_text("precious")
    refused = study_here("db", "backup", "b.zip")
    assert (refused.code, "there already" in refused.err, Path("b.zip").read_text()) == (2, True, "precious")


def test_files_that_are_gone_are_named_and_the_rest_is_backed_up(used: Study, tmp_path: Path) -> None:
    sha256 = next(
        each["sha256"]
        for each in used("artifact", "list", "--json").document["items"]
        if each["artifact_type"] == "notes"
    )
    next((tmp_path / "home").rglob(sha256)).unlink()
    done = used("db", "backup", "b.zip", "--json")
    assert done.code == 1
    assert len(done.document["missing"]) == 1
    assert done.document["missing"][0].endswith("notes.txt")
    assert used("db", "backup", "without.zip", "--without-artifacts", "--json").document["artifacts"] == 0


@pytest.mark.parametrize("file", ["nowhere/b.zip", f"{'b' * 300}.zip"])
def test_where_no_file_can_be_is_said(study_here: Study, file: str) -> None:
    refused = study_here("db", "backup", file)
    assert (refused.code, f"{file} can't be written" in refused.err) == (4, True), refused


def of_contents(**changes: object) -> Alter:
    def alter(parts: dict[str, bytes]) -> None:
        parts["backup.json"] = json.dumps({**json.loads(parts["backup.json"]), **changes}).encode()

    return alter


def another_event_name(parts: dict[str, bytes]) -> None:
    contents = json.loads(parts["backup.json"])
    of_contents(stored_names={**contents["stored_names"], "thing.happened.v9": 1}, made_by="99.0")(parts)


def one_bit(parts: dict[str, bytes]) -> None:
    parts["payloads.copy"] = parts["payloads.copy"].replace(b"primes", b"crimes")


def one_row_more(parts: dict[str, bytes]) -> None:
    contents = json.loads(parts["backup.json"])
    contents["tables"]["events"]["rows"] += 1
    of_contents(tables=contents["tables"])(parts)


def no_payloads(parts: dict[str, bytes]) -> None:
    del parts["payloads.copy"]


def no_rows(parts: dict[str, bytes]) -> None:
    parts["events.copy"] = parts["events.copy"].replace(b"PGCOPY", b"NOCOPY")
    contents = json.loads(parts["backup.json"])
    contents["tables"]["events"]["sha256"] = sha256_hex(parts["events.copy"])
    of_contents(tables=contents["tables"])(parts)


def another_file(parts: dict[str, bytes]) -> None:
    name = next(name for name in parts if name.startswith("artifacts/"))
    parts[name] += b"!"


@pytest.mark.parametrize(
    ("alter", "said"),
    [
        (one_bit, "its part payloads.copy is not what was written"),
        (no_payloads, "its part payloads.copy is not there"),
        (no_rows, "The backup holds what is no row of the log"),
        (one_row_more, "rows of events, and it holds"),
        (another_file, "was altered"),
        (another_event_name, "was made by version 99.0"),
        (of_contents(format="study-query-llm backup 2"), "has the format 'study-query-llm backup 2'"),
        (of_contents(position=10**9), "ends at position 1000000000, and it does not"),
        (of_contents(store_id="x"), "backup.json"),
        (lambda parts: parts.pop("backup.json"), "its part backup.json is not there"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_of_a_backup_that_was_altered_nothing_is_restored(
    alter: Alter, said: str, made: bytes, study_here: Study, database: Database
) -> None:
    with ZipFile(BytesIO(made)) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    alter(parts)
    with ZipFile("altered.zip", "w") as file:
        for name, content in parts.items():
            file.writestr(name, content)
    refused = study_here("db", "restore", "altered.zip", DATABASE_URL=database.owner_uri)
    assert (refused.code, said in refused.err) == (2, True), refused
    assert rows_of(database.owner_uri) == [[], []]


@pytest.mark.parametrize(
    ("file", "code", "said"),
    [("text", 2, "no backup"), ("none", 3, "There is no file none"), (".", 2, "can't be read")],
)
def test_what_is_no_backup_is_said(study_here: Study, database: Database, file: str, code: int, said: str) -> None:
    Path("text").write_bytes(b"text")
    refused = study_here("db", "restore", file, DATABASE_URL=database.owner_uri)
    assert (refused.code, said in refused.err) == (code, True), refused
