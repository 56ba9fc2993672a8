"""Hazards of the append path: each shown as it is without our protection, and gone with it."""

import asyncio
import multiprocessing
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID, uuid4

import psycopg
import pytest
from eventsourcing.persistence import OperationalError, StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg.conninfo import conninfo_to_dict

from application.ports import AppendConflict
from domain.errors import Unavailable
from domain.sweeps import SweepResumed
from infrastructure.event_store import datastore, group_commit, migrations, patient_writer
from infrastructure.event_store.datastore import Datastore
from infrastructure.event_store.mapper import FactMapper
from infrastructure.event_store.migrations import migrate
from infrastructure.event_store.recorder import Recorder
from infrastructure.event_store.store import PostgresEventStore
from tests.conftest import Database
from tests.support.appends import append_of

OPENERS = 8


@pytest.fixture
def recorder(database: Database) -> Iterator[Recorder]:
    recorder = Recorder(Datastore(database.application_uri), FactMapper())
    yield recorder
    recorder.datastore.close()


def the_librarys_own(database: Database, *, enable_db_functions: bool) -> PostgresApplicationRecorder:
    """A recorder as the library makes it, over a table of its own."""
    parts = {key: str(value) for key, value in conninfo_to_dict(database.owner_uri).items()}
    stock = PostgresDatastore(
        dbname=parts["dbname"],
        host=parts["host"],
        port=parts["port"],
        user=parts["user"],
        password=parts.get("password", ""),
        enable_db_functions=enable_db_functions,
    )
    recorder = PostgresApplicationRecorder(stock)
    recorder.create_table()
    return recorder


@contextmanager
def append_under_way(database: Database, recorder: Recorder) -> Iterator[psycopg.Connection]:
    """A writer that has called our function and has not committed."""
    with psycopg.connect(database.application_uri) as writer:
        recorder.insert_appends(writer, [recorder.encode(append_of())], process=1)
        yield writer


def test_the_librarys_database_function_takes_no_lock(database: Database) -> None:
    """The hazard itself: a second writer overtakes a first one, and a reader that tails the log misses the first."""
    library = the_librarys_own(database, enable_db_functions=True)
    with psycopg.connect(database.owner_uri) as slow:
        slow.execute("SELECT es_insert_events_uuid(ARRAY[ROW(gen_random_uuid(), 1, 'slow', '')::stored_event_uuid])")
        library.insert_events([StoredEvent(uuid4(), 1, "fast", b"")])
        assert [event.id for event in library.select_notifications(start=None, limit=10)] == [2]
        slow.commit()
    assert [event.id for event in library.select_notifications(start=None, limit=10)] == [1, 2]
    library.datastore.close()


def test_no_setting_from_outside_makes_ours_write_without_the_lock(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTGRES_ENABLE_DB_FUNCTIONS", "y")
    monkeypatch.setenv("POSTGRES_LOCK_TIMEOUT", "0")
    monkeypatch.setattr(datastore, "LOCK_TIMEOUT_SECONDS", 0.2)
    ours = Recorder(Datastore(database.application_uri), FactMapper())
    with append_under_way(database, ours), pytest.raises(OperationalError, match="lock timeout"):
        ours.insert_events([StoredEvent(uuid4(), 1, "sweep.failed.v1", b"")])
    ours.datastore.close()


@pytest.mark.parametrize(("given", "kept"), [("off", "on"), ("local", "local"), ("remote_apply", "remote_apply")])
def test_no_setting_from_outside_acknowledges_what_a_crash_could_lose(
    database: Database, given: str, kept: str
) -> None:
    with psycopg.connect(database.application_uri, options=f"-c synchronous_commit={given}") as connection:
        datastore.configure(connection)
        assert connection.execute("SHOW synchronous_commit").fetchone() == (kept,)


def test_one_function_alone_writes_the_log(database: Database) -> None:
    """Another one, such as the unconditional append of the library's DCB module, could forget the lock."""
    with psycopg.connect(database.owner_uri) as owner:
        writing = owner.execute(
            "SELECT oid::regproc::text, prosrc LIKE '%pg_advisory_xact_lock(7453, 1)%' FROM pg_proc "
            "WHERE prosrc ILIKE '%INSERT INTO events.%' OR (pronamespace = 'public'::regnamespace "
            "AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = pg_proc.oid AND d.deptype = 'e'))"  # pgvector's
        ).fetchall()
    assert writing == [("events.append", True)]


@contextmanager
def index_build(database: Database) -> Iterator[None]:
    """CREATE INDEX CONCURRENTLY under way: it has its lock on the table, and waits for an old snapshot to end."""

    def build() -> None:
        with psycopg.connect(database.owner_uri, autocommit=True) as builder:
            builder.execute("CREATE INDEX CONCURRENTLY topics ON events.events (topic)")

    with psycopg.connect(database.owner_uri) as old, psycopg.connect(database.owner_uri, autocommit=True) as look:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT FROM events.store")
        builder = threading.Thread(target=build)
        builder.start()
        while not look.execute(
            "SELECT 1 FROM pg_locks WHERE relation = 'events.events'::regclass AND mode = 'ShareUpdateExclusiveLock' "
            "AND granted AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'virtualxid' AND NOT granted)"
        ).fetchone():
            time.sleep(0.01)
        yield
        assert builder.is_alive()
    builder.join()


@pytest.mark.parametrize("protected", [True, False])
def test_appends_do_not_wait_for_an_index_build(database: Database, recorder: Recorder, protected: bool) -> None:
    with index_build(database), psycopg.connect(database.owner_uri) as writer:
        writer.execute("SET lock_timeout = '300ms'")
        if protected:
            assert recorder.insert_appends(writer, [recorder.encode(append_of())], process=1) == [1]
        else:
            with pytest.raises(psycopg.errors.LockNotAvailable):
                writer.execute("LOCK TABLE events.events IN EXCLUSIVE MODE")  # as the library does


@pytest.mark.parametrize("protected", [True, False])
def test_vacuum_does_not_wait_for_an_append(database: Database, recorder: Recorder, protected: bool) -> None:
    with append_under_way(database, recorder) as writer:
        if not protected:
            writer.rollback()
            with psycopg.connect(database.owner_uri) as library:
                library.execute("LOCK TABLE events.events IN EXCLUSIVE MODE")  # as the library does
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    vacuum(database)
            return
        vacuum(database)


def vacuum(database: Database) -> None:
    with psycopg.connect(database.owner_uri, autocommit=True) as owner:
        owner.execute("SET lock_timeout = '300ms'")
        owner.execute("VACUUM events.events")


@pytest.mark.parametrize("protected", [True, False])
async def test_batches_that_follow_each_other_notify_once(
    database: Database, store: PostgresEventStore, monkeypatch: pytest.MonkeyPatch, protected: bool
) -> None:
    """Commits that notify wait for each other, across the whole server."""
    monkeypatch.setattr(group_commit, "TELL_SECONDS", 0.5 if protected else 0.0)
    await store.append(append_of())  # which connects, and tells at once
    await store.append(append_of())
    await asyncio.sleep(1.0)
    async with await psycopg.AsyncConnection.connect(database.application_uri, autocommit=True) as listener:
        await listener.execute("LISTEN study_events")
        for _ in range(20):
            await store.append(append_of())
        notified = [each async for each in listener.notifies(timeout=5, stop_after=1)]
        notified += [each async for each in listener.notifies(timeout=1.0)]
    assert len(notified) == 1 if protected else len(notified) > 5


def test_many_processes_may_open_an_empty_database_at_once(database: Database) -> None:
    with psycopg.connect(database.owner_uri, autocommit=True) as owner:
        owner.execute("DROP SCHEMA events CASCADE")
    spawn = multiprocessing.get_context("spawn")
    openers = [spawn.Process(target=migrate, args=(database.owner_uri,)) for _ in range(OPENERS)]
    for opener in openers:
        opener.start()
    for opener in openers:
        opener.join()
    assert [opener.exitcode for opener in openers] == [0] * OPENERS


def test_without_a_lock_two_openers_would_collide(database: Database) -> None:
    """The hazard itself: IF NOT EXISTS looks before it makes."""
    make = "CREATE SCHEMA IF NOT EXISTS made; CREATE TABLE IF NOT EXISTS made.twice (a int)"
    with psycopg.connect(database.owner_uri) as first, psycopg.connect(database.owner_uri) as second:
        first.execute(make)
        late = threading.Timer(0.3, first.commit)
        late.start()
        with pytest.raises(psycopg.errors.UniqueViolation):
            second.execute(make)
        late.join()


def test_a_store_of_the_first_step_is_brought_up_to_date_with_its_events(
    database: Database, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(database.owner_uri, autocommit=True) as owner:
        owner.execute("DROP SCHEMA events CASCADE")
        steps = migrations._steps()
        monkeypatch.setattr(migrations, "_steps", lambda: steps[:1])
        migrate(database.owner_uri)
        owner.execute(
            "SELECT events.append(ARRAY[0], ARRAY[gen_random_uuid()], ARRAY[1::bigint], ARRAY['t'], ARRAY[''::bytea], "
            "'{}', '{}', '{}', '{}', '{}', '{}', '{}', 1, '{}', '{}', '{}')"
        )
        monkeypatch.undo()
        migrate(database.owner_uri)
        assert recorder.insert_appends(owner, [recorder.encode(append_of())], process=1) == [2]
        assert owner.execute("SELECT array_agg(version ORDER BY version) FROM events.schema_version").fetchone() == (
            [number for number, _ in steps],
        )


async def test_a_writer_waits_so_long_and_then_says_for_whom(
    database: Database, store: PostgresEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patient_writer, "RETRY_SECONDS", 0.1)
    monkeypatch.setattr(datastore, "LOCK_TIMEOUT_SECONDS", 0.3)
    with psycopg.connect(database.owner_uri, application_name="a slow import") as slow:
        slow.execute("SELECT pg_advisory_xact_lock(7453, 1)")
        pid = slow.info.backend_pid
        with pytest.raises(Unavailable, match=rf"while a slow import \(backend {pid}\) is writing"):
            await asyncio.wait_for(store.append(append_of()), timeout=10)
    assert await store.append(append_of()) == 1


def test_an_opener_waits_so_long_for_another_one(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT_SECONDS", 0.3)
    with psycopg.connect(database.owner_uri, autocommit=True) as slow:
        slow.execute("DELETE FROM events.schema_version WHERE version > 1")
        slow.execute("SELECT pg_advisory_lock(7453, 2)")
        with pytest.raises(Unavailable, match="another session holds the lock"):
            migrate(database.owner_uri)


async def test_the_time_of_recording_never_goes_back_though_the_clock_does(
    database: Database, store: PostgresEventStore
) -> None:
    await store.append(append_of())
    with psycopg.connect(database.owner_uri, autocommit=True) as owner:
        owner.execute(
            "INSERT INTO events.events SELECT gen_random_uuid(), 1, topic, state, 2, recorded_at + interval '1 hour' "
            "FROM events.events"
        )
    await store.append(append_of())
    first, ahead, after = store.page(after=0, limit=10)
    assert after.recorded_at == ahead.recorded_at == first.recorded_at + timedelta(hours=1)


async def test_a_hole_is_never_filled(store: PostgresEventStore) -> None:
    one = UUID(int=1)
    await store.append(append_of(one))
    clash = append_of(one, 1, SweepResumed(finished_steps=1))
    results = await asyncio.gather(*map(store.append, [append_of(), clash, append_of()]), return_exceptions=True)
    assert isinstance(results[1], AppendConflict)
    newest = store.last_position()
    positions = [await store.append(append_of()) for _ in range(5)]
    assert min(positions) > newest
    assert [event.position for event in store.page(after=newest, limit=10)] == positions
