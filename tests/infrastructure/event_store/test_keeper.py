import asyncio
import threading
import time

import psycopg

from infrastructure.event_store.keeper import Keeper
from infrastructure.event_store.store import PostgresEventStore
from tests.conftest import Database
from tests.support.appends import append_of

DEAD = 12345


async def test_a_process_is_gone_only_at_the_second_of_two_looks(store: PostgresEventStore, keeper: Keeper) -> None:
    assert await store.processes_in_doubt([DEAD, keeper.number], after_seconds=0.2) == {}
    assert await store.processes_in_doubt([DEAD, keeper.number], after_seconds=0.2) == {}
    await asyncio.sleep(0.25)
    assert set(await store.processes_in_doubt([DEAD, keeper.number], after_seconds=0.2)) == {DEAD}


async def test_a_process_that_came_back_between_two_looks_starts_afresh(
    database: Database, store: PostgresEventStore
) -> None:
    await store.processes_in_doubt([DEAD], after_seconds=0)
    with psycopg.connect(database.application_uri, autocommit=True) as back:
        back.execute("SELECT pg_advisory_lock(%s)", (DEAD,))
        assert await store.processes_in_doubt([DEAD], after_seconds=0) == {}
    await asyncio.sleep(0.1)
    assert await store.processes_in_doubt([DEAD], after_seconds=5) == {}


async def test_a_keeper_whose_connection_is_killed_locks_again_within_seconds(
    database: Database, store: PostgresEventStore
) -> None:
    keeper = Keeper(database.application_uri, on_event=lambda: None)
    keeper.start()
    with psycopg.connect(database.owner_uri, autocommit=True) as owner:
        owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE %s",
            (f"study keeper {keeper.process}",),
        )
        deadline = time.monotonic() + 5
        alive = False
        while not alive and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
            row = owner.execute("SELECT events.is_alive(%s)", (keeper.number,)).fetchone()
            alive = bool(row and row[0])
    keeper.close()
    assert alive


async def test_an_append_wakes_the_keeper(database: Database, store: PostgresEventStore) -> None:
    woken = threading.Event()
    keeper = Keeper(database.application_uri, on_event=woken.set)
    keeper.start()
    await store.append(append_of())
    assert await asyncio.to_thread(woken.wait, 3)
    keeper.close()
