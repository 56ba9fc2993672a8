"""How long walks, pages of the log and lists of what was never answered take in a store of a million calls.

    python -m benchmarks.provenance [--calls 1000000] [--questions 200] [--database-url URL] [--json]

One call in ten embeds 16 texts; those calls are one batch of embeddings, over which one sweep was made, whose clusters
are named by calls. One call in a thousand was cancelled or is still under way. Bodies of 200 bytes lie beside one call
in a hundred and beside all that a walk from a cluster meets. A given database that this has filled is asked again.

Each question is asked of things taken at random, one after the other, over one pool; times are of the whole answer.
"""

import asyncio
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg_pool import AsyncConnectionPool

from application.audit_log import AuditLog, EventFilter
from application.ports import Append, NewEvent, Payload
from application.read_bytes import ReadBytes
from benchmarks.server import options, server, show
from domain.artifacts import ArtifactKept
from domain.calls import CallAnswered, CallCancelled, CallRequested, Tokens, VectorBlock
from domain.events import Envelope, Fact
from domain.groups import LINKS_STREAM_ID, GroupCreated, GroupLinked, GroupMembersAdded, Member, group_id_of
from domain.identity import content_id
from domain.sweeps import (
    Cluster,
    StepMetrics,
    SweepConfig,
    SweepFinished,
    SweepSource,
    SweepStarted,
    SweepStepFinished,
    sweep_id_of,
)
from infrastructure.clock import TimeOrderedIds
from infrastructure.event_store.store import PostgresEventStore
from interfaces.as_of import Moment
from interfaces.study.moments import Moments
from interfaces.study.provenance import Provenance
from projections.follow import Follower
from projections.generations import install
from projections.paging import Paging
from projections.queries import Queries
from projections.read_models import READ_MODELS
from projections.rebuild import rebuild

TEXTS = 16
K = 20
REPRESENTATIVES = 8
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BODY = b'{"model": "m", "input": ["a text"], "padding": "' + b"x" * 150 + b'"}'
TARGET_MS = 100
SWEEP = sweep_id_of("benchmark")
RUN, BATCH = group_id_of("run", str(SWEEP)), group_id_of("embedding_batch", "benchmark")
LABELS = content_id("artifact", "labels")
SHA256 = "ab" * 32

Thing = Callable[[random.Random], tuple[str, str]]


class Study:
    """A made-up study of so many calls."""

    def __init__(self, calls: int) -> None:
        self._calls = calls
        self._chance = random.Random(1)
        self._ids = TimeOrderedIds()
        self._at = NOON
        self._links = 0
        self._embedded: list[str] = []  # the hash of each embedding call's first text

    def events(self) -> Iterator[NewEvent]:
        """All of it, in order."""
        yield self._event(BATCH, 1, GroupCreated(group_type="embedding_batch", name="benchmark"))
        members: list[Member] = []
        for number in range(self._calls):
            embeds = number % 10 == 0
            call_id = self._ids.new()
            yield from self._call(call_id, number, embeds=embeds)
            if embeds:
                members.append(Member(call_id=call_id, role="output", position=len(self._embedded)))
            if len(members) == 1000:
                yield self._event(self._ids.new(), 1, GroupMembersAdded(group_id=BATCH, members=tuple(members)))
                members = []
        yield from self._sweep()

    def _call(self, call_id: UUID, number: int, *, embeds: bool, whole: bool = False) -> Iterator[NewEvent]:
        hashes = self._chance.randbytes(32 * TEXTS) if embeds else b""
        # The first of a batch are those that a walk shows, and must have their bodies.
        body = BODY if whole or number % 100 == 0 or (embeds and number < 1000) else None
        if embeds:
            self._embedded.append(hashes[:32].hex())
        asked = Payload(part="request", body=body or BODY, media_type="application/json", is_json=True)
        yield self._event(
            call_id,
            1,
            CallRequested(
                modality="embedding" if embeds else "text",
                provider="openai",
                endpoint="https://api.openai.com/v1",
                model="text-embedding-3-small" if embeds else "gpt-4o-mini",
                operation="embeddings" if embeds else "chat",
                request=asked.ref(),
                request_hash=self._chance.randbytes(32).hex(),
                max_attempts=3,
                attempt_timeout_seconds=60.0,
                input_hashes=hashes,
            ),
            *([asked] if body else []),
        )
        if number % 1000 == 7:
            if number % 2000 == 7:
                yield self._event(call_id, 2, CallCancelled(attempts=1, reason="left", total_ms=1.0))
            return
        answer = Payload(part="response", body=BODY, media_type="application/json", is_json=True)
        block = VectorBlock(count=TEXTS, dimension=1536, norms=b"\x00\x00\x80?" * TEXTS) if embeds else None
        answered = CallAnswered(
            attempt=1,
            latency_ms=self._chance.uniform(100, 2000),
            total_ms=2000.0,
            tokens=Tokens(prompt=400, completion=None if embeds else 400, total=800),
            response=answer.ref(),
            http_status=200,
            text_path=None if embeds else ("choices", "0", "message", "content"),
            vectors=block,
        )
        yield self._event(call_id, 2, answered, *([answer] if body else []))

    def _sweep(self) -> Iterator[NewEvent]:
        step_group, names = group_id_of("step", f"{SWEEP}/k={K}"), group_id_of("summarization_batch", str(SWEEP))
        for group_id, group_type, name in (
            (RUN, "run", str(SWEEP)),
            (step_group, "step", f"{SWEEP}/k={K}"),
            (names, "summarization_batch", str(SWEEP)),
        ):
            yield self._event(group_id, 1, GroupCreated(group_type=group_type, name=name))
        config = SweepConfig(method="k-means", k_values=(K,), summarise="openai/gpt-4o-mini")
        source = SweepSource(
            vectors_sha256=SHA256,
            n_samples=len(self._embedded) * TEXTS,
            n_features=1536,
            embedding_provider="openai",
            embedding_model="text-embedding-3-small",
            embedding_group_id=BATCH,
        )
        started = SweepStarted(fingerprint=SHA256, config=config, source=source, run_group_id=RUN, software={})
        yield self._event(SWEEP, 1, started)
        for child, link_type in ((BATCH, "depends_on"), (step_group, "step"), (names, "generates")):
            self._links += 1
            link = GroupLinked(parent_group_id=RUN, child_group_id=child, link_type=link_type)  # type: ignore[arg-type]
            yield self._event(LINKS_STREAM_ID, self._links, link)
        kept = ArtifactKept(
            sha256=SHA256,
            byte_size=1,
            content_type="application/x-npy",
            artifact_type="sweep_labels",
            name=f"{SWEEP}/k={K}/sweep_labels.npy",
            group_id=step_group,
        )
        yield self._event(LABELS, 1, kept)
        metrics = StepMetrics(
            k=K,
            objective=1.0,
            iterations=1,
            converged=True,
            empty_clusters=0,
            silhouette=0.5,
            stability_ari_mean=1.0,
            stability_ari_std=0.0,
            dispersion=0.1,
            coverage=1.0,
        )
        step = SweepStepFinished(
            metrics=metrics,
            labels_sha256=SHA256,
            centroids_sha256=SHA256,
            best_restart=0,
            step_group_id=step_group,
            artifact_ids={"sweep_labels": LABELS},
            duration_s=1.0,
        )
        yield self._event(SWEEP, 2, step)
        naming = [self._ids.new() for _ in range(K)]
        for call_id in naming:
            yield from self._call(call_id, 1, embeds=False, whole=True)
        members = tuple(Member(call_id=call_id, role="output") for call_id in naming)
        yield self._event(self._ids.new(), 1, GroupMembersAdded(group_id=names, members=members))
        hashes = self._chance.sample(self._embedded, min(K * REPRESENTATIVES, len(self._embedded)))
        of = [tuple(hashes[number::K][:REPRESENTATIVES]) for number in range(K)]
        clusters = tuple(
            Cluster(
                cluster=number,
                size=100,
                name=f"name {number}",
                representatives=("a text",) * len(of[number]),
                representative_rows=tuple(range(len(of[number]))),
                named_by_call_id=call_id,
            )
            for number, call_id in enumerate(naming)
        )
        yield self._event(
            SWEEP,
            3,
            SweepFinished(
                chosen_k=K,
                chosen_by="silhouette",
                explanation="",
                clusters=clusters,
                artifact_ids={},
                duration_s=2.0,
                representative_hashes=tuple(of),
            ),
        )

    def _event(self, stream_id: UUID, version: int, fact: Fact, *payloads: Payload) -> NewEvent:
        self._at += timedelta(milliseconds=1)
        envelope = Envelope(self._at, "benchmark", "00000000000000a1", SWEEP)
        return NewEvent(stream_id=stream_id, version=version, fact=fact, envelope=envelope, payloads=payloads)


def fill(uri: str, store: PostgresEventStore, study: Study) -> None:
    """Append the whole study."""
    with psycopg.connect(uri, autocommit=True) as connection:
        batch: list[NewEvent] = []
        for event in study.events():
            batch.append(event)
            if len(batch) == 2000:
                _append(store, connection, batch)
                batch = []
        _append(store, connection, batch)
        connection.execute("ANALYZE events.events")
        connection.execute("ANALYZE events.payloads")


def _append(store: PostgresEventStore, connection: psycopg.Connection[Any], batch: list[NewEvent]) -> None:
    encoded = store.recorder.encode(Append(events=tuple(batch)))
    store.recorder.insert_appends(connection, [encoded], process=1)


async def timed(name: str, questions: int, ask: Callable[[random.Random], Awaitable[Any]]) -> dict[str, Any]:
    """One line of the table: a question asked again and again."""
    chance, taken = random.Random(2), []
    began = time.perf_counter()
    await ask(chance)  # with everything still to be planned
    first = (time.perf_counter() - began) * 1000
    for _ in range(questions):
        began = time.perf_counter()
        await ask(chance)
        taken.append((time.perf_counter() - began) * 1000)
    row = {
        "question": name,
        "p50_ms": round(statistics.median(taken), 1),
        "p95_ms": round(statistics.quantiles(taken, n=20)[-1], 1),
        "max_ms": round(max(taken), 1),
        "first_ms": round(first, 1),
    }
    print(row, file=sys.stderr)
    return row


class Sample(NamedTuple):
    """Some of what there is to ask about."""

    calls: list[UUID]
    embeddings: list[UUID]  # the calls that made them
    texts: list[str]


def sample(uri: str) -> Sample:
    """Taken at random from the whole table."""

    def some(sql: str) -> list[Any]:
        return [row[0] for row in connection.execute(sql.encode())]

    with psycopg.connect(uri) as connection:
        connection.execute("SELECT setseed(0.5)")
        operation = "SELECT call_id FROM projections.calls WHERE operation = '{}' ORDER BY random() LIMIT 500"
        return Sample(
            some(operation.format("chat")),
            some(operation.format("embeddings")),
            some("SELECT request_hash FROM projections.embedding_vectors WHERE input_index = 3 LIMIT 500"),
        )


async def ask(
    uri: str, store: PostgresEventStore, follower: Follower, known: Sample, questions: int
) -> list[dict[str, Any]]:
    """Every question."""
    async with AsyncConnectionPool(uri, min_size=1, max_size=4, open=False) as pool:
        queries = Queries(pool)
        audit = AuditLog(store, queries.groups)
        provenance = Provenance(queries, ReadBytes(store), Moments(store, follower))
        last = store.last_position()

        async def walk(thing: Thing, direction: Any, chance: random.Random) -> None:
            await provenance.of(*thing(chance), direction=direction)

        async def as_of(chance: random.Random) -> None:
            await provenance.of("call", str(chance.choice(known.calls)), Moment(last))

        async def page(wanted: EventFilter, chance: random.Random) -> None:
            await audit.page(wanted, after=chance.randrange(last), until=last, limit=50)

        async def deep(_chance: random.Random) -> None:
            cursor = None
            for _ in range(3):
                found = await queries.provenance.linked("group", str(BATCH), "embeddings", page=Paging(1000, cursor))
                cursor = found.next_cursor

        async def unanswered(_chance: random.Random) -> None:
            await queries.calls.unanswered()

        clusters = partial(walk, lambda chance: ("cluster", f"{SWEEP}/{chance.randrange(K)}"))
        calls = partial(walk, lambda chance: ("call", str(chance.choice(known.calls))))
        embeddings = partial(walk, lambda chance: ("embedding", f"{chance.choice(known.embeddings)}/3"))
        texts = partial(walk, lambda chance: ("text", chance.choice(known.texts)))
        models = partial(walk, lambda _chance: ("model", "openai/gpt-4o-mini"))
        rows = [
            await timed("up from a cluster", questions, partial(clusters, "up")),
            await timed("up from a call", questions, partial(calls, "up")),
            await timed("up from a call, as of a position", questions, as_of),
            await timed("up from an embedding", questions, partial(embeddings, "up")),
            await timed("down from a text", questions, partial(texts, "down")),
            await timed("down from a call", questions, partial(calls, "down")),
            await timed("down from a model", questions, partial(models, "down")),
            await timed("3 pages of 1,000 embeddings", max(1, questions // 10), deep),
            await timed("never answered, 50", questions, unanswered),
            await timed("50 events, from anywhere", questions, partial(page, EventFilter())),
            await timed("50 events of one name", questions, partial(page, EventFilter(event="call.cancelled"))),
            await timed("50 events of one thing", questions, partial(page, EventFilter(entity=SWEEP))),
            await timed("a page of nobody's events", max(1, questions // 10), partial(page, EventFilter(actor="none"))),
        ]
        return [{**row, "target_ms": TARGET_MS if row["question"].startswith("up") else None} for row in rows]


def measure(uri: str, calls: int, questions: int) -> list[dict[str, Any]]:
    """Fill the store if it is empty, build its read models, and ask."""
    store = PostgresEventStore(uri, process=1)

    def connect() -> psycopg.Connection:
        return psycopg.connect(uri)

    with connect() as connection:
        install(connection, READ_MODELS)
    follower = Follower(store, connect, READ_MODELS)
    if store.last_position() == 0:
        began = time.perf_counter()
        fill(uri, store, Study(calls))
        filled = time.perf_counter()
        print(f"{store.last_position():,} events written in {filled - began:.0f} s", file=sys.stderr)
        rebuild(follower, None, None)
        with connect() as connection:
            connection.autocommit = True
            connection.execute("VACUUM (ANALYZE)")
        print(f"read models built in {time.perf_counter() - filled:.0f} s", file=sys.stderr)
    follower.catch_up()
    try:
        return asyncio.run(ask(uri, store, follower, sample(uri), questions))
    finally:
        follower.close()
        store.close()


def main() -> None:
    """Measure and print."""
    parser = options(__doc__, seconds=0)
    parser.add_argument("--calls", type=int, default=1_000_000, help="how many calls the store holds")
    parser.add_argument("--questions", type=int, default=200, help="how often each question is asked")
    given = parser.parse_args()
    with server(given.database_url) as (uri, machine):
        show(machine, {"provenance": measure(uri, given.calls, given.questions)}, as_json=given.json)


if __name__ == "__main__":
    main()
