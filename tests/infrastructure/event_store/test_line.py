"""Batches that the event loop sends itself: whatever becomes of line and loop, nothing is lost or repeated."""

import asyncio
import errno
import os
import threading
import time
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from application.ports import Append, Claim, Payload
from domain.errors import Rejected, Unavailable
from infrastructure.event_store import group_commit, patient_writer
from infrastructure.event_store.datastore import BoundedConnection
from infrastructure.event_store.keeper import Keeper
from infrastructure.event_store.line import Line
from infrastructure.event_store.store import PostgresEventStore
from tests.conftest import Database
from tests.infrastructure.event_store.conftest import APPEND_LOCK
from tests.support.appends import append_of
from tests.support.cut_line import CutLine


def positions(store: PostgresEventStore) -> list[int]:
    return [event.position for event in store.page(after=0, limit=1000)]


async def test_no_thread_is_woken_for_an_append(store: PostgresEventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.append(append_of())  # which connects
    insert, waited = store.recorder.insert_appends, []
    monkeypatch.setattr(store.recorder, "insert_appends", lambda *a, **k: waited.append(a) or insert(*a, **k))
    await asyncio.gather(*(store.append(append_of()) for _ in range(50)))
    assert positions(store) == list(range(1, 52))
    assert waited == []


@pytest.mark.parametrize("missing", ["descriptor", "watch"])
async def test_the_thread_writes_while_a_loop_lacks_what_it_needs(
    store: PostgresEventStore, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        if missing == "descriptor":
            patch.setattr(os, "dup", refuse)
        else:
            patch.setattr(asyncio.get_running_loop(), "add_reader", refuse)
        for expected in (1, 2, 3):
            assert await asyncio.wait_for(store.append(append_of()), timeout=5) == expected
    assert store._writer._line is None
    for _ in range(3):
        await store.append(append_of())
    assert store._writer._line is not None


async def test_what_does_not_fit_into_the_line_at_once_is_sent_by_the_loop_too(store: PostgresEventStore) -> None:
    for _ in range(3):
        await store.append(append_of())
    line = store._writer._line
    large = Payload(part="body", body=bytes(20_000_000))
    assert await asyncio.wait_for(store.append(append_of(None, 1, None, large)), timeout=8) == 4
    assert store._writer._line is line is not None


async def test_a_line_that_was_answered_may_be_silent_for_as_long_as_it_likes(
    store: PostgresEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedConnection, "silence_seconds", 0.5)
    for _ in range(3):
        await store.append(append_of())
    line = store._writer._line
    await asyncio.sleep(1.0)
    assert store._writer._line is line is not None


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="nothing counts descriptors here")
async def test_a_line_that_was_lost_leaves_no_descriptor_behind(database: Database, store: PostgresEventStore) -> None:
    counts = []
    for _ in range(4):
        for _ in range(3):
            await store.append(append_of())
        counts.append(sum(1 for _ in Path("/proc/self/fd").iterdir()))
        with psycopg.connect(database.owner_uri, autocommit=True) as owner:
            owner.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name = 'study writer'"
            )
    assert counts[0] == counts[-1]


class OfWindows(asyncio.SelectorEventLoop):
    """It can't watch connections either."""

    add_reader = asyncio.AbstractEventLoop.add_reader


def test_the_thread_writes_for_a_loop_that_can_watch_no_connection(
    database: Database, store: PostgresEventStore
) -> None:
    async def append() -> list[int]:
        first = [await store.append(append_of()) for _ in range(3)]
        return first + sorted(await asyncio.gather(*(store.append(append_of()) for _ in range(20))))

    with psycopg.connect(database.application_uri, autocommit=True) as listener:
        listener.execute("LISTEN study_events")
        with asyncio.Runner(loop_factory=OfWindows) as runner:
            assert runner.run(append()) == list(range(1, 24))
        assert list(listener.notifies(timeout=5, stop_after=1))


@pytest.mark.parametrize("beside", [False, True])
async def test_what_is_under_way_when_the_store_is_closed_lands_once(
    database: Database, store: PostgresEventStore, blocker: psycopg.Connection, beside: bool
) -> None:
    """Closed by the loop that writes, or by a thread beside it."""
    closing = PostgresEventStore(database.application_uri, process=2)
    await closing.append(append_of())
    blocker.execute(APPEND_LOCK)
    sent = [asyncio.create_task(closing.append(append_of())) for _ in range(3)]
    await asyncio.sleep(0.2)
    threading.Timer(0.3, blocker.commit).start()
    if beside:
        await asyncio.to_thread(closing.close)
    else:
        closing.close()
    assert sorted(await asyncio.gather(*sent)) == positions(store)[1:]
    with pytest.raises(Unavailable, match="closing"):
        await closing.append(append_of())


async def test_what_is_still_under_way_when_nobody_waits_for_it_any_more_is_told_all_the_same(
    database: Database, store: PostgresEventStore, blocker: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "CLOSE_SECONDS", 0.2)
    closing = PostgresEventStore(database.application_uri, process=2)
    for _ in range(2):
        await closing.append(append_of())
    blocker.execute(APPEND_LOCK)
    sent = [asyncio.create_task(closing.append(append_of()))]
    await asyncio.sleep(0.2)
    sent.append(asyncio.create_task(closing.append(append_of())))
    await asyncio.sleep(0.1)
    await asyncio.to_thread(closing.close)
    blocker.commit()
    assert await asyncio.wait_for(asyncio.gather(*sent), timeout=5) == positions(store)[2:]
    async with asyncio.timeout(5):
        while writers_connected(database):
            await asyncio.sleep(0.05)


def writers_connected(database: Database) -> list[tuple[object, ...]]:
    with psycopg.connect(database.owner_uri) as connection:
        return connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'study writer'"
        ).fetchall()


async def test_a_loop_that_is_called_back_while_the_store_is_closed_leaves_its_connection_alone(
    database: Database, store: PostgresEventStore
) -> None:
    closing = PostgresEventStore(database.application_uri, process=2)
    first = asyncio.create_task(closing.append(append_of()))
    while not positions(store):  # the thread has written, and is about to give the connection to this loop
        await asyncio.sleep(0)
        time.sleep(0.05)  # noqa: ASYNC251 - the loop must not get to it yet
    closing.close()
    assert await first == 1
    writer = closing._writer
    writer._begin(asyncio.get_running_loop())
    assert writer._line is None


@pytest.mark.parametrize("by", ["loop", "thread"])
async def test_a_line_that_falls_silent_is_given_up_for_another(
    database: Database, keeper: Keeper, store: PostgresEventStore, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """Though it was silent for longer than trouble is waited for: what was sent there is in doubt only now."""
    assert BoundedConnection.silence_seconds > patient_writer.RETRY_SECONDS
    monkeypatch.setattr(BoundedConnection, "silence_seconds", 1.0)
    monkeypatch.setattr(patient_writer, "RETRY_SECONDS", 0.5)
    monkeypatch.setattr(Line, "fits", lambda _: by == "loop")
    with CutLine(database.application_uri) as line:
        far = PostgresEventStore(line.uri, process=keeper.number)
        await far.append(append_of())
        await far.append(append_of())
        await asyncio.sleep(0.1)  # until those who wait for events are told
        line.swallow_answers()
        began = time.monotonic()
        assert await far.append(append_of()) == 3
        assert time.monotonic() - began < 4
        far.close()
    assert positions(store) == [1, 2, 3]


async def test_what_the_server_refuses_on_a_line_is_told_in_its_words(store: PostgresEventStore) -> None:
    for _ in range(2):
        await store.append(append_of())
    with pytest.raises(Rejected, match="invalid byte sequence"):
        await store.append(Append(events=(), take=(Claim(key="never\x00", holder=uuid4()),)))
    assert await store.append(append_of()) == 3


async def test_an_idle_line_that_is_cut_is_let_go_of(database: Database, keeper: Keeper) -> None:
    """A loop that went on watching it would be woken by it without end."""
    with CutLine(database.application_uri) as line:
        far = PostgresEventStore(line.uri, process=keeper.number)
        await far.append(append_of())
        await far.append(append_of())
        await asyncio.sleep(0.1)  # until those who wait for events are told
        line.mend()
        await asyncio.sleep(0.1)
        began = time.thread_time()
        await asyncio.sleep(0.3)
        assert time.thread_time() - began < 0.1
        assert await far.append(append_of()) == 3
        far.close()
