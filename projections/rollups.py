"""What events do to the rollups: each is added to the minute in which its call was asked, and to the spans around it.

A call is added once it has ended. What it was asked as is kept until then, so that an answer is added rightly whenever
it comes, late ones too. Of who waits for another's answer it is the same: they are added when that has come.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import UUID

import psycopg

from domain.calls import (
    CallAnswered,
    CallAttemptFailed,
    CallCancelled,
    CallFailed,
    CallFoundInDoubt,
    CallJoined,
    CallRequested,
    CallServedFromCache,
)
from domain.events import RecordedEvent
from projections.points import POINTS, Point, begin, points_of
from projections.read_model import Insert, Table, Update, text_value
from projections.tallies import Failures, Kind, Tally

SPANS = (1, 15, 60, 1440)  # minutes

_TIMES = ("calls", "us", "shortest_us", "longest_us")
_KEY = {
    "span": "int NOT NULL",
    "at": "timestamptz NOT NULL",
    "provider": "text NOT NULL",
    "model": "text NOT NULL",
    "modality": "text NOT NULL",
}

ROLLUPS = Table(
    name="rollups",
    columns={
        **_KEY,
        "outcome": "text NOT NULL",  # success, failed, cancelled, joined or cached
        "calls": "bigint NOT NULL",
        "attempts": "bigint NOT NULL",
        "cost": "numeric(30,10) NOT NULL",  # where it is joined or cached, what that saved
        "cost_unknown": "bigint NOT NULL",
        "tokens_calls": "bigint NOT NULL",  # that say how many there were in all
        "tokens_prompt": "bigint NOT NULL",
        "tokens_completion": "bigint NOT NULL",
        "tokens_total": "bigint NOT NULL",
        "tokens_cached": "bigint NOT NULL",
        "latency_calls": "bigint NOT NULL",
        "latency_us": "bigint NOT NULL",
        "latency_shortest_us": "bigint",
        "latency_longest_us": "bigint",
        "latency": "bytea NOT NULL",
        "first_token_calls": "bigint NOT NULL",
        "first_token_us": "bigint NOT NULL",
        "first_token_shortest_us": "bigint",
        "first_token_longest_us": "bigint",
        "first_token": "bytea NOT NULL",
    },
    key=(*_KEY, "outcome"),
)

FAILURES = Table(
    name="rollup_failures",
    columns={
        **_KEY,
        "kind": "text NOT NULL",
        "attempts": "bigint NOT NULL",
        "calls": "bigint NOT NULL",
        "last_at": "timestamptz",
    },
    key=(*_KEY, "kind"),
)

OPEN = Table(
    name="rollup_open",
    columns={
        "call_id": "uuid NOT NULL",
        "created_at": "timestamptz NOT NULL",
        "provider": "text NOT NULL",
        "model": "text NOT NULL",
        "modality": "text NOT NULL",
        "in_doubt": "boolean NOT NULL",
    },
    key=("call_id",),
    indexes=("(created_at)",),
)

# Who joined a call that had ended already waits for ever, so to say: what that call cost is looked up when asked.
WAITING = Table(
    name="rollup_waiting",
    columns={
        "call_id": "uuid NOT NULL",
        "source_call_id": "uuid NOT NULL",
        "created_at": "timestamptz NOT NULL",
        "provider": "text NOT NULL",
        "model": "text NOT NULL",
        "modality": "text NOT NULL",
    },
    key=("call_id",),
    indexes=("(source_call_id)",),
)


class Asked(NamedTuple):
    """What a call was asked as."""

    created_at: datetime
    provider: str
    model: str
    modality: str

    def kind(self, outcome: str) -> Kind:
        """The calls that it is alike, once it has come to this."""
        minute = self.created_at.replace(second=0, microsecond=0)
        return Kind(minute, self.provider, self.model, self.modality, outcome)

    @classmethod
    def of(cls, event: RecordedEvent, fact: CallRequested | CallJoined | CallServedFromCache) -> "Asked":
        """What an event says of it."""
        return cls(
            event.envelope.occurred_at.astimezone(UTC), text_value(fact.provider), text_value(fact.model), fact.modality
        )


class Row(Protocol):
    """What a rollup's row holds beside its key."""

    def merge(self, other: Any) -> None:
        """Add what another one holds."""

    def row(self) -> tuple[Any, ...]:
        """As the table keeps it."""


T = TypeVar("T", bound=Row)
Key = tuple[Any, ...]  # a table's: the span, when it begins, and what is alike


class RollUp(NamedTuple):
    """Adds events to the rollups of a generation."""

    events: tuple[RecordedEvent, ...]

    def apply(self, cursor: psycopg.Cursor[Any], schema: str) -> None:
        """Look up what was open before, go through the events in order, and write what that comes to."""
        batch = _Batch()
        batch.look_up(cursor, schema, self.events)
        for event in self.events:
            batch.take(event)
        batch.write(cursor, schema)


class _Batch:
    """A batch of events, and what was open before it of all that it is about."""

    def __init__(self) -> None:
        self.tallies: dict[Kind, Tally] = {}
        self.failures: dict[Kind, Failures] = {}
        self.open: dict[UUID, Asked] = {}
        self.waiting: dict[UUID, tuple[UUID, Asked]] = {}
        self.waited_for: dict[UUID, set[UUID]] = {}
        self.doubted: set[UUID] = set()
        self._open_before: set[UUID] = set()
        self._waiting_before: set[UUID] = set()
        self._doubted_before: set[UUID] = set()

    def look_up(self, cursor: psycopg.Cursor[Any], schema: str, events: Iterable[RecordedEvent]) -> None:
        """Fetch what is open of the calls, and who waits for them."""
        requested = {event.stream_id for event in events if isinstance(event.fact, CallRequested)}
        told_of = {event.stream_id for event in events} - requested
        if not told_of:
            return
        cursor.execute(
            f"SELECT call_id, in_doubt, created_at, provider, model, modality FROM {schema}.rollup_open "  # noqa: S608
            "WHERE call_id = ANY (%b::uuid[])".encode(),
            (list(told_of),),
        )
        for call_id, in_doubt, *asked in cursor.fetchall():
            self.open[call_id] = Asked(*asked)
            if in_doubt:
                self.doubted.add(call_id)
        self._open_before, self._doubted_before = set(self.open), set(self.doubted)
        cursor.execute(
            "SELECT call_id, source_call_id, created_at, provider, model, modality "  # noqa: S608
            f"FROM {schema}.rollup_waiting "
            "WHERE source_call_id = ANY (%b::uuid[]) OR call_id = ANY (%b::uuid[])".encode(),
            (list(told_of), list(told_of)),
        )
        for call_id, source, *asked in cursor.fetchall():
            self._wait(call_id, source, Asked(*asked))
        self._waiting_before = set(self.waiting)

    def take(self, event: RecordedEvent) -> None:
        """One event."""
        call_id = event.stream_id
        match event.fact:
            case CallRequested() as fact:
                self.open[call_id] = Asked.of(event, fact)
            case CallJoined() as fact:
                self._stop_waiting(call_id)
                if not fact.took_over:
                    self._wait(call_id, fact.call_id, Asked.of(event, fact))
            case CallServedFromCache() as fact:
                self._tally(Asked.of(event, fact).kind("cached")).saved(fact.saved)
            case _ if call_id in self.open:
                self._go_on(event)

    def _go_on(self, event: RecordedEvent) -> None:
        """What happens to a call that is open."""
        call_id, at = event.stream_id, event.envelope.occurred_at
        match event.fact:
            case CallAttemptFailed() as fact:
                self._fail(self.open[call_id], fact.error.kind, Failures(1, 0, at))
            case CallAnswered() as fact:
                self._tally(self._close(call_id).kind("success")).answered(fact)
                self._give(call_id, fact)
            case CallFailed() as fact:
                asked = self._close(call_id)
                self._fail(asked, fact.error.kind, Failures(0, 1, at))
                self._tally(asked.kind("failed")).ended(fact)
                self._give(call_id, None)
            case CallCancelled() as fact:
                self._tally(self._close(call_id).kind("cancelled")).ended(fact)
                self._give(call_id, None)
            case CallFoundInDoubt():
                self.doubted.add(call_id)

    def _give(self, call_id: UUID, answer: CallAnswered | None) -> None:
        """Those who waited for a call have its answer, or must ask otherwise."""
        for joiner in self.waited_for.pop(call_id, ()):
            asked = self.waiting.pop(joiner)[1]
            if answer is not None:
                # Of a call for several texts, it isn't known what those that were waited for had cost.
                self._tally(asked.kind("joined")).saved(None if asked.modality == "embedding" else answer.cost)

    def write(self, cursor: psycopg.Cursor[Any], schema: str) -> None:
        """Bring the tables up to date."""
        opened = self.open.keys() - self._open_before
        doubted = (self.doubted - self._doubted_before) & self._open_before & self.open.keys()
        waiting = [(call_id, source, *asked) for call_id, (source, asked) in self.waiting.items()]
        changes = [
            *_insert_open([(call_id, *self.open[call_id], call_id in self.doubted) for call_id in opened]),
            *_doubt_open([(call_id, True) for call_id in doubted]),
            *_insert_waiting(waiting),
        ]
        for change in changes:
            change.apply(cursor, schema)
        _delete(cursor, f"{schema}.rollup_open", self._open_before - self.open.keys())
        _delete(cursor, f"{schema}.rollup_waiting", self._waiting_before - self.waiting.keys())
        # Before anything is added to them, as they hold no more than this batch only until then.
        rollups, points = _spread(self.tallies, Tally), points_of(self.tallies)
        _add(cursor, schema, ROLLUPS, rollups, Tally.of)
        _add(cursor, schema, POINTS, points, Point.of)
        _add(cursor, schema, FAILURES, _spread(self.failures, Failures), Failures.of)

    def _close(self, call_id: UUID) -> Asked:
        self.doubted.discard(call_id)
        return self.open.pop(call_id)

    def _tally(self, kind: Kind) -> Tally:
        tally = self.tallies.get(kind)
        if tally is None:
            tally = self.tallies[kind] = Tally()
        return tally

    def _fail(self, asked: Asked, kind: str, failures: Failures) -> None:
        self.failures.setdefault(asked.kind(kind), Failures()).merge(failures)

    def _wait(self, call_id: UUID, source: UUID, asked: Asked) -> None:
        self.waiting[call_id] = (source, asked)
        self.waited_for.setdefault(source, set()).add(call_id)

    def _stop_waiting(self, call_id: UUID) -> None:
        source, _ = self.waiting.pop(call_id, (None, None))
        if source is not None:
            self.waited_for[source].discard(call_id)


_insert_open = Insert(OPEN)
_doubt_open = Update(OPEN, "in_doubt")
_insert_waiting = Insert(
    WAITING,
    on_conflict="ON CONFLICT (call_id) DO UPDATE SET source_call_id = excluded.source_call_id, "
    "created_at = excluded.created_at, provider = excluded.provider, model = excluded.model, "
    "modality = excluded.modality",
)


def _upsert(table: Table) -> Insert:
    values = ", ".join(f"{name} = excluded.{name}" for name in table.columns if name not in table.key)
    return Insert(table, on_conflict=f"ON CONFLICT ({', '.join(table.key)}) DO UPDATE SET {values}")


_UPSERTS = {table.name: _upsert(table) for table in (ROLLUPS, POINTS, FAILURES)}


def _delete(cursor: psycopg.Cursor[Any], table: str, call_ids: Iterable[UUID]) -> None:
    gone = list(call_ids)
    if gone:
        cursor.execute(f"DELETE FROM {table} WHERE call_id = ANY (%b::uuid[])".encode(), (gone,))  # noqa: S608


def _add(
    cursor: psycopg.Cursor[Any],
    schema: str,
    table: Table,
    rows: Mapping[Key, T],
    of: Callable[[Sequence[Any]], T],
) -> None:
    """Add to the rows that are there, which this batch alone may write."""
    if not rows:
        return
    kinds = [table.columns[name].removesuffix(" NOT NULL") for name in table.key]
    sent = ", ".join(f"%b::{kind}[]" for kind in kinds)
    cursor.execute(
        f"SELECT {', '.join(table.columns)} FROM unnest({sent}) AS wanted ({', '.join(table.key)}) "  # noqa: S608
        f"JOIN {schema}.{table.name} USING ({', '.join(table.key)})".encode(),
        [list(column) for column in zip(*rows, strict=True)],
    )
    width = len(table.key)
    for found in cursor.fetchall():
        rows[found[:width]].merge(of(found[width:]))
    for change in _UPSERTS[table.name]([(*key, *row.row()) for key, row in rows.items()]):
        change.apply(cursor, schema)


def _spread(fresh: Mapping[Kind, T], empty: Callable[[], T]) -> dict[Key, T]:
    """The rows of all spans, each added up from those of the span before it."""
    shorter = {(kind.minute, *kind[1:]): row for kind, row in fresh.items()}
    rows: dict[Key, T] = {(SPANS[0], *key): row for key, row in shorter.items()}
    for span in SPANS[1:]:
        longer: dict[Key, T] = {}
        for (at, *rest), row in shorter.items():
            key = (begin(at, span), *rest)
            if key not in longer:
                longer[key] = empty()
            longer[key].merge(row)
        rows |= {(span, *key): row for key, row in longer.items()}
        shorter = longer
    return rows
