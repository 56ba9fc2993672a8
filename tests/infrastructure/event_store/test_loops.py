"""Event loops that append one after the other: what one leaves behind holds up nobody in the next."""

import asyncio
import os
import time
from collections.abc import Iterator

import psycopg
import pytest

from infrastructure.event_store import append_queue
from infrastructure.event_store.store import PostgresEventStore
from tests.infrastructure.event_store.conftest import APPEND_LOCK
from tests.support.appends import append_of

SOON_SECONDS = 8


async def appended_soon(store: PostgresEventStore) -> int:
    return await asyncio.wait_for(store.append(append_of()), SOON_SECONDS)


@pytest.fixture
def earlier() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that is run until something is done, and then not closed before the test ends."""
    loop = asyncio.new_event_loop()
    yield loop
    if not loop.is_closed():
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0.1))
        loop.close()


def test_each_event_loop_may_append_in_its_turn(store: PostgresEventStore) -> None:
    for expected in (1, 2, 3):
        assert asyncio.run(store.append(append_of())) == expected


async def test_two_event_loops_that_run_need_a_store_each(store: PostgresEventStore) -> None:
    for _ in range(2):
        await store.append(append_of())
    with pytest.raises(RuntimeError, match="open one for each"):
        await asyncio.to_thread(asyncio.run, store.append(append_of()))
    assert await store.append(append_of()) == 3


def test_what_a_loop_had_sent_when_it_ended_lands_once(store: PostgresEventStore, blocker: psycopg.Connection) -> None:
    async def left_behind() -> None:
        await store.append(append_of())
        blocker.execute(APPEND_LOCK)
        sent = asyncio.create_task(store.append(append_of()))
        await asyncio.sleep(0.2)
        sent.cancel()

    asyncio.run(left_behind())
    blocker.commit()
    asyncio.run(store.append(append_of()))
    assert len(store.page(after=0, limit=10)) == 3


class ClosedMeanwhile(asyncio.SelectorEventLoop):
    """It is closed between the question whether it is and what follows from the answer."""

    asked = False

    def is_closed(self) -> bool:
        return super().is_closed() and not self.asked


def test_the_writer_thread_survives_a_loop_that_is_closed_while_it_tells_it(
    store: PostgresEventStore, blocker: psycopg.Connection
) -> None:
    async def left_behind() -> None:
        blocker.execute(APPEND_LOCK)
        under_way = asyncio.create_task(store.append(append_of()))
        await asyncio.sleep(0.3)
        under_way.cancel()

    with asyncio.Runner(loop_factory=ClosedMeanwhile) as runner:
        runner.run(left_behind())
        loop = runner.get_loop()
    loop.asked = True
    blocker.commit()
    while not store.last_position():
        time.sleep(0.05)
    assert asyncio.run(appended_soon(store)) == 2
    loop.asked = False


@pytest.mark.parametrize("ended", ["asyncio.run", "stopped", "closed"])
def test_a_full_queue_that_a_loop_left_behind_makes_nobody_wait_for_ever(
    store: PostgresEventStore,
    blocker: psycopg.Connection,
    earlier: asyncio.AbstractEventLoop,
    monkeypatch: pytest.MonkeyPatch,
    ended: str,
) -> None:
    monkeypatch.setattr(append_queue, "QUEUE_APPENDS", 4)
    tasks = set()

    async def left_behind() -> None:
        for _ in range(2):
            await store.append(append_of())
        blocker.execute(APPEND_LOCK)
        tasks.update(asyncio.create_task(store.append(append_of())) for _ in range(20))
        await asyncio.sleep(0.2)

    if ended == "asyncio.run":
        asyncio.run(left_behind())
    else:
        earlier.run_until_complete(left_behind())
    if ended == "closed":
        earlier.close()
    blocker.commit()
    assert asyncio.run(appended_soon(store)) == store.last_position()


def test_what_the_thread_has_written_for_a_loop_that_stopped_is_gone_on_with_by_the_next(
    store: PostgresEventStore, blocker: psycopg.Connection, earlier: asyncio.AbstractEventLoop
) -> None:
    tasks = set()

    async def left_behind() -> None:
        blocker.execute(APPEND_LOCK)
        for _ in range(2):  # the first is under way, the second waits
            tasks.add(asyncio.create_task(store.append(append_of())))
            await asyncio.sleep(0.3)

    async def the_next() -> int:
        third = asyncio.create_task(appended_soon(store))
        await asyncio.sleep(0.2)
        blocker.commit()
        return await third

    earlier.run_until_complete(left_behind())
    assert asyncio.run(the_next()) == 3


def test_a_loop_that_goes_on_after_another_one_has_come_takes_nothing_from_it(
    store: PostgresEventStore, earlier: asyncio.AbstractEventLoop
) -> None:
    tasks = set()

    def begin_in(loop: asyncio.AbstractEventLoop) -> None:
        tasks.add(loop.create_task(store.append(append_of())))
        loop.call_soon(loop.stop)
        loop.run_forever()  # until it is queued; what is to begin does so when the loop goes on

    asyncio.run(store.append(append_of()))
    while store._writer._writing != "nobody":
        time.sleep(0.01)
    with asyncio.Runner() as later:
        begin_in(earlier)
        begin_in(later.get_loop())
        earlier.run_until_complete(asyncio.sleep(0))
        assert later.run(appended_soon(store)) == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes can't be forked here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_is_refused_and_disturbs_nobody(store: PostgresEventStore) -> None:
    for _ in range(2):
        asyncio.run(store.append(append_of()))
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(appended_soon(store))
        except RuntimeError as error:
            os._exit(0 if "forked" in str(error) else 1)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert asyncio.run(store.append(append_of())) == 3
