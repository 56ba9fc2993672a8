"""Events a second into the read models, beside the eventsourcing library's ProjectionRunner, and the memory it takes.

    python -m benchmarks.replay [--events 600000] [--only all] [--database-url URL] [--json]

The log holds chats (one in twenty attempts fails), embeddings of 16 texts, and members added to groups, with at most
500 calls under way at once; a given database that holds a log is taken as it is. Then, each over the whole log:

- read and decode: pages of the log as facts, and nothing else.
- raw_calls: that read model alone, rebuilt.
- all: every read model rebuilt in one go.
- verify: every read model replayed and compared with the live one.
- library: ProjectionRunner, an event and a row at a time, over its own events of the same size.

Memory is the process's own beyond what it held before, sampled at every batch after the first tenth.
"""

import hashlib
import os
import random
import struct
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import singledispatchmethod
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import psycopg
from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from psycopg.conninfo import conninfo_to_dict

from application.ports import Append, NewEvent
from benchmarks.server import options, server, show
from domain.calls import AttemptError, CallAnswered, CallAttemptFailed, CallRequested, Tokens, VectorBlock
from domain.events import Envelope, Fact, PayloadRef
from domain.groups import GroupCreated, GroupMembersAdded, Member, group_id_of
from infrastructure.clock import TimeOrderedIds
from infrastructure.event_store.datastore import Datastore
from infrastructure.event_store.mapper import FactMapper
from infrastructure.event_store.recorder import Recorder
from projections.follow import Follower
from projections.generations import install
from projections.raw_calls import RAW_CALLS
from projections.read_models import READ_MODELS
from projections.rebuild import rebuild
from projections.verify import verify

UNDER_WAY = 500
TEXTS = 16
LIBRARY_EVENTS = 2_000
LIBRARY_SAVE = 100  # aggregates; it waits for ever in one pipeline of thousands of events
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TARGETS = {"raw_calls": 60_000, "all": 30_000}


class Call(NamedTuple):
    """A call under way in the made-up history."""

    call_id: UUID
    version: int
    attempt: int
    embeds: bool


class History:
    """A made-up history: what a study writes, one fact after the other."""

    def __init__(self) -> None:
        self._chance = random.Random(1)
        self._ids = TimeOrderedIds()
        self._under_way: list[Call] = []
        self._group = group_id_of("batch", "benchmark")
        self._correlation = uuid4()
        self._at = NOON

    def events(self, count: int) -> Iterator[NewEvent]:
        """So many events, in order."""
        yield self._event(self._group, 1, GroupCreated(group_type="batch", name="benchmark"))
        made = 1
        while made < count:
            for each in self._next():
                made += 1
                yield each

    def _next(self) -> list[NewEvent]:
        if len(self._under_way) < UNDER_WAY:
            return self._request()
        call = self._under_way.pop(self._chance.randrange(UNDER_WAY))
        if self._chance.random() < 0.05:
            error = AttemptError(kind="rate_limited", message="slow down", transient=True, http_status=429)
            fact: Fact = CallAttemptFailed(attempt=call.attempt, error=error, latency_ms=12.5, waits_seconds=1.0)
            self._under_way.append(call._replace(version=call.version + 1, attempt=call.attempt + 1))
        else:
            fact = self._answer(call)
        return [self._event(call.call_id, call.version + 1, fact)]

    def _request(self) -> list[NewEvent]:
        embeds = self._chance.random() < 0.1
        call = Call(self._ids.new(), 1, 1, embeds)
        self._under_way.append(call)
        fact = CallRequested(
            modality="embedding" if embeds else "text",
            provider="openai",
            endpoint="https://api.openai.com/v1",
            model="text-embedding-3-small" if embeds else "gpt-4o-mini",
            operation="embeddings" if embeds else "chat",
            request=self._body("request"),
            request_hash=self._chance.randbytes(32).hex(),
            max_attempts=3,
            attempt_timeout_seconds=60.0,
            input_hashes=self._chance.randbytes(32 * TEXTS) if embeds else b"",
        )
        events = [self._event(call.call_id, 1, fact)]
        if not embeds and self._chance.random() < 0.1:
            members = (Member(call_id=call.call_id, role="output"),)
            added = GroupMembersAdded(group_id=self._group, members=members)
            events.append(self._event(self._ids.new(), 1, added))
        return events

    def _answer(self, call: Call) -> CallAnswered:
        norms = struct.pack(f"<{TEXTS}f", *[1.0] * TEXTS)
        return CallAnswered(
            attempt=call.attempt,
            latency_ms=self._chance.uniform(100, 2000),
            total_ms=self._chance.uniform(2000, 3000),
            tokens=Tokens(prompt=400, completion=None if call.embeds else 400, total=800),
            response=self._body("response"),
            served_model="gpt-4o-mini-2024-07-18",
            http_status=200,
            headers={"x-request-id": f"req_{self._chance.getrandbits(128):032x}"},
            finish_reason=None if call.embeds else "stop",
            text_path=None if call.embeds else ("choices", "0", "message", "content"),
            vectors=VectorBlock(count=TEXTS, dimension=1536, norms=norms) if call.embeds else None,
        )

    def _body(self, part: str) -> PayloadRef:
        digest = hashlib.sha256(self._chance.randbytes(8)).hexdigest()
        return PayloadRef(part=part, sha256=digest, size=2500, media_type="application/json", is_json=True)

    def _event(self, stream_id: UUID, version: int, fact: Fact) -> NewEvent:
        self._at += timedelta(milliseconds=1)
        envelope = Envelope(self._at, "benchmark", "00000000000000a1", self._correlation)
        return NewEvent(stream_id=stream_id, version=version, fact=fact, envelope=envelope)


def fill(uri: str, recorder: Recorder, count: int) -> None:
    """Append a history of so many events."""
    with psycopg.connect(uri, autocommit=True) as connection:
        batch: list[NewEvent] = []
        for each in History().events(count):
            batch.append(each)
            if len(batch) == 1000:
                recorder.insert_appends(connection, [recorder.encode(Append(events=tuple(batch)))], process=1)
                batch = []
        connection.execute("ANALYZE events.events")


def resident_mb() -> float:
    """The memory this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Memory:
    """Samples the process's memory as a replay goes on; a progress callback."""

    def __init__(self) -> None:
        self._samples: list[float] = []
        self._before = resident_mb()

    def __call__(self, _name: str, position: int, until: int) -> None:
        if position > until / 10:
            self._samples.append(resident_mb() - self._before)

    def range_mb(self) -> tuple[int, int]:
        """The least and the most."""
        return round(min(self._samples, default=0)), round(max(self._samples, default=0))


def timed(name: str, events: int, work: Callable[[Memory], None]) -> dict[str, Any]:
    """One line of the table."""
    memory = Memory()
    began = time.perf_counter()
    work(memory)
    rate = round(events / (time.perf_counter() - began))
    print(f"{name}: {rate:,} events/s", file=sys.stderr)
    least, most = memory.range_mb()
    return {
        "replay": name,
        "events_per_second": rate,
        "target": TARGETS.get(name),
        "memory_mb_least": least,
        "memory_mb_most": most,
    }


def read_all(recorder: Recorder, memory: Memory) -> None:
    last, after = recorder.last_position(), 0
    while after < last:
        after = recorder.page(after=after, limit=2_000)[-1].position
        memory("", after, last)


class Conversation(Aggregate):
    """What the library's runner is given: about as many bytes an event as ours."""

    @event("Asked")
    def __init__(self, request: str) -> None:
        self.request = request

    @event("Answered")
    def answer(self, response: str) -> None:
        self.response = response


class Conversations(Application):
    """The library's application."""


class Rows(PostgresTrackingRecorder):
    """One row an event, with its position, in one transaction: the library's documented way."""

    def __init__(self, datastore: Any, **more: Any) -> None:
        super().__init__(datastore, **more)
        self.sql_create_statements.append(
            psycopg.sql.SQL("CREATE TABLE IF NOT EXISTS library_rows (id uuid, version int, what text)")
        )

    def add(self, originator_id: UUID, version: int, what: str, tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute("INSERT INTO library_rows VALUES (%s, %s, %s)", (originator_id, version, what))


class RowsOfConversations(Projection[Rows]):
    """Copies every event into a row."""

    name = "rows"

    @singledispatchmethod
    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        what = getattr(domain_event, "request", None) or domain_event.response
        self.view.add(domain_event.originator_id, domain_event.originator_version, what, tracking)


def library(uri: str) -> dict[str, Any]:
    """The library's ProjectionRunner over its own events, on the same server."""
    parts = conninfo_to_dict(uri)
    env = {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": str(parts["dbname"]),
        "POSTGRES_HOST": str(parts.get("host", "")),
        "POSTGRES_PORT": str(parts.get("port", "5432")),
        "POSTGRES_USER": str(parts.get("user", "")),
        "POSTGRES_PASSWORD": str(parts.get("password", "none")),
    }
    application = Conversations(env)
    last = 0
    for _ in range(LIBRARY_EVENTS // (2 * LIBRARY_SAVE)):
        conversations = [Conversation("x" * 250) for _ in range(LIBRARY_SAVE)]
        for each in conversations:
            each.answer("y" * 250)
        last = application.save(*conversations)[-1].notification.id
    began = time.perf_counter()
    with ProjectionRunner(
        application_class=Conversations, projection_class=RowsOfConversations, view_class=Rows, env=env
    ) as runner:
        runner.projection.view.wait(application.name, last, timeout=120)
        rate = round(LIBRARY_EVENTS / (time.perf_counter() - began))
    application.close()
    return {"replay": "library", "events_per_second": rate}


def measure(uri: str, count: int, only: Sequence[str]) -> list[dict[str, Any]]:
    """Fill an empty store and replay it; `only` some of the replays, or all of them."""
    recorder = Recorder(Datastore(uri, pool_size=3), FactMapper())

    def connect() -> psycopg.Connection:
        return psycopg.connect(uri)

    with connect() as connection:
        install(connection, READ_MODELS)
    if recorder.last_position() == 0:
        print(f"writing {count:,} events", file=sys.stderr)
        fill(uri, recorder, count)
    count = recorder.last_position()
    follower = Follower(recorder, connect, READ_MODELS)
    replays: dict[str, Callable[[Memory], None]] = {
        "read and decode": lambda memory: read_all(recorder, memory),
        "raw_calls": lambda memory: rebuild(follower, RAW_CALLS.name, memory),
        "all": lambda memory: rebuild(follower, None, memory),
        "verify": lambda memory: _verified(follower, memory),
    }
    rows = [timed(name, count, work) for name, work in replays.items() if not only or name in only]
    rows.append(library(uri))
    follower.close()
    recorder.datastore.close()
    slowest = rows[-1]["events_per_second"]
    return [{**row, "times_the_library": round(row["events_per_second"] / slowest, 1)} for row in rows]


def _verified(follower: Follower, memory: Memory) -> None:
    follower.catch_up()
    if not verify(follower, None, memory).equal:
        raise AssertionError("the live tables are not what the events say")


def main() -> None:
    """Measure and print."""
    parser = options(__doc__, seconds=0)
    parser.add_argument("--events", type=int, default=600_000, help="how many events the log holds")
    parser.add_argument("--only", action="append", default=[], help="one of these replays; may be given again")
    given = parser.parse_args()
    with server(given.database_url) as (uri, machine):
        show(machine, {"replay": measure(uri, given.events, given.only)}, as_json=given.json)


if __name__ == "__main__":
    main()
