"""A store in trouble says what is wrong and what to do; what passes is waited for, and nothing acknowledged is lost."""

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL
from psycopg_pool import AsyncConnectionPool

from application.ports import Append, Payload, Unacknowledged
from application.store_trouble import (
    AWAY,
    NO_SLOT,
    READ_ONLY,
    REFUSED,
    STARTING,
    TLS,
    Trouble,
    is_inputs_fault,
    trouble_of,
)
from domain.errors import Unavailable
from infrastructure.embedded_postgres import EmbeddedPostgres, Running
from infrastructure.embedded_postgres.account import serving_account
from infrastructure.event_store import patient_writer
from infrastructure.event_store.store import PostgresEventStore
from infrastructure.settings import read_settings
from interfaces.composition import open_study
from projections.reading import Reader
from tests.conftest import Database, role_of, uri_on
from tests.support.appends import append_of

AT_ONCE_SECONDS = patient_writer.RETRY_SECONDS * 0.8
PASSWORD = "s3cret/with@odd#signs%?&:"


@pytest.fixture(scope="module")
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home whose server these tests may stop and spoil."""
    home = tmp_path_factory.mktemp("own")
    yield home
    embedded = EmbeddedPostgres(home)
    embedded.stop()
    shutil.rmtree(embedded.status().data_folder.parent)


@pytest.fixture
def own(own_home: Path) -> Iterator[EmbeddedPostgres]:
    embedded = EmbeddedPostgres(own_home)
    yield embedded
    embedded.stop()


def started(embedded: EmbeddedPostgres) -> Running:
    return embedded.start(lambda running: running)


async def opened(uri: str, home: Path) -> None:
    async with open_study(read_settings(database_url=uri, study_home=home)):
        pass


@contextmanager
def told_at_once(words: str) -> Iterator[pytest.ExceptionInfo[Unavailable]]:
    """Trouble that does not pass: nobody waits for it."""
    began = time.monotonic()
    with pytest.raises(Unavailable, match=words) as told:
        yield told
    assert time.monotonic() - began < AT_ONCE_SECONDS


@contextmanager
def altered(database: Database, setting: str, back: str) -> Iterator[None]:
    """The database under another setting, for every new session; those that are open are ended."""
    name = conninfo_to_dict(database.owner_uri)["dbname"]

    def alter(words: str) -> None:
        with psycopg.connect(database.owner_uri, autocommit=True) as owner:
            owner.execute("SET default_transaction_read_only = off")
            owner.execute(f'ALTER DATABASE "{name}" {words}'.encode())
            owner.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s AND usename = %s",
                (name, role_of(database.application_uri)),
            )

    alter(setting)
    try:
        yield
    finally:
        alter(back)


async def test_a_server_that_takes_no_writes_is_told_at_once(database: Database, store: PostgresEventStore) -> None:
    await store.append(append_of())
    with altered(database, "SET default_transaction_read_only = on", "RESET default_transaction_read_only"):
        with told_at_once("takes no writes.*target_session_attrs"):
            await store.append(append_of())
        assert store.last_position() == 1
    assert await store.append(append_of()) == 2


async def test_a_read_only_store_is_still_read(database: Database, tmp_path: Path) -> None:
    settings = read_settings(database_url=database.application_uri, study_home=tmp_path)
    async with open_study(settings):
        pass
    with altered(database, "SET default_transaction_read_only = on", "RESET default_transaction_read_only"):
        async with open_study(settings) as study:
            assert (await study.calls.list())["items"] == []


async def test_a_standby_is_told_from_a_primary(own: EmbeddedPostgres, tmp_path: Path) -> None:
    await opened(started(own).owner_uri, tmp_path)
    own.stop()
    signal = own.status().data_folder / "standby.signal"
    signal.touch()
    try:
        with pytest.raises(Unavailable, match=r"takes no writes.*give the address of the primary"):
            await opened(started(own).application_uri, tmp_path)
    finally:
        own.stop()
        signal.unlink()


async def test_a_full_disk_is_told_at_once_and_loses_nothing(own: EmbeddedPostgres, tmp_path: Path) -> None:
    uri = started(own).owner_uri
    await opened(uri, tmp_path)
    store = PostgresEventStore(uri, process=1)
    with small_disk() as disk, psycopg.connect(uri, autocommit=True) as owner:
        owner.execute(f"CREATE TABLESPACE small LOCATION '{disk}'".encode())
        owner.execute("ALTER TABLE events.payloads SET TABLESPACE small")
        acknowledged = [store.last_position()]
        with suppress(Unavailable):
            while True:
                acknowledged.append(await store.append(megabytes(1)))
        with told_at_once("disk is full.*make room"):
            await store.append(megabytes(5))
        assert len(acknowledged) > 2
        assert store.last_position() == acknowledged[-1]
        owner.execute("ALTER TABLE events.payloads SET TABLESPACE pg_default")
        owner.execute("DROP TABLESPACE small")
    assert await store.append(megabytes(5)) == acknowledged[-1] + 1
    store.close()


def megabytes(number: int) -> Append:
    return append_of(None, 1, None, Payload(part="body", body=os.urandom(number * 1_000_000)))


@contextmanager
def small_disk() -> Iterator[Path]:
    """A file system of 8 MB that the server may write to."""
    folder = Path("/tmp") / f"study-disk-{uuid4().hex[:12]}"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size=8m,mode=0700,uid={serving_account().uid}", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        folder.rmdir()
        pytest.skip("a small file system can't be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


async def test_a_free_connection_is_waited_for(database: Database, store: PostgresEventStore) -> None:
    with altered(database, "CONNECTION LIMIT 0", "CONNECTION LIMIT -1"):
        waiting = asyncio.create_task(store.append(append_of()))
        await asyncio.sleep(0.5)
        assert not waiting.done()
    assert await waiting == 1


async def test_too_many_connections_are_told_when_none_gets_free(
    database: Database, store: PostgresEventStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patient_writer, "RETRY_SECONDS", 0.3)
    with altered(database, "CONNECTION LIMIT 0", "CONNECTION LIMIT -1"):
        with pytest.raises(Unavailable, match=r"no connection left.*max_connections"):
            await store.append(append_of())
        with pytest.raises(Unavailable, match=r"can't be read: the server has no connection left"):
            await asyncio.to_thread(store.last_position)
        with pytest.raises(Unavailable, match="can't be opened: the server has no connection left"):
            await opened(database.application_uri, tmp_path)


async def test_a_lost_right_is_told_at_once_with_who_can_give_it(database: Database, store: PostgresEventStore) -> None:
    with psycopg.connect(database.owner_uri, autocommit=True) as owner:
        role = role_of(database.application_uri)
        owner.execute(f'REVOKE INSERT ON events.payloads FROM "{role}"'.encode())
        with told_at_once("permission denied for table payloads.*study db grant"):
            await store.append(append_of(None, 1, None, Payload(part="body", body=b"")))
        owner.execute(f'GRANT INSERT ON events.payloads TO "{role}"'.encode())
    assert await store.append(append_of(None, 1, None, Payload(part="body", body=b""))) == 1


async def test_a_store_whose_tables_are_gone_is_no_fault_of_the_event(
    database: Database, store: PostgresEventStore
) -> None:
    with psycopg.connect(database.owner_uri, autocommit=True) as owner:
        owner.execute("ALTER TABLE events.payloads RENAME TO hidden")
        with told_at_once('missing or broken .*"events.payloads" does not exist.*study doctor'):
            await store.append(append_of(None, 1, None, Payload(part="request", body=b"{}")))
        owner.execute("ALTER TABLE events.hidden RENAME TO payloads")
    assert await store.append(append_of()) == 1


async def test_trouble_is_told_although_nobody_reads_the_log_any_more(
    database: Database, store: PostgresEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after `python script.py | head`: the writer thread must not die of it, or everybody would wait for ever."""

    class ClosedLog:
        def warning(self, *_: object, **__: object) -> None:
            raise BrokenPipeError

    monkeypatch.setattr(patient_writer, "log", ClosedLog())
    with psycopg.connect(database.owner_uri, autocommit=True) as owner:
        owner.execute("ALTER TABLE events.events RENAME TO hidden")
        with told_at_once("missing or broken"):
            await asyncio.wait_for(store.append(append_of()), timeout=5)
        owner.execute("ALTER TABLE events.hidden RENAME TO events")
    assert await store.append(append_of()) == 1


@pytest.mark.parametrize(("severity", "told"), [(b"ERROR", Unavailable), (b"PANIC", Unacknowledged)])
async def test_what_a_server_that_panics_was_writing_may_have_landed(
    store: PostgresEventStore, monkeypatch: pytest.MonkeyPatch, severity: bytes, told: type[Unavailable]
) -> None:
    """It finds no room for more of its own log, and says so with the same SQLSTATE as for a table."""
    severe = {pq.DiagnosticField.SEVERITY_NONLOCALIZED: severity, pq.DiagnosticField.SQLSTATE: b"53100"}

    def panic(*_: object, **__: object) -> None:
        raise psycopg.errors.DiskFull("could not write to file", info=severe)

    monkeypatch.setattr(store.recorder, "insert_appends", panic)
    with pytest.raises(Unavailable, match="disk is full") as failed:
        await store.append(append_of())
    assert type(failed.value) is told


async def test_a_restart_of_the_server_is_waited_for(own: EmbeddedPostgres, tmp_path: Path) -> None:
    uri = started(own).owner_uri
    await opened(uri, tmp_path)
    store = PostgresEventStore(uri, process=1)
    before = await store.append(append_of())
    own.stop()
    waiting = asyncio.create_task(store.append(append_of()))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await asyncio.to_thread(started, own)
    assert await waiting == before + 1
    store.close()


async def test_an_unknown_database_and_an_unknown_role_are_told_at_once(database: Database, tmp_path: Path) -> None:
    with told_at_once("no such database"):
        await opened(uri_on(database.application_uri, dbname="nowhere"), tmp_path)
    with told_at_once("refused the role or its password"):
        await opened(uri_on(database.application_uri, user="nobody_of_that_name"), tmp_path)


async def test_a_wrong_password_is_told_at_once_and_never_shown(
    own: EmbeddedPostgres, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    uri = started(own).owner_uri
    rules = own.status().data_folder / "pg_hba.conf"
    before = rules.read_text()
    with psycopg.connect(uri, autocommit=True) as owner:
        owner.execute("DROP ROLE IF EXISTS asked")
        owner.execute(SQL("CREATE ROLE asked LOGIN SUPERUSER PASSWORD {}").format(PASSWORD))
    own.stop()
    rules.write_text("local all asked scram-sha-256\n" + before)
    try:
        uri = started(own).owner_uri
        with told_at_once("refused the role or its password") as told:
            await opened(uri_on(uri, user="asked", password=f"{PASSWORD}x"), tmp_path)
        await opened(uri_on(uri, user="asked", password=PASSWORD), tmp_path)
    finally:
        rules.write_text(before)
    assert PASSWORD[:6] not in str(told.value) + caplog.text


async def test_what_the_reader_can_not_reach_is_told_with_its_cause(database: Database) -> None:
    async with AsyncConnectionPool(
        database.application_uri,
        min_size=0,
        max_size=1,
        open=False,
        timeout=0.5,
        check=AsyncConnectionPool.check_connection,
    ) as pool:
        reader = Reader(pool)
        assert await reader.row("SELECT 1 AS one", {}) == {"one": 1}
        with (
            altered(database, "CONNECTION LIMIT 0", "CONNECTION LIMIT -1"),
            pytest.raises(Unavailable, match="no connection left"),
        ):
            await reader.row("SELECT 1 AS one", {})


@pytest.mark.parametrize(
    ("sqlstate", "passes"),
    [
        ("08006", True),
        ("25006", False),
        ("40P01", True),
        ("42501", False),
        ("53100", False),
        ("53200", True),
        ("53300", True),
        ("55P03", True),
        ("57014", True),
        ("57P01", True),
        ("57P03", True),
        ("58030", False),
    ],
)
def test_only_what_passes_is_waited_for(sqlstate: str, passes: bool) -> None:
    trouble = trouble_of(psycopg.errors.lookup(sqlstate)("no"))
    assert trouble is not None
    assert trouble.passes == passes


@pytest.mark.parametrize(
    ("said", "trouble"),
    [
        ("FATAL:  the database system is starting up", STARTING),
        ("FATAL:  the database system is not yet accepting connections", STARTING),
        ("FATAL:  sorry, too many clients already", NO_SLOT),
        ("FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute", NO_SLOT),
        ('FATAL:  password authentication failed for user "a"', REFUSED),
        ("fe_sendauth: no password supplied", REFUSED),
        ('FATAL:  no pg_hba.conf entry for host "::1", user "a", database "b", no encryption', REFUSED),
        ("session is read-only", READ_ONLY),
        ("SSL error: certificate verify failed", TLS),
        ("SSL SYSCALL error: EOF detected", AWAY),
        ("timeout expired", AWAY),
    ],
)
def test_a_refused_connection_is_understood_by_its_words(said: str, trouble: Trouble) -> None:
    assert trouble_of(psycopg.OperationalError(f"connection failed: {said}")) == trouble


@pytest.mark.parametrize("sqlstate", ["22021", "23514", "54000"])
def test_what_an_event_can_not_hold_is_its_own_fault(sqlstate: str) -> None:
    assert is_inputs_fault(psycopg.errors.lookup(sqlstate)("no"))
    assert is_inputs_fault(psycopg.DataError("text can't hold a NUL"))
    assert not is_inputs_fault(psycopg.OperationalError("the connection is lost"))
