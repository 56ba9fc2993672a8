"""Many writers, and readers that tail them: nothing is skipped, nothing is repeated."""

import asyncio
import multiprocessing
import random
import time

import psycopg
import pytest

from infrastructure.event_store.datastore import Datastore
from infrastructure.event_store.mapper import FactMapper
from infrastructure.event_store.recorder import Recorder
from infrastructure.event_store.store import PostgresEventStore
from tests.conftest import Database
from tests.support.appends import append_of

WRITERS, EVENTS_EACH = 3, 1_500


def write(uri: str, seed: int) -> None:
    """A writer process: bursts of appends."""

    async def burst() -> None:
        store = PostgresEventStore(uri, process=seed + 1)
        chance = random.Random(seed)
        left = EVENTS_EACH
        while left:
            size = min(left, chance.randint(1, 60))
            await asyncio.gather(*(store.append(append_of()) for _ in range(size)))
            left -= size
        store.close()

    asyncio.run(burst())


def test_a_tailing_reader_sees_every_event_once_in_order(database: Database) -> None:
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=write, args=(database.application_uri, seed)) for seed in range(WRITERS)]
    for writer in writers:
        writer.start()
    recorder = Recorder(Datastore(database.application_uri), FactMapper())
    seen: list[int] = []
    deadline = time.monotonic() + 60
    while len(seen) < WRITERS * EVENTS_EACH and time.monotonic() < deadline:
        seen += [event.position for event in recorder.page(after=seen[-1] if seen else 0, limit=200)]
    for writer in writers:
        writer.join()
    recorder.datastore.close()
    assert len(seen) == WRITERS * EVENTS_EACH
    assert seen == sorted(set(seen))


@pytest.mark.parametrize("protected", [True, False])
def test_without_the_lock_a_tailing_reader_would_skip_events(database: Database, protected: bool) -> None:
    """The hazard itself: a position that is taken first and committed last."""
    lock = "SELECT pg_advisory_xact_lock(7453, 1)" if protected else "SELECT 1"
    insert = (
        "INSERT INTO events.events SELECT gen_random_uuid(), 1, 'sweep.resumed.v1', '', "
        "nextval('positions'), clock_timestamp()"
    )
    with psycopg.connect(database.owner_uri, autocommit=True) as owner:
        owner.execute("CREATE SEQUENCE positions")
    with psycopg.connect(database.owner_uri) as slow, psycopg.connect(database.owner_uri) as fast:
        slow.execute(lock)
        slow.execute(insert)
        fast.execute("SET lock_timeout = '100ms'")
        if protected:
            with pytest.raises(psycopg.errors.LockNotAvailable):
                fast.execute(lock)
            return
        fast.execute(insert)
        fast.commit()
        seen = fast.execute("SELECT max(notification_id) FROM events.events").fetchone()
        slow.commit()
        late = fast.execute("SELECT min(notification_id) FROM events.events").fetchone()
    assert seen is not None
    assert late is not None
    assert late[0] < seen[0]
