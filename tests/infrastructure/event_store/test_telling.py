"""Who waits for events is told of all that landed, whatever becomes of the line in the meantime."""

import asyncio
from collections.abc import Callable, Iterator
from uuid import uuid4

import psycopg
import pytest

from application.ports import Append, Claim
from domain.errors import Rejected
from infrastructure.event_store import group_commit
from infrastructure.event_store.keeper import Keeper
from infrastructure.event_store.store import PostgresEventStore
from tests.conftest import Database
from tests.support.appends import append_of
from tests.support.cut_line import CutLine

Told = Callable[..., bool]


@pytest.fixture
def told(database: Database) -> Iterator[Told]:
    """Whether somebody told of new events, since the last look or within seconds."""
    with psycopg.connect(database.application_uri, autocommit=True) as listener:
        listener.execute("LISTEN study_events")
        yield lambda seconds=5.0: bool(list(listener.notifies(timeout=seconds, stop_after=1)))


async def on_a_line(store: PostgresEventStore, told: Told) -> None:
    """Append until the loop itself does so, and nothing is left to tell."""
    for _ in range(3):
        await store.append(append_of())
        await asyncio.sleep(0.1)
    while told(0.3):
        pass


async def test_of_what_landed_before_an_append_is_refused(store: PostgresEventStore, told: Told) -> None:
    await on_a_line(store, told)
    await store.append(append_of())
    with pytest.raises(Rejected):
        await store.append(Append(events=(), take=(Claim(key="never\x00", holder=uuid4()),)))
    assert await asyncio.to_thread(told)


async def test_of_what_landed_before_the_line_was_lost(
    database: Database, store: PostgresEventStore, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    await on_a_line(store, told)
    monkeypatch.setattr(group_commit, "TELL_SECONDS", 1.0)
    await store.append(append_of())
    with psycopg.connect(database.owner_uri, autocommit=True) as owner:
        owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'study writer'"
        )
    assert await asyncio.to_thread(told)


async def test_when_the_line_is_lost_while_it_is_told(database: Database, keeper: Keeper, told: Told) -> None:
    with CutLine(database.application_uri) as line:
        far = PostgresEventStore(line.uri, process=keeper.number)
        await on_a_line(far, told)
        await far.append(append_of())
        line.lose_track()
        await asyncio.sleep(0.1)
        line.mend()
        assert await asyncio.to_thread(told)
        far.close()


async def test_when_the_server_refuses_to_tell(
    store: PostgresEventStore, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    await on_a_line(store, told)
    monkeypatch.setattr(group_commit, "TELL", b"SELECT 1 / 0")
    await store.append(append_of())
    assert await asyncio.to_thread(told)


@pytest.mark.parametrize("beside", [False, True])
async def test_of_what_landed_before_the_store_was_closed(
    database: Database, told: Told, monkeypatch: pytest.MonkeyPatch, beside: bool
) -> None:
    """Closed by the loop that writes, or by a thread beside it."""
    closing = PostgresEventStore(database.application_uri, process=2)
    await on_a_line(closing, told)
    monkeypatch.setattr(group_commit, "TELL_SECONDS", 60.0)
    await closing.append(append_of())
    if beside:
        await asyncio.to_thread(closing.close)
    else:
        closing.close()
    assert await asyncio.to_thread(told)
