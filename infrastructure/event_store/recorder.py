"""The library's application recorder over our table and our append function."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from eventsourcing.persistence import IntegrityError, StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder
from psycopg.rows import tuple_row

from application.ports import Append, Claim, NewEvent
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


class Refused(NamedTuple):
    """Why an append of a batch did not land."""

    outcome: str  # conflict, held, again
    holder: UUID | None


class EncodedAppend(NamedTuple):
    """An append with its events encoded, ready to travel."""

    append: Append
    states: list[bytes]
    byte_size: int


class Recorder(PostgresApplicationRecorder):
    """Appends through `events.append`, one round trip for many sets of events; reads whole rows."""

    def __init__(self, datastore: Datastore, mapper: FactMapper) -> None:
        super().__init__(datastore, events_table_name="events")
        self.sql_create_statements = []  # the numbered migrations make the tables
        self.mapper = mapper

    def encode(self, append: Append) -> EncodedAppend:
        """Encode an append's events and count its bytes, bodies included."""
        states = [self.mapper.encode(event) for event in append.events]
        size = sum(map(len, states))
        for event in append.events:
            for payload in event.payloads:
                size += len(payload.body or b"") + len(payload.vectors or b"")
        return EncodedAppend(append, states, size)

    def insert_appends(
        self, connection: psycopg.Connection[Any], batch: Sequence[EncodedAppend], *, process: int
    ) -> list[int | Refused]:
        """Append many sets in one transaction and one round trip; each lands whole or not at all.

        Returns for each its last position, or why it did not land.
        """
        numbers: list[int] = []
        events: list[NewEvent] = []
        states: list[bytes] = []
        ends: list[int] = []
        bodies: list[tuple[int, str, bytes | None, bytes | None]] = []
        taken: list[tuple[int, Claim]] = []
        freed: list[tuple[int, Claim]] = []
        for number, (append, encoded, _) in enumerate(batch):
            for event in append.events:
                numbers.append(number)
                events.append(event)
                bodies.extend((len(events), each.part, each.body, each.vectors) for each in event.payloads)
            states += encoded
            # Claims alone have no position of their own: that of the log before them is one that there is.
            ends.append(len(events) if append.events else 0)
            taken.extend((number, claim) for claim in append.take)
            freed.extend((number, claim) for claim in append.free)
        parameters = (
            numbers,
            [event.stream_id for event in events],
            [event.version for event in events],
            [event.fact.stored_name for event in events],
            states,
            [row for row, _, _, _ in bodies],
            [part for _, part, _, _ in bodies],
            [body for _, _, body, _ in bodies],
            [vectors for _, _, _, vectors in bodies],
            [number for number, _ in taken],
            [claim.key for _, claim in taken],
            [claim.holder for _, claim in taken],
            process,
            [number for number, _ in freed],
            [claim.key for _, claim in freed],
            [claim.holder for _, claim in freed],
        )
        base, others = _call_append(connection, parameters)
        results: list[int | Refused] = [base + end for end in ends]
        for number, position, outcome, holder in others:
            results[number] = position if outcome == "repeated" else Refused(outcome, holder)
        return results

    def insert_events(self, stored_events: Sequence[StoredEvent], **_: Any) -> Sequence[int] | None:
        """The library's own way in, under the same lock and order as ours; raises IntegrityError on a conflict."""
        if not stored_events:
            return []
        count = len(stored_events)
        parameters: tuple[Any, ...] = (
            [0] * count,
            [each.originator_id for each in stored_events],
            [each.originator_version for each in stored_events],
            [each.topic for each in stored_events],
            [each.state for each in stored_events],
            *([], [], [], [], [], [], [], 0, [], [], []),
        )
        with self.datastore.get_connection() as connection:
            base, others = _call_append(connection, parameters)
        if not others:
            return range(base + 1, base + count + 1)
        last, what = others[0][1:3]
        if what != "repeated":
            raise IntegrityError(f"An event stands already at a version of {stored_events[0].originator_id}")
        return range(last - count + 1, last + 1)

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


def _call_append(
    connection: psycopg.Connection[Any], parameters: tuple[Any, ...]
) -> tuple[int, list[tuple[int, int, str, UUID | None]]]:
    """Call the function; the position before the batch, and what it says of each append that was not appended now."""
    with connection.cursor(binary=True, row_factory=tuple_row) as cursor:
        (_, base, _, _), *others = cursor.execute(APPEND, parameters, prepare=True).fetchall()
        return base, others
