"""The event store: one log in Postgres, appended in groups, read in order."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import psycopg
from eventsourcing.persistence import PersistenceError
from msgspec import Struct
from psycopg.rows import tuple_row
from psycopg_pool import PoolTimeout

from application.ports import Append, Payload
from application.store_trouble import unavailable
from domain.events import Fact, RecordedEvent
from infrastructure.event_store.datastore import APPEND_LOCK, BoundedConnection, Datastore, connect_seconds
from infrastructure.event_store.group_commit import GroupCommit
from infrastructure.event_store.mapper import FactMapper
from infrastructure.event_store.recorder import Recorder

IN_DOUBT_AFTER_SECONDS = 15.0
READING = "The event store can't be read"


class StorePlace(Struct, frozen=True, kw_only=True):
    """A server's version, the database, and its size with all read models."""

    server_version: str
    database: str
    byte_size: int


class PostgresEventStore:
    """Implements the ports EventStore and EventPages. Its tables must have been migrated."""

    def __init__(self, uri: str, *, process: int, appended: Callable[[float], None] | None = None) -> None:
        """appended: is told how many seconds each append took"""
        self._uri = uri
        self._appended = appended
        self.recorder = Recorder(Datastore(uri, pool_size=3), FactMapper())
        self.recorder.datastore.pool.open()
        self._writer = GroupCommit(
            self.recorder,
            lambda: BoundedConnection.connect(
                uri, application_name="study writer", connect_timeout=connect_seconds(uri)
            ),
            process=process,
        )

    async def append(self, append: Append) -> int:
        """Make the events durable and return the last one's position; see the port."""
        if self._appended is None:
            return await self._writer.append(append)
        began = time.perf_counter()
        position = await self._writer.append(append)
        self._appended(time.perf_counter() - began)
        return position

    @property
    def queued(self) -> int:
        """How many appends wait to be written."""
        return self._writer.queued

    async def read_stream(self, stream_id: UUID, *, after_version: int = 0) -> Sequence[RecordedEvent]:
        """The events of one stream, in order."""
        return await asyncio.to_thread(self._read_stream, stream_id, after_version)

    async def begun_by(self, stream_ids: Sequence[UUID], fact_type: type[Fact]) -> set[UUID]:
        """Those of the streams that there are and whose first event is such a fact."""
        return await asyncio.to_thread(self._begun_by, list(stream_ids), fact_type)

    async def read_payload(self, stream_id: UUID, version: int, part: str) -> Payload | None:
        """One body beside an event; None if there is none of that name."""
        return await asyncio.to_thread(self._read_payload, stream_id, version, part)

    async def read_payloads(self, stream_id: UUID, part: str) -> Mapping[int, Payload]:
        """The bodies of one name beside all events of a stream, by version, in one round trip."""
        return await asyncio.to_thread(self._read_payloads, stream_id, part)

    async def look(
        self, *, after: int, until: int, limit: int, names: Sequence[str] | None = None
    ) -> list[RecordedEvent]:
        """See the port LogToLookThrough."""
        named = "" if names is None else "AND topic = ANY (%(names)s)"
        wanted: dict[str, object] = {"after": after, "until": until, "limit": limit, "names": list(names or ())}
        return await asyncio.to_thread(self._look, named, wanted)

    async def look_at(
        self, stream_id: UUID, positions: Sequence[int], *, after: int, until: int, limit: int
    ) -> list[RecordedEvent]:
        """See the port LogToLookThrough."""
        about = "AND (originator_id = %(stream_id)s OR notification_id = ANY (%(positions)s::bigint[]))"
        wanted = {"after": after, "until": until, "limit": limit}
        return await asyncio.to_thread(
            self._look, about, {**wanted, "stream_id": stream_id, "positions": list(positions)}
        )

    async def identity(self) -> UUID:
        """Which store this is, wherever it is moved to."""
        return await asyncio.to_thread(self._identity)

    async def place(self) -> StorePlace:
        """Which server this is, and how much lies there. Raises Unavailable."""
        return await asyncio.to_thread(self._place)

    async def position_at(self, moment: datetime) -> int:
        """The last position recorded at or before a moment: for a moment that has passed, always the same one."""
        return await asyncio.to_thread(self._position_at, moment)

    async def processes_in_doubt(
        self, processes: Sequence[int], *, after_seconds: float = IN_DOUBT_AFTER_SECONDS
    ) -> dict[int, datetime]:
        """Which of these are gone for good, and since when they were seen so.

        A process counts as gone when its lock was free at two looks that lie `after_seconds` apart; the looks are kept
        in the database, so that the second may be another process's.
        """
        return await asyncio.to_thread(self._processes_in_doubt, list(processes), after_seconds)

    def page(self, *, after: int, limit: int, until: int | None = None) -> list[RecordedEvent]:
        """See the port EventPages."""
        try:
            return self.recorder.page(after=after, limit=limit, until=until)
        except (PersistenceError, psycopg.Error) as error:
            raise unavailable(READING, error) from error

    def last_position(self) -> int:
        """See the port EventPages."""
        try:
            return self.recorder.last_position()
        except (PersistenceError, psycopg.Error) as error:
            raise unavailable(READING, error) from error

    def close(self) -> None:
        """Write what is queued and let go of every connection."""
        self._writer.close()
        self.recorder.datastore.close()

    def _query(self, sql: str, parameters: tuple[object, ...] | dict[str, object]) -> list[tuple[object, ...]]:
        try:
            try:
                return self._fetch(sql, parameters)
            except PoolTimeout:
                raise
            except psycopg.OperationalError:
                self.recorder.datastore.pool.check()  # it may have been a connection from before a restart
                return self._fetch(sql, parameters)
        except psycopg.Error as error:
            raise unavailable(READING, error) from error

    def _fetch(self, sql: str, parameters: tuple[object, ...] | dict[str, object]) -> list[tuple[object, ...]]:
        with (
            self.recorder.datastore.pool.connection() as connection,
            connection.cursor(binary=True, row_factory=tuple_row) as cursor,
        ):
            return cursor.execute(sql.encode(), parameters).fetchall()

    def _read_stream(self, stream_id: UUID, after_version: int) -> list[RecordedEvent]:
        rows = self._query(
            "SELECT originator_id, originator_version, topic, state, notification_id, recorded_at FROM events.events "
            "WHERE originator_id = %s AND originator_version > %s ORDER BY originator_version",
            (stream_id, after_version),
        )
        return [self.recorder.mapper.to_recorded_event(*row) for row in rows]  # type: ignore[arg-type]

    def _begun_by(self, stream_ids: list[UUID], fact_type: type[Fact]) -> set[UUID]:
        rows = self._query(
            "SELECT originator_id FROM events.events "
            "WHERE originator_id = ANY(%s) AND originator_version = 1 AND topic = ANY(%s)",
            (stream_ids, list(self.recorder.mapper.stored_names(fact_type))),
        )
        return {found for (found,) in rows}  # type: ignore[misc]

    def _look(self, condition: str, parameters: dict[str, object]) -> list[RecordedEvent]:
        rows = self._query(
            "SELECT originator_id, originator_version, topic, state, notification_id, recorded_at FROM events.events "  # noqa: S608
            f"WHERE notification_id > %(after)s AND notification_id <= %(until)s {condition} "
            "ORDER BY notification_id LIMIT %(limit)s",
            parameters,
        )
        return [self.recorder.mapper.to_recorded_event(*row) for row in rows]  # type: ignore[arg-type]

    def _read_payload(self, stream_id: UUID, version: int, part: str) -> Payload | None:
        rows = self._query(
            "SELECT body, vectors FROM events.payloads "
            "WHERE originator_id = %s AND originator_version = %s AND part = %s",
            (stream_id, version, part),
        )
        if not rows:
            return None
        body, vectors = rows[0]
        return Payload(part=part, body=body, vectors=vectors)  # type: ignore[arg-type]

    def _read_payloads(self, stream_id: UUID, part: str) -> dict[int, Payload]:
        rows = self._query(
            "SELECT originator_version, body, vectors FROM events.payloads WHERE originator_id = %s AND part = %s",
            (stream_id, part),
        )
        return {int(str(version)): Payload(part=part, body=body, vectors=vectors) for version, body, vectors in rows}  # type: ignore[arg-type]

    def _identity(self) -> UUID:
        return self._query("SELECT store_id FROM events.store", ())[0][0]  # type: ignore[return-value]

    def _place(self) -> StorePlace:
        sql = "SELECT current_setting('server_version'), current_database(), pg_database_size(current_database())"
        version, database, size = self._query(sql, ())[0]
        return StorePlace(server_version=str(version), database=str(database), byte_size=int(str(size)))

    def _position_at(self, moment: datetime) -> int:
        # Who writes just now has set the time of recording already: wait until it can be seen.
        self._query("SELECT pg_advisory_xact_lock_shared(%s, %s)", APPEND_LOCK)
        return int(str(self._query("SELECT events.position_at(%s)", (moment,))[0][0]))

    def _processes_in_doubt(self, processes: list[int], after_seconds: float) -> dict[int, datetime]:
        rows = self._query(
            "WITH asked AS (SELECT p AS process, events.is_alive(p) AS alive FROM unnest(%s::bigint[]) AS p), "
            "seen AS (INSERT INTO events.process_looks SELECT process, clock_timestamp() FROM asked WHERE NOT alive "
            "ON CONFLICT (process) DO NOTHING), "
            "forgotten AS (DELETE FROM events.process_looks l USING asked a WHERE l.process = a.process AND a.alive) "
            "SELECT l.process, l.first_seen_dead_at FROM events.process_looks l JOIN asked a USING (process) "
            "WHERE NOT a.alive AND l.first_seen_dead_at <= clock_timestamp() - make_interval(secs => %s)",
            (processes, after_seconds),
        )
        return {int(str(process)): since for process, since in rows}  # type: ignore[misc]
