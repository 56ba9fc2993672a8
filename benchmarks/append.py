"""Events a second through the append path, beside raw SQL and the eventsourcing library's own recorder.

    python -m benchmarks.append [--database-url URL] [--seconds 2] [--json]

- ours: PostgresEventStore.append, one event an append, so many tasks at once.
- ours, claims: the same; each stream takes a claim with its first event and frees it with its second.
- ours, bodies: the same with a body of 2.5 KB beside each event.
- library: eventsourcing's PostgresApplicationRecorder.insert_events for each batch, under the same group commit, at
  most 250 events a save: with more, its pipeline waits for ever now and then.
- raw: psycopg, one INSERT … SELECT FROM unnest(typed arrays) of the same bytes, 1,000 a commit: the ceiling.

Latency is given in commits as well: how many of the disk's fsyncs would fit into the median append.
"""

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import psycopg
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg.conninfo import conninfo_to_dict

from application.ports import Append, Claim, NewEvent, Payload
from benchmarks.server import options, server, show
from domain.calls import CallRequested
from domain.events import Envelope, PayloadRef
from infrastructure.clock import TimeOrderedIds
from infrastructure.event_store.append_queue import BATCH_APPENDS
from infrastructure.event_store.datastore import Datastore
from infrastructure.event_store.group_commit import GroupCommit
from infrastructure.event_store.keeper import Keeper
from infrastructure.event_store.mapper import FactMapper
from infrastructure.event_store.recorder import EncodedAppend, Recorder, Refused

EVENT_BYTES = 550
BODY_BYTES = 2_500
LIBRARY_SAVE = 250
TASKS = (1, 10, 100, 1_000)
ROUNDS = 3
IDS = TimeOrderedIds()
ENVELOPE = Envelope(datetime.now(UTC), "benchmark", "00000000000000a1", uuid4())
BODY = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz ", k=BODY_BYTES)).encode()


def a_fact(padding: int = 0) -> CallRequested:
    """A chat request as it is stored."""
    return CallRequested(
        modality="text",
        provider="openai",
        endpoint="https://api.openai.com/v1",
        model="gpt-4o-mini",
        operation="chat",
        request=PayloadRef(
            part="request", sha256="ab" * 32, size=BODY_BYTES, media_type="application/json", is_json=True
        ),
        request_hash="cd" * 32,
        max_attempts=3,
        attempt_timeout_seconds=60.0,
        metadata={"note": "x" * padding},
    )


def an_event(fact: CallRequested, stream_id: UUID, version: int = 1, *payloads: Payload) -> NewEvent:
    return NewEvent(stream_id=stream_id, version=version, fact=fact, envelope=ENVELOPE, payloads=payloads)


def _fact_of(size: int) -> CallRequested:
    shortest = len(FactMapper().to_stored_event(an_event(a_fact(), uuid4())).state)
    return a_fact(size - shortest - 2)


FACT = _fact_of(EVENT_BYTES)


def events() -> Iterator[Append]:
    """One event each, all of different streams."""
    while True:
        yield Append(events=(an_event(FACT, IDS.new()),))


def events_with_claims() -> Iterator[Append]:
    """Two events a stream; the first takes a claim, the second frees it."""
    while True:
        stream_id = IDS.new()
        claim = Claim(key=f"request:{stream_id}", holder=stream_id)
        yield Append(events=(an_event(FACT, stream_id),), take=(claim,))
        yield Append(events=(an_event(FACT, stream_id, 2),), free=(claim,))


def events_with_bodies() -> Iterator[Append]:
    """One event each, with a body beside it."""
    payload = Payload(part="request", body=BODY, media_type="application/json", is_json=True)
    while True:
        yield Append(events=(an_event(FACT, IDS.new(), 1, payload),))


class LibraryRecorder(Recorder):
    """Our encoding and our group commit; the batch is written by the library."""

    def __init__(self, uri: str) -> None:
        super().__init__(Datastore(uri), FactMapper())
        parts = {key: str(value) for key, value in conninfo_to_dict(uri).items()}
        stock = PostgresDatastore(
            dbname=parts["dbname"],
            host=parts.get("host", ""),
            port=parts.get("port", "5432"),
            user=parts.get("user", ""),
            password=parts.get("password", ""),
            lock_timeout=5,
        )
        self._library = PostgresApplicationRecorder(stock, events_table_name=f"stock_{uuid4().hex[:8]}")
        self._library.create_table()

    def insert_appends(
        self, connection: psycopg.Connection[Any], batch: Sequence[EncodedAppend], *, process: int
    ) -> list[int | Refused]:
        stored = [self.mapper.to_stored_event(event) for each in batch for event in each.append.events]
        positions: list[int | Refused] = []
        for first in range(0, len(stored), LIBRARY_SAVE):
            positions += self._library.insert_events(stored[first : first + LIBRARY_SAVE]) or []
        return positions

    def takes_over(self, connection: psycopg.Connection[Any]) -> bool:
        return False  # the library waits, so that it writes in the thread

    def encode(self, append: Append) -> EncodedAppend:
        return EncodedAppend(append, [], EVENT_BYTES)  # the library's mapper encodes

    def close(self) -> None:
        self._library.datastore.close()
        self.datastore.close()


async def _append(
    recorder: Recorder, uri: str, process: int, work: Callable[[], Iterator[Append]], tasks: int, seconds: float
) -> tuple[int, float, list[float]]:
    """Each task appends anew when its last append is durable, for so long; events, seconds, sorted latencies."""
    writer = GroupCommit(recorder, lambda: psycopg.connect(uri), process=process)
    latencies: list[float] = []
    deadline = time.perf_counter() + seconds

    async def keep_appending(appends: Iterator[Append]) -> None:
        while (began := time.perf_counter()) < deadline:
            await writer.append(next(appends))
            latencies.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(keep_appending(work()) for _ in range(tasks)))
    elapsed = time.perf_counter() - began
    writer.close()
    return len(latencies), elapsed, sorted(latencies)


def appended(
    name: str,
    recorder: Recorder,
    uri: str,
    work: Callable[[], Iterator[Append]],
    tasks: int,
    seconds: float,
    fsyncs: int,
) -> dict[str, Any]:
    keeper = Keeper(uri, on_event=lambda: None)
    count, elapsed, latencies = asyncio.run(_append(recorder, uri, keeper.number, work, tasks, seconds))
    keeper.close()
    p50, p99 = latencies[len(latencies) // 2], latencies[int(len(latencies) * 0.99)]
    return {
        "what": name,
        "tasks": tasks,
        "events_per_second": round(count / elapsed),
        "latency_ms_p50": round(p50 * 1000, 2),
        "latency_ms_p99": round(p99 * 1000, 2),
        "p50_in_commits": round(p50 * fsyncs, 1),
    }


def raw(uri: str, seconds: float, with_bodies: bool) -> dict[str, Any]:
    """The same bytes into a table like ours with one statement a thousand events, made ready beforehand."""
    stored = [FactMapper().to_stored_event(an_event(FACT, IDS.new())) for _ in range(BATCH_APPENDS)]
    topics, states, versions = [s.topic for s in stored], [s.state for s in stored], [1] * BATCH_APPENDS
    insert = (
        "INSERT INTO raw_events SELECT *, clock_timestamp() "
        "FROM unnest(%b::uuid[], %b::bigint[], %b::text[], %b::bytea[], %b::bigint[])"
    )
    insert_bodies = (
        "INSERT INTO raw_payloads SELECT id, 1, 'request', body, NULL "
        "FROM unnest(%b::uuid[], %b::bytea[]) AS p (id, body)"
    )
    count, spent = 0, 0.0
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS raw_events, raw_payloads")
        connection.execute("CREATE TABLE raw_events (LIKE events.events INCLUDING ALL)")
        connection.execute("CREATE TABLE raw_payloads (LIKE events.payloads INCLUDING ALL)")
        for first in itertools.count(1, BATCH_APPENDS):
            ids = [IDS.new() for _ in stored]
            positions = list(range(first, first + BATCH_APPENDS))
            began = time.perf_counter()
            with connection.transaction():
                connection.execute(insert, (ids, versions, topics, states, positions), prepare=True, binary=True)
                if with_bodies:
                    connection.execute(insert_bodies, (ids, [BODY] * BATCH_APPENDS), prepare=True, binary=True)
            spent += time.perf_counter() - began
            count += BATCH_APPENDS
            if spent >= seconds:
                break
        connection.execute("DROP TABLE raw_events, raw_payloads")
    return {"what": "raw, bodies" if with_bodies else "raw", "events_per_second": round(count / spent)}


def best(measured: Callable[[], dict[str, Any]], *others: Callable[[], dict[str, Any]]) -> list[dict[str, Any]]:
    """Measure peers in turns; of each the best round, since others may use the machine."""
    rounds = [[each() for each in (measured, *others)] for _ in range(ROUNDS)]
    return [max(peer, key=lambda row: row["events_per_second"]) for peer in zip(*rounds, strict=True)]


def measure(uri: str, seconds: float, fsyncs: int) -> dict[str, list[dict[str, Any]]]:
    """Everything on one server, the peers close together."""
    ours, library = Recorder(Datastore(uri), FactMapper()), LibraryRecorder(uri)

    def appending(name: str, recorder: Recorder, work: Callable[[], Iterator[Append]], tasks: int) -> dict[str, Any]:
        return appended(name, recorder, uri, work, tasks, seconds, fsyncs)

    most = max(TASKS)
    rows = []
    for tasks in TASKS:
        rows += best(
            partial(appending, "ours", ours, events, tasks),
            partial(appending, "library", library, events, tasks),
            *([partial(raw, uri, seconds, with_bodies=False)] if tasks == most else []),
        )
    rows += best(
        partial(appending, "ours, claims", ours, events_with_claims, most),
        partial(appending, "ours, bodies", ours, events_with_bodies, most),
        partial(raw, uri, seconds, with_bodies=True),
    )
    ours.datastore.close()
    library.close()
    rate = {(row["what"], row.get("tasks")): row["events_per_second"] for row in rows}
    return {
        "append": rows,
        "ratios at 1,000 tasks": [
            {
                "ours / raw": round(rate["ours", most] / rate["raw", None], 2),
                "ours / library": round(rate["ours", most] / rate["library", most], 2),
                "ours, bodies / raw, bodies": round(rate["ours, bodies", most] / rate["raw, bodies", None], 2),
            }
        ],
    }


def main() -> None:
    chosen = options(__doc__, seconds=2.0).parse_args()
    with server(chosen.database_url) as (uri, machine):
        show(machine, measure(uri, chosen.seconds, machine["fsyncs_per_second"]), as_json=chosen.json)


if __name__ == "__main__":
    main()
