"""The log's two tables, whole: out of one store and into another, on any Postgres that can hold one.

They are copied in Postgres's binary COPY format, which is the same from 14 to 18 for the types they have.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import UUID

import psycopg
from msgspec import Struct
from psycopg import Connection, IsolationLevel
from psycopg.sql import SQL, Identifier

from application.store_trouble import unavailable
from domain.artifacts import ArtifactKept
from domain.errors import Conflict, Rejected
from infrastructure.event_store.datastore import APPEND_LOCK
from infrastructure.event_store.keeper import APPLICATION_NAME
from infrastructure.event_store.mapper import FactMapper

COLUMNS = {
    "events": "originator_id, originator_version, topic, state, notification_id, recorded_at",
    "payloads": "originator_id, originator_version, part, body, vectors",
}
LOCK_SECONDS = 10
TOLD_EACH = 1000  # rows

Write = Callable[[bytes | bytearray | memoryview], None]
Told = Callable[[int, int], None]  # done, in all


class Snapshot(Struct, frozen=True, kw_only=True):
    """What the log holds at one moment."""

    store_id: UUID
    schema_version: int
    position: int
    stored_names: dict[str, int]
    rows: dict[str, int]


class LogSnapshot:
    """The log as of one moment, whatever is appended meanwhile. Reads alone."""

    def __init__(self, connection: Connection[Any]) -> None:
        """The connection must be in no transaction; `begin` puts it into one."""
        self._connection = connection
        self._mapper = FactMapper()

    def begin(self) -> Snapshot:
        """Begin the transaction that all the others read in. Raises Unavailable."""
        self._connection.isolation_level = IsolationLevel.REPEATABLE_READ
        self._connection.read_only = True
        # Rows leave as they lie, so that a restored store has its pages in the same order.
        self._connection.execute(
            "SET LOCAL synchronize_seqscans = off; SET LOCAL statement_timeout = 0; "
            "SET LOCAL idle_in_transaction_session_timeout = 0"
        )
        store_id, schema_version, position = self._one(
            "SELECT (SELECT store_id FROM events.store), (SELECT max(version) FROM events.schema_version), "
            "(SELECT coalesce(max(notification_id), 0) FROM events.events)"
        )
        names = dict(self._connection.execute("SELECT topic, count(*) FROM events.events GROUP BY topic").fetchall())
        return Snapshot(
            store_id=store_id,
            schema_version=schema_version,
            position=position,
            stored_names=names,
            rows={"events": sum(names.values()), "payloads": self._one("SELECT count(*) FROM events.payloads")[0]},
        )

    def copy(self, table: str, write: Write, told: Told, rows: int) -> None:
        """Copy a table's rows out. rows: how many there are."""
        done = 0
        with self._connection.cursor().copy(
            SQL("COPY {} ({}) TO STDOUT (FORMAT binary)").format(Identifier("events", table), SQL(COLUMNS[table]))
        ) as rows_out:
            for block in rows_out:
                write(block)
                done += 1  # the server sends row by row
                if done % TOLD_EACH == 0:
                    told(min(done, rows), rows)
        told(rows, rows)

    def artifacts(self) -> dict[str, ArtifactKept]:
        """Every file that an artifact was made of, by its SHA-256."""
        rows = self._connection.execute(
            "SELECT topic, state FROM events.events WHERE topic = ANY (%s) ORDER BY notification_id",
            (list(self._mapper.stored_names(ArtifactKept)),),
        )
        facts = (self._mapper.decode(topic, state)[1] for topic, state in rows)
        return {fact.sha256: fact for fact in facts if isinstance(fact, ArtifactKept)}

    def end(self) -> None:
        """End the transaction."""
        self._connection.rollback()

    def _one(self, query: str) -> tuple[Any, ...]:
        row = self._connection.execute(query.encode()).fetchone()
        return row or ()


def check_empty(connection: Connection[Any]) -> None:
    """Raise Conflict for a store that holds events or that others have open, and Rejected for who doesn't own it."""
    owner = connection.execute(
        "SELECT pg_get_userbyid(nspowner), pg_has_role(current_user, nspowner, 'MEMBER') "
        "FROM pg_namespace WHERE nspname = 'events'"
    ).fetchone()
    if owner is not None and not owner[1]:
        raise Rejected(
            f"Only the store's owner {owner[0]} can restore it: give its address as --database-url",
            fields=("DATABASE_URL",),
        )
    found = connection.execute("SELECT notification_id FROM events.events ORDER BY 1 DESC LIMIT 1").fetchone()
    if found is not None:
        raise Conflict(
            f"The store holds events, up to position {found[0]}, and a backup is restored into an empty one: "
            "give a new folder as --home, or a new database as --database-url"
        )
    others = connection.execute(
        "SELECT application_name FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE %s",
        (f"{APPLICATION_NAME} %",),
    ).fetchall()
    if others:
        raise Conflict(
            f"{len(others)} other processes have the store open; stop servers and commands that use it, then restore"
        )


def fill(
    connection: Connection[Any],
    parts: Mapping[str, Iterable[bytes]],
    rows: Mapping[str, int],
    *,
    position: int,
    store_id: UUID | None,
) -> None:
    """Fill an empty store, in one transaction: all of it, or nothing.

    store_id: the identity that it gets; None for the one it has. Raises Conflict, Rejected, Unavailable.
    """
    try:
        with connection.transaction():
            connection.execute(
                f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'; SET LOCAL statement_timeout = 0; "
                "SET LOCAL idle_in_transaction_session_timeout = 0".encode()
            )
            connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", APPEND_LOCK)
            check_empty(connection)
            _become_owner(connection)
            for table, blocks in parts.items():
                _copy_in(connection, table, blocks, rows[table])
            _check_position(connection, position)
            if store_id is not None:
                _identify(connection, store_id)
            connection.execute("SELECT pg_notify('study_events', '')")
        # Without numbers the planner would read whole tables until autovacuum comes by.
        connection.execute("ANALYZE events.events, events.payloads")
    except psycopg.DataError as error:
        raise Rejected(f"The backup holds what is no row of the log: {error}", fields=("file",)) from None
    except psycopg.Error as error:
        raise unavailable("The store can't be restored", error) from None


def _become_owner(connection: Connection[Any]) -> None:
    row = connection.execute("SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'events'").fetchone()
    connection.execute(SQL("SET LOCAL ROLE {}").format(Identifier(row[0] if row else "")))


def _copy_in(connection: Connection[Any], table: str, blocks: Iterable[bytes], rows: int) -> None:
    cursor = connection.cursor()
    with cursor.copy(
        SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(Identifier("events", table), SQL(COLUMNS[table]))
    ) as rows_in:
        for block in blocks:
            rows_in.write(block)
    if cursor.rowcount != rows:
        raise Rejected(
            f"The backup says that it holds {rows} rows of {table}, and it holds {cursor.rowcount}", fields=("file",)
        )


def _check_position(connection: Connection[Any], position: int) -> None:
    row = connection.execute("SELECT coalesce(max(notification_id), 0) FROM events.events").fetchone()
    if row is None or row[0] != position:
        raise Rejected(f"The backup says that it ends at position {position}, and it does not", fields=("file",))


def _identify(connection: Connection[Any], store_id: UUID) -> None:
    """The one change that an identity allows: before the store holds anything that goes by it."""
    connection.execute("ALTER TABLE events.store DISABLE TRIGGER append_only")
    connection.execute("UPDATE events.store SET store_id = %s", (store_id,))
    connection.execute("ALTER TABLE events.store ENABLE TRIGGER append_only")


def identity(connection: Connection[Any]) -> UUID:
    """Which store a connection leads to."""
    row = connection.execute("SELECT store_id FROM events.store").fetchone()
    return UUID(str(row[0])) if row else UUID(int=0)
