"""The keeper: one connection per process whose advisory lock says "this process is alive".

The same connection listens for new events, and it is what the embedded server counts as a user.
"""

import secrets
import threading
import time
from collections.abc import Callable

import psycopg
import structlog

from infrastructure.event_store.datastore import KEEPALIVES, BoundedConnection, configure, connect_seconds

RELOCK_SECONDS = 1.0
ASK_SECONDS = 1.0
SILENCE_SECONDS = 2.0
CONNECT_SECONDS = 2
APPLICATION_NAME = "study keeper"

log = structlog.get_logger(__name__)


def new_process_number() -> int:
    """A random number above zero that names this process: the key of its advisory lock."""
    return secrets.randbits(62) | 1


class Keeper:
    """Holds the lock in a thread of its own; takes it again within seconds when the connection breaks."""

    def __init__(self, uri: str, *, on_event: Callable[[], None]) -> None:
        self.number = new_process_number()
        self._uri = uri
        self._on_event = on_event
        self._stopping = threading.Event()
        self._connection = self._connect()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    @property
    def process(self) -> str:
        """This process's name in every envelope."""
        return f"{self.number:016x}"

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def close(self) -> None:
        """Give the lock back: from here on this process counts as gone."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        self._connection.close()

    def _connect(self) -> BoundedConnection[tuple[object, ...]]:
        connection: BoundedConnection[tuple[object, ...]] = BoundedConnection.connect(
            self._uri,
            autocommit=True,
            connect_timeout=connect_seconds(self._uri, CONNECT_SECONDS),
            application_name=f"{APPLICATION_NAME} {self.number:016x}",
            **KEEPALIVES,
        )
        connection.silence_seconds = SILENCE_SECONDS
        try:
            self._hold(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _hold(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        configure(connection)
        connection.execute(
            "SELECT set_config('tcp_keepalives_idle', '10', false), set_config('tcp_keepalives_interval', '5', false), "
            "set_config('tcp_keepalives_count', '3', false), set_config('idle_session_timeout', '0', false)"
        )
        taken = connection.execute("SELECT pg_try_advisory_lock(%s)", (self.number,)).fetchone()
        if not (taken and taken[0]):
            raise psycopg.OperationalError("the server still holds this process's previous connection")
        connection.execute("LISTEN study_events")

    def _run(self) -> None:
        asked = time.monotonic()
        while not self._stopping.is_set():
            try:
                for _ in self._connection.notifies(timeout=0.2, stop_after=1):
                    self._on_event()
                if time.monotonic() - asked > ASK_SECONDS:
                    # A line that was cut without a word would never say that the lock is gone.
                    self._connection.execute("SELECT")
                    asked = time.monotonic()
            except psycopg.Error as error:
                log.warning("keeper lost its connection", reason=str(error).strip())
                self._connection.close()
                self._reconnect()

    def _reconnect(self) -> None:
        while not self._stopping.is_set():
            try:
                self._connection = self._connect()
            except psycopg.Error:
                time.sleep(RELOCK_SECONDS)
            else:
                self._on_event()
                return


def process_number(process: str) -> int:
    """The advisory lock key of a process named in an envelope."""
    return int(process, 16)
