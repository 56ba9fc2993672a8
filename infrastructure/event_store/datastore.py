"""Connections to the log's Postgres: the eventsourcing library's datastore, built from one libpq URI."""

from typing import Any

from eventsourcing.postgres import ConnectionPool, PostgresDatastore
from psycopg import Connection, OperationalError
from psycopg.abc import RV, PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import _WaitTimeout
from psycopg.rows import DictRow, Row, dict_row, tuple_row
from psycopg_pool import PoolTimeout

LOCK_TIMEOUT_SECONDS = 5
ASK_SECONDS = 2
APPEND_LOCK = (7453, 1)  # as events.append takes it
SILENCE_SECONDS = 10.0  # longer than the server waits for a lock, so that it can still say so
CONNECT_SECONDS = 5
KEEPALIVES: dict[str, Any] = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}


class BoundedConnection(Connection[Row]):
    """A connection that gives a silent server up: a line may be cut without a word, and then none would ever come."""

    silence_seconds = SILENCE_SECONDS

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait for the server, no longer than it may be silent. Raises OperationalError."""
        if timeout is not None and timeout < self.silence_seconds:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.silence_seconds)
        except _WaitTimeout:
            raise OperationalError(f"the server has said nothing for {self.silence_seconds:g} s") from None


def connect_seconds(uri: str, otherwise: int = CONNECT_SECONDS) -> int:
    """How long to wait for a connection: what the URL says, if it does."""
    return int(conninfo_to_dict(uri).get("connect_timeout") or otherwise)


def configure(connection: Connection[Any]) -> None:
    """Put a connection in the state that the log's rules rely on.

    READ COMMITTED, so that a writer that waited for the lock sees the last position; a lock timeout, since the
    server's default waits for ever; commits that survive a crash, should the server be set to acknowledge earlier.
    """
    connection.autocommit = True
    connection.execute(
        f"SET lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'; "
        "SET default_transaction_isolation = 'read committed'; SET client_encoding = 'UTF8'; "
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    )


def writers(connection: Connection[Any]) -> str:
    """Who has the lock that every writer waits for."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        holders = cursor.execute(
            "SELECT a.application_name, a.pid FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
            "WHERE l.locktype = 'advisory' AND l.classid = %s AND l.objid = %s AND l.objsubid = 2 AND l.granted "
            "AND l.mode = 'ExclusiveLock' AND a.datname = current_database()",
            APPEND_LOCK,
        ).fetchall()
    return ", ".join(f"{name or 'a client'} (backend {pid})" for name, pid in holders) or "another process"


class _Pool(ConnectionPool[Connection[DictRow]]):
    def getconn(self, timeout: float | None = None) -> Connection[DictRow]:
        try:
            return super().getconn(timeout)
        except PoolTimeout:
            # The pool knows that there is none, not why: the server says it to one who asks.
            Connection.connect(str(self.conninfo), connect_timeout=ASK_SECONDS).close()
            raise


class Datastore(PostgresDatastore):
    """The library's datastore with every libpq option of the URI kept; the stock one drops sslmode and its like."""

    def __init__(self, uri: str, *, pool_size: int = 2) -> None:
        self.schema = "events"
        self.lock_timeout = LOCK_TIMEOUT_SECONDS
        self.originator_id_type = "uuid"
        self.enable_db_functions = False
        self.single_row_tracking = True
        self.pre_ping = False
        self.idle_in_transaction_session_timeout = 0
        self.pool_open_timeout = None
        self.db_type_names = set()
        self.psycopg_type_adapters = {}
        self.psycopg_python_types = {}
        self.pool = _Pool(
            uri,
            connection_class=BoundedConnection[DictRow],
            kwargs={
                "row_factory": dict_row,
                "application_name": "study log",
                "connect_timeout": connect_seconds(uri),
            },
            min_size=1,
            max_size=pool_size,
            open=False,
            configure=configure,
            check=_Pool.check_connection,  # one that was lost meanwhile is replaced
            timeout=5.0,
        )

    def register_type_adapters(self) -> None:
        """Nothing to register: our append takes arrays, not the library's composite type."""
