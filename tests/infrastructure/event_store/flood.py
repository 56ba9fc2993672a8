"""A process of its own that wants to append far more than it can: how many megabytes does it come to need?

python -m tests.infrastructure.event_store.flood URI QUEUE_BYTES
"""

import asyncio
import resource
import sys
from pathlib import Path

from domain.sweeps import SweepFailed
from infrastructure.event_store import append_queue
from infrastructure.event_store.store import PostgresEventStore
from tests.support.appends import append_of

TASKS = 10_000
FACT = SweepFailed(reason="x" * 20_000)  # one object; only what is encoded and queued takes room


def megabytes() -> float:
    """The most memory that this process ever had."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage tells on Linux counts the parent's memory too
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


async def flood(uri: str) -> float:
    store = PostgresEventStore(uri, process=1)
    await store.append(append_of())
    appends = [append_of(fact=FACT) for _ in range(TASKS)]
    before = megabytes()
    await asyncio.gather(*map(store.append, appends))
    store.close()
    return megabytes() - before


if __name__ == "__main__":
    append_queue.QUEUE_BYTES = int(sys.argv[2])
    print(asyncio.run(flood(sys.argv[1])))
