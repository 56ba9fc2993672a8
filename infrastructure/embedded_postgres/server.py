"""Starting, sharing and stopping the server.

Every step is taken under a file lock, so that any number of processes may start and stop at once. The server counts
as used while a keeper is connected to it: a killed process's connection is gone, so it never counts. A second lock is
held by the server's own processes, which inherit it: it tells that data are in use even where they can't be seen.
"""

import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psycopg
from psycopg.pq import PGconn, Ping

from domain.errors import Unavailable
from infrastructure.embedded_postgres.account import (
    make_log,
    make_server_folder,
    server_folder,
    serving_account,
    socket_folder,
)
from infrastructure.embedded_postgres.processes import at_work_in, run, send, works_in
from infrastructure.embedded_postgres.store import PORT, Running, addresses, configure, make_data, provision

KEEPER = "study keeper "  # then the process
START_SECONDS = 120
LOCK_SECONDS = 2 * START_SECONDS
SILENCE_SECONDS = 10
ORPHANS_SECONDS = 10
CONNECT_SECONDS = 10
LARGEST_LOG_BYTES = 10 * 1024 * 1024

T = TypeVar("T")


@dataclass(frozen=True)
class Status:
    """What is known of the server without starting it."""

    running: bool
    pinned: bool
    pid: int | None
    version: str | None
    socket_folder: Path
    data_folder: Path


class EmbeddedPostgres:
    """The server of one home, which is made if it is missing."""

    def __init__(self, home: Path) -> None:
        self._account = serving_account()
        self._folder = server_folder(home.absolute(), self._account)
        self._data = self._folder / "data"
        self._log = self._folder / "server.log"
        self._pin = self._folder / "pinned"

    def start(self, connect: Callable[[Running], T]) -> T:
        """Start the server unless it runs, and call `connect` before anybody could stop it again.

        `connect` calls no method of this class: the lock is held. If it fails, a server started for it is stopped.
        Raises Unavailable, with the end of the server's log, when the server doesn't come up.
        """
        with self._alone():
            running = self._running()
            launched = not self._runs_already(running)
            if launched:
                self._launch()
            try:
                provision(running, self._folder)
                return connect(running)
            except BaseException:
                if launched and self._is_unused():
                    self._shut_down()
                raise

    def pin(self) -> None:
        """Keep the server up without users until `unpin` or `stop`; to be sure of it, pin first and start then."""
        with self._alone():
            self._pin.touch()

    def unpin(self) -> None:
        """Let the server stop with its last user again."""
        with self._alone():
            self._pin.unlink(missing_ok=True)

    def stop_if_unused(self, *, leaving: str | None = None) -> bool:
        """Stop the server if nobody uses it and it isn't pinned; says whether it was stopped.

        leaving: a process that has closed its keeper just now, which the server may show for a moment longer
        """
        with self._alone():
            if not self._is_up() or not self._is_unused(leaving):
                return False
            self._shut_down()
            return True

    def stop(self) -> bool:
        """Unpin the server and stop it now; its users see their connections end. Says whether it ran."""
        with self._alone():
            self._pin.unlink(missing_ok=True)
            if not self._is_up():
                return False
            self._shut_down()
            return True

    def status(self) -> Status:
        """Whether the server runs, and where."""
        with self._alone():
            up = self._is_up()
            version_file = self._data / "PG_VERSION"
            return Status(
                running=up,
                pinned=self._pin.exists(),
                pid=self._pid() if up else None,
                version=version_file.read_text().strip() if version_file.exists() else None,
                socket_folder=socket_folder(self._folder, self._account),
                data_folder=self._data,
            )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the file lock. It is never inherited by the server, so it ends with this process at the latest."""
        path = self._folder / "lock"
        try:
            make_server_folder(self._folder, self._account)
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unavailable(
                f"{self._folder} can't be used for the embedded Postgres: {error.strerror}; set STUDY_HOME"
            ) from error
        deadline = time.monotonic() + LOCK_SECONDS
        try:
            while not _locks(lock):
                if time.monotonic() > deadline:
                    raise Unavailable(
                        f"Another process has held {path} for {LOCK_SECONDS} s; find it with fuser and end it"
                    )
                time.sleep(0.01)
            yield
            fcntl.flock(lock, fcntl.LOCK_UN)  # for a process forked meanwhile, which would keep it
        finally:
            os.close(lock)

    def _running(self) -> Running:
        return addresses(self._sockets())

    def _sockets(self) -> Path:
        return socket_folder(self._folder, self._account)

    def _runs_already(self, running: Running) -> bool:
        """Whether the server answers, once it has started or recovered; one that nobody can reach is stopped.

        It is never stopped for being busy or full: others use it.
        """
        begun = time.monotonic()
        while self._is_held() or self._is_up():
            said = PGconn.ping(f"{running.owner_uri}&connect_timeout={CONNECT_SECONDS}".encode())
            if said == Ping.OK:
                return True
            waited = time.monotonic() - begun
            if said == Ping.NO_RESPONSE and not self._is_up():
                return False
            if said == Ping.NO_RESPONSE and waited > SILENCE_SECONDS and not self._socket().exists():
                self._shut_down()
                return False
            if waited > START_SECONDS:
                raise Unavailable(
                    f"The embedded Postgres in {self._data} runs, but has not answered for {START_SECONDS} s; "
                    f"try again later, or end it with: study db stop{self._end_of_log()}"
                )
            time.sleep(0.02)
        return False

    def _launch(self) -> None:
        make_data(self._data, self._account)
        self._clear_away_the_dead()
        configure(self._data, self._sockets(), self._account)
        if self._log.exists() and self._log.stat().st_size > LARGEST_LOG_BYTES:
            self._log.unlink()
        make_log(self._log, self._account)
        arguments = ["-D", str(self._data), "-l", str(self._log), "-w", "-t", str(START_SECONDS), "start"]
        serving = self._open_serving()
        try:
            _locks(serving)
            said = run("pg_ctl", *arguments, account=self._account, inherit=(serving,))
        finally:
            os.close(serving)
        if said is not None:
            raise Unavailable(f"The embedded Postgres did not start: {said}{self._end_of_log()}")

    def _shut_down(self) -> None:
        arguments = ["-D", str(self._data), "-m", "fast", "-w", "-t", str(START_SECONDS), "stop"]
        said = run("pg_ctl", *arguments, account=self._account)
        if said is not None and self._is_up():
            raise Unavailable(f"The embedded Postgres did not stop: {said}{self._end_of_log()}")

    def _is_unused(self, leaving: str | None = None) -> bool:
        return not self._pin.exists() and not self._has_keepers(leaving)

    def _has_keepers(self, leaving: str | None) -> bool:
        try:
            with psycopg.connect(self._running().owner_uri, connect_timeout=CONNECT_SECONDS) as connection:
                found = connection.execute(
                    "SELECT FROM pg_stat_activity WHERE application_name LIKE %s AND application_name <> %s LIMIT 1",
                    (f"{KEEPER}%", f"{KEEPER}{leaving}"),
                ).fetchone()
        except psycopg.OperationalError:
            return True  # so full or so busy that it takes no more connections: it is in use
        return found is not None

    def _pid(self) -> int | None:
        try:
            return int((self._data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return None

    def _is_up(self) -> bool:
        """Whether the process in the pid file is this server: numbers are reused, and the dead leave files."""
        pid = self._pid()
        return pid is not None and works_in(pid, self._data, self._account)

    def _is_held(self) -> bool:
        """Whether any process of a server still runs on these data, here or in another container."""
        serving = self._open_serving()
        try:
            if not _locks(serving):
                return True
            fcntl.flock(serving, fcntl.LOCK_UN)
            return False
        finally:
            os.close(serving)

    def _open_serving(self) -> int:
        return os.open(self._folder / "serving", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def _socket(self) -> Path:
        return self._sockets() / f".s.PGSQL.{PORT}"

    def _clear_away_the_dead(self) -> None:
        """After a kill -9: end what the dead server left running, then drop its pid and socket files.

        Raises Unavailable while anything that can't be ended uses the data: a second server would destroy them.
        """
        for number in (signal.SIGQUIT, signal.SIGKILL):
            for pid in at_work_in(self._data, self._account):
                send(pid, number)
            if self._is_left_alone():
                break
        else:
            raise Unavailable(
                f"A server that can't be reached or ended from here uses {self._data}; "
                "stop it where it runs, as in another container, or set STUDY_HOME to another folder"
            )
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        for file in self._sockets().glob(".s.PGSQL.*"):
            file.unlink()

    def _is_left_alone(self) -> bool:
        deadline = time.monotonic() + ORPHANS_SECONDS
        while self._is_held() or at_work_in(self._data, self._account):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def _end_of_log(self) -> str:
        try:
            lines = self._log.read_text(errors="replace").splitlines()[-8:]
        except OSError:
            return ""
        return "\nThe end of its log:\n" + "\n".join(lines)


def _locks(opened: int) -> bool:
    """Lock an opened file unless another holds it; says whether it did."""
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
