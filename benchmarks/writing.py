"""Writes calls into a store at a steady rate and follows its read models, as a server does, until it is ended.

    python -m benchmarks.writing DATABASE-URL CALLS-A-SECOND

It says "writing" once it does, and for each line that it is given how many calls it has written since the last one and
how many positions the slowest read model is behind.
"""

import asyncio
import random
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg

from application.ports import Append
from benchmarks.made_calls import Study
from infrastructure.event_store.keeper import Keeper
from infrastructure.event_store.store import PostgresEventStore
from projections.follow import Follower, FollowerThread
from projections.read_models import FOLLOWED_APART, READ_MODELS

FIRST = 9_000_000  # beyond the numbers of the calls that are there


def calls() -> Iterator[list[Append]]:
    """Calls that are asked now, each event an append of its own."""
    study, chance = Study(FIRST, datetime.now(UTC)), random.Random(time.time_ns())
    for index in range(FIRST, 10 * FIRST):
        yield [Append(events=(made.event,)) for made in study.call(index, datetime.now(UTC), chance)]


async def write(store: PostgresEventStore, rate: float, written: list[int], stop: threading.Event) -> None:
    """So many calls a second, however long each of them takes."""
    tasks: set[asyncio.Task[None]] = set()

    async def one(call: list[Append]) -> None:
        for append in call:
            await store.append(append)
        written[0] += 1

    due = time.monotonic()
    for call in calls():
        if stop.is_set():
            break
        tasks.add(asyncio.create_task(one(call)))
        due += 1 / rate
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        tasks = {task for task in tasks if not task.done()}
    await asyncio.gather(*tasks)


def main() -> None:
    """Write until standard input ends."""
    uri, rate = sys.argv[1], float(sys.argv[2])
    woken = [threading.Event(), threading.Event()]
    keeper = Keeper(uri, on_event=lambda: [each.set() for each in woken] and None)
    keeper.start()
    store = PostgresEventStore(uri, process=keeper.number)
    models = [tuple(model for model in READ_MODELS if model not in FOLLOWED_APART), FOLLOWED_APART]
    followers = [
        FollowerThread(Follower(store, lambda: psycopg.connect(uri), some), wake)
        for some, wake in zip(models, woken, strict=True)
    ]
    written, stop = [0], threading.Event()
    for each in followers:
        each.start()
    writing = threading.Thread(target=lambda: asyncio.run(write(store, rate, written, stop)))
    writing.start()
    print("writing", flush=True)
    for _ in sys.stdin:
        count, written[0] = written[0], 0
        slowest = min(position for each in followers for position in each.follower.positions().values())
        print(count, store.last_position() - slowest, flush=True)
    stop.set()
    writing.join()
    for each in followers:
        each.stop()
    store.close()
    keeper.close()


if __name__ == "__main__":
    main()
