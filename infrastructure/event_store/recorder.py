"""The library's application recorder over our table and our append function."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from eventsourcing.persistence import IntegrityError, StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder
from psycopg.pq.abc import PGconn, PGresult
from psycopg.rows import tuple_row

from application.ports import Append, Claim, NewEvent
from domain.events import RecordedEvent
from infrastructure.event_store.append_call import (
    TELL,
    AppendCall,
    AppendParameters,
    Row,
    bigints,
    byteas,
    int8,
    ints,
    said,
    send,
    texts,
    uuids,
)
from infrastructure.event_store.datastore import Datastore
from infrastructure.event_store.mapper import FactMapper

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
        self._append = AppendCall()

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
        return self._outcomes(batch, *self._append(connection, self._parameters(batch, process)))

    def takes_over(self, connection: psycopg.Connection[Any]) -> bool:
        """Whether batches may be sent on a connection by `send_appends`: it has sent one by `insert_appends`."""
        return self._append.is_known_to(connection)

    def send_appends(self, line: PGconn, batch: Sequence[EncodedAppend], *, process: int) -> None:
        """The same without waiting; what the server says goes to `appends_told`. Raises psycopg.Error."""
        send(line, self._parameters(batch, process))

    def appends_told(self, batch: Sequence[EncodedAppend], result: PGresult) -> list[int | Refused]:
        """What became of a batch that was sent. Raises psycopg.Error."""
        return self._outcomes(batch, *said(result))

    def _parameters(self, batch: Sequence[EncodedAppend], process: int) -> AppendParameters:
        numbers: list[int] = []
        events: list[NewEvent] = []
        states: list[bytes] = []
        bodies: list[tuple[int, str, bytes | None, bytes | None]] = []
        taken: list[tuple[int, Claim]] = []
        freed: list[tuple[int, Claim]] = []
        for number, (append, encoded, _) in enumerate(batch):
            for event in append.events:
                numbers.append(number)
                events.append(event)
                bodies.extend((len(events), each.part, each.body, each.vectors) for each in event.payloads)
            states += encoded
            taken.extend((number, claim) for claim in append.take)
            freed.extend((number, claim) for claim in append.free)
        return AppendParameters(
            append_nos=ints(numbers),
            ids=uuids(event.stream_id for event in events),
            versions=bigints(event.version for event in events),
            topics=texts(event.fact.stored_name for event in events),
            states=byteas(states),
            payload_rows=ints(row for row, _, _, _ in bodies),
            parts=texts(part for _, part, _, _ in bodies),
            bodies=byteas([body for _, _, body, _ in bodies]),
            vector_blocks=byteas([vectors for _, _, _, vectors in bodies]),
            taking=ints(number for number, _ in taken),
            taken_keys=texts(claim.key for _, claim in taken),
            taken_holders=uuids(claim.holder for _, claim in taken),
            taking_process=int8(process),
            freeing=ints(number for number, _ in freed),
            freed_keys=texts(claim.key for _, claim in freed),
            freed_holders=uuids(claim.holder for _, claim in freed),
        )

    def _outcomes(self, batch: Sequence[EncodedAppend], base: int, others: Sequence[Row]) -> list[int | Refused]:
        results: list[int | Refused] = []
        end = base
        for append, _, _ in batch:
            end += len(append.events)
            # Claims alone have no position of their own: that of the log before them is one that there is.
            results.append(end if append.events else base)
        for number, position, outcome, holder in others:
            results[number] = position if outcome == "repeated" else Refused(outcome, holder)
        return results

    def insert_events(self, stored_events: Sequence[StoredEvent], **_: Any) -> Sequence[int] | None:
        """The library's own way in, under the same lock and order as ours; raises IntegrityError on a conflict."""
        if not stored_events:
            return []
        count = len(stored_events)
        no_ints, no_texts, no_ids = ints(()), texts(()), uuids(())
        parameters = AppendParameters(
            append_nos=ints([0] * count),
            ids=uuids(UUID(str(each.originator_id)) for each in stored_events),
            versions=bigints(each.originator_version for each in stored_events),
            topics=texts(each.topic for each in stored_events),
            states=byteas([each.state for each in stored_events]),
            payload_rows=no_ints,
            parts=no_texts,
            bodies=byteas(()),
            vector_blocks=byteas(()),
            taking=no_ints,
            taken_keys=no_texts,
            taken_holders=no_ids,
            taking_process=int8(0),
            freeing=no_ints,
            freed_keys=no_texts,
            freed_holders=no_ids,
        )
        with self.datastore.get_connection() as connection:
            base, others = self._append(connection, parameters)
            connection.execute(TELL)
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
