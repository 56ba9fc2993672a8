"""The library's application recorder over our table and our append function."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from eventsourcing.persistence import IntegrityError, StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder
from psycopg.rows import tuple_row

from application.ports import Append, NewEvent
from domain.events import RecordedEvent
from infrastructure.event_store.datastore import Datastore
from infrastructure.event_store.mapper import FactMapper

APPEND = (
    "SELECT append_no, last_position, outcome, holder FROM events.append("
    "%b::int[], %b::uuid[], %b::bigint[], %b::text[], %b::bytea[], "
    "%b::int[], %b::text[], %b::bytea[], %b::bytea[], "
    "%b::int[], %b::text[], %b::uuid[], %b::bigint, "
    "%b::int[], %b::text[], %b::uuid[])"
)
SELECT = (
    "SELECT originator_id, originator_version, topic, state, notification_id, recorded_at FROM events.events "
    "WHERE notification_id > %b AND notification_id <= %b ORDER BY notification_id LIMIT %b"
)
NO_LIMIT = 2**63 - 1


class Outcome(NamedTuple):
    """What became of one append of a batch."""

    number: int
    position: int | None
    outcome: str  # appended, repeated, conflict, held, again
    holder: UUID | None


class EncodedAppend(NamedTuple):
    """An append with its events encoded, ready to travel."""

    append: Append
    stored: list[StoredEvent]
    byte_size: int


class Recorder(PostgresApplicationRecorder):
    """Appends through `events.append`, one round trip for many sets of events; reads whole rows."""

    def __init__(self, datastore: Datastore, mapper: FactMapper) -> None:
        super().__init__(datastore, events_table_name="events")
        self.sql_create_statements = []  # the numbered migrations make the tables
        self.mapper = mapper

    def encode(self, append: Append) -> EncodedAppend:
        """Encode an append's events and count its bytes, bodies included."""
        stored = [self.mapper.to_stored_event(event) for event in append.events]
        size = sum(len(event.state) for event in stored) + sum(
            len(payload.body or b"") + len(payload.vectors or b"")
            for event in append.events
            for payload in event.payloads
        )
        return EncodedAppend(append, stored, size)

    def insert_appends(
        self, connection: psycopg.Connection[Any], batch: Sequence[EncodedAppend], *, process: int
    ) -> list[Outcome]:
        """Append many sets in one transaction and one round trip; each lands whole or not at all."""
        rows: list[tuple[int, StoredEvent]] = []
        bodies: list[tuple[int, str, bytes | None, bytes | None]] = []
        for number, encoded in enumerate(batch):
            event: NewEvent
            for event, stored in zip(encoded.append.events, encoded.stored, strict=True):
                rows.append((number, stored))
                bodies.extend((len(rows), each.part, each.body, each.vectors) for each in event.payloads)
        taken = [(n, each.append.take) for n, each in enumerate(batch) if each.append.take is not None]
        freed = [(n, claim) for n, each in enumerate(batch) for claim in each.append.free]
        with connection.cursor(binary=True, row_factory=tuple_row) as cursor:
            cursor.execute(
                APPEND,
                (
                    [number for number, _ in rows],
                    [stored.originator_id for _, stored in rows],
                    [stored.originator_version for _, stored in rows],
                    [stored.topic for _, stored in rows],
                    [stored.state for _, stored in rows],
                    [row for row, _, _, _ in bodies],
                    [part for _, part, _, _ in bodies],
                    [body for _, _, body, _ in bodies],
                    [vectors for _, _, _, vectors in bodies],
                    [n for n, _ in taken],
                    [claim.key for _, claim in taken if claim],
                    [claim.holder for _, claim in taken if claim],
                    process,
                    [n for n, _ in freed],
                    [claim.key for _, claim in freed],
                    [claim.holder for _, claim in freed],
                ),
                prepare=True,
            )
            return [Outcome(*row) for row in cursor.fetchall()]

    def insert_events(self, stored_events: Sequence[StoredEvent], **_: Any) -> Sequence[int] | None:
        """The library's own way in, under the same lock and order as ours; raises IntegrityError on a conflict."""
        if not stored_events:
            return []
        batch = EncodedAppend(Append(events=()), list(stored_events), 0)
        count = len(stored_events)
        with self.datastore.get_connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
            cursor.execute(
                APPEND,
                (
                    [0] * count,
                    [each.originator_id for each in batch.stored],
                    [each.originator_version for each in batch.stored],
                    [each.topic for each in batch.stored],
                    [each.state for each in batch.stored],
                    *([], [], [], [], [], [], [], 0, [], [], []),
                ),
            )
            outcome = Outcome(*cursor.fetchall()[0])
        if outcome.position is None or outcome.outcome == "conflict":
            raise IntegrityError(f"An event stands already at a version of {stored_events[0].originator_id}")
        return range(outcome.position - count + 1, outcome.position + 1)

    def page(self, *, after: int, limit: int, until: int | None = None) -> list[RecordedEvent]:
        """At most `limit` events with a position in (after, until], decoded, in order."""
        with (
            self.datastore.get_connection() as connection,
            connection.cursor(binary=True, row_factory=tuple_row) as cursor,
        ):
            cursor.execute(SELECT, (after, NO_LIMIT if until is None else until, limit), prepare=True)
            return [self.mapper.to_recorded_event(*row) for row in cursor.fetchall()]

    def last_position(self) -> int:
        """The newest position, 0 for an empty log."""
        with self.datastore.get_connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
            row = cursor.execute("SELECT coalesce(max(notification_id), 0) FROM events.events").fetchone()
            return int(row[0]) if row else 0
