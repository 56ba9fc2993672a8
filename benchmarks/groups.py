"""How long it takes to put many calls into a group, to page through them, to take them out, and to walk many links.

    python -m benchmarks.groups [--members 100000] [--links 10000] [--database-url URL] [--json]

The database must be empty: it is filled with so many calls. The read models follow in the same process, as a command's
do. A page is 50 rows; the median and the slowest of pages from all over the group are told.
"""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg_pool import AsyncConnectionPool

from application.group_calls import GroupCalls
from application.notebook import Context, Notebook
from application.ports import Append, Journal, NewEvent
from benchmarks.append import a_fact
from benchmarks.server import options, server, show
from domain.events import Envelope
from domain.groups import GroupLinked, Member
from infrastructure.clock import SystemClock, TimeOrderedIds
from infrastructure.event_store.keeper import Keeper
from infrastructure.event_store.store import PostgresEventStore
from projections.follow import Follower
from projections.generations import install
from projections.paging import Paging
from projections.queries import Queries
from projections.read_models import READ_MODELS

AT_ONCE = 1000
CONTEXT = Context("benchmark", uuid4())
PAGES = 200


async def measured(rows: list[dict[str, Any]], what: str, work: Callable[[], Awaitable[Any]]) -> Any:
    """Do it once, and note how long it took."""
    began = time.perf_counter()
    result = await work()
    rows.append({"what": what, "seconds": round(time.perf_counter() - began, 3)})
    return result


async def paged(rows: list[dict[str, Any]], what: str, page: Callable[..., Awaitable[Any]]) -> None:
    """Read some pages, one after the other, and note how long one takes."""
    times, cursor = [], None
    for _ in range(PAGES):
        began = time.perf_counter()
        found = await page(Paging(50, cursor))
        times.append((time.perf_counter() - began) * 1000)
        cursor = found["next_cursor"]
        if cursor is None:
            break
    rows.append({"what": what, "median_ms": round(statistics.median(times), 2), "slowest_ms": round(max(times), 1)})


async def calls_made(store: PostgresEventStore, count: int) -> list[UUID]:
    """So many requested calls."""
    ids, fact = TimeOrderedIds(), a_fact()
    envelope = Envelope(datetime.now(UTC), "benchmark", "00000000000000a1", CONTEXT.correlation_id)
    made = [ids.new() for _ in range(count)]
    for start in range(0, count, AT_ONCE):
        batch = made[start : start + AT_ONCE]
        events = tuple(NewEvent(stream_id=each, version=1, fact=fact, envelope=envelope) for each in batch)
        await store.append(Append(events=events))
    return made


async def benchmark(uri: str, members: int, links: int) -> dict[str, list[dict[str, Any]]]:
    """Everything, on an empty database."""

    def connect() -> psycopg.Connection[Any]:
        return psycopg.connect(uri)

    keeper = Keeper(uri, on_event=lambda: None)
    store = PostgresEventStore(uri, process=keeper.number)
    with connect() as connection:
        install(connection, READ_MODELS)
    follower = Follower(store, connect, READ_MODELS)
    journal: Journal = None  # type: ignore[assignment] - nothing here waits for a store that is away
    groups = GroupCalls(Notebook(store, journal, clock=SystemClock(), ids=TimeOrderedIds(), process=keeper.process))
    rows: list[dict[str, Any]] = []
    try:
        async with AsyncConnectionPool(uri, min_size=1, max_size=2, open=False) as pool:
            queries = Queries(pool)

            async def shown() -> None:
                await asyncio.to_thread(follower.catch_up)

            call_ids = await calls_made(store, members)
            group_id = await groups.create("experiment", "large", CONTEXT)
            await shown()
            named = [Member(call_id=call_id, role="output", position=place) for place, call_id in enumerate(call_ids)]
            await measured(rows, f"add {members:,} members", lambda: groups.add_members(group_id, named, CONTEXT))
            await measured(rows, "… until they show", shown)
            await measured(rows, "add them again", lambda: groups.add_members(group_id, named, CONTEXT))
            await measured(rows, "… until that shows", shown)
            await measured(rows, "count them", lambda: queries.groups.group(group_id))
            await paged(rows, "a page, nothing analysed", lambda page: queries.groups.members(group_id, page=page))
            with connect() as connection:  # as autovacuum does within a minute
                connection.execute("ANALYZE")
            await paged(rows, "a page of members", lambda page: queries.groups.members(group_id, page=page))
            half = call_ids[::2]
            before = await asyncio.to_thread(store.last_position)
            await measured(rows, f"remove {len(half):,}", lambda: groups.remove_members(group_id, half, CONTEXT))
            await measured(rows, "… until that shows", shown)
            await paged(rows, "a page of those left", lambda page: queries.groups.members(group_id, page=page))
            await paged(
                rows, "a page as of before", lambda page: queries.groups.members(group_id, as_of=before, page=page)
            )
            await _links(rows, groups, queries, shown, links)
    finally:
        follower.close()
        store.close()
        keeper.close()
    return {"groups": rows}


async def _links(
    rows: list[dict[str, Any]],
    groups: GroupCalls,
    queries: Queries,
    shown: Callable[[], Awaitable[None]],
    links: int,
) -> None:
    """A lattice 100 groups deep, in which each depends on several of the next layer."""
    width, depth = max(2, links // 300), 100
    layers = [
        [await groups.create("run", f"{layer}/{place}", CONTEXT) for place in range(width)] for layer in range(depth)
    ]
    wanted = [
        GroupLinked(parent_group_id=parent, child_group_id=below[(place + step) % width], link_type="depends_on")
        for above, below in pairwise(layers)
        for place, parent in enumerate(above)
        for step in range(3)
    ]

    async def link_all() -> None:
        for start in range(0, len(wanted), AT_ONCE):
            await groups.link(wanted[start : start + AT_ONCE], CONTEXT)

    await measured(rows, f"link {len(wanted):,} times, {AT_ONCE:,} at once", link_all)
    last = GroupLinked(parent_group_id=layers[0][0], child_group_id=layers[-1][0], link_type="depends_on")
    await measured(rows, "one link more", lambda: groups.link([last], CONTEXT))
    await measured(rows, "… until that shows", shown)
    await paged(
        rows,
        f"a page of {width * (depth - 1):,} dependencies, {depth} deep",
        lambda page: queries.groups.dependencies(layers[0][0], page=page),
    )


def main() -> None:
    """Run the benchmark."""
    parser = options(__doc__, seconds=0)
    parser.add_argument("--members", type=int, default=100_000, help="calls in the group")
    parser.add_argument("--links", type=int, default=10_000, help="about so many links")
    given = parser.parse_args()
    with server(given.database_url) as (uri, machine):
        show(machine, asyncio.run(benchmark(uri, given.members, given.links)), as_json=given.json)


if __name__ == "__main__":
    main()
