"""Starting, sharing and stopping the server.

Every step is taken under a file lock, so that any number of processes may start and stop at once. The server counts
as used while a keeper is connected to it: a killed process's connection is gone, so it never counts.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import psycopg

from domain.errors import Unavailable
from infrastructure.embedded_postgres.account import make_private, server_folder, serving_account, socket_folder
from infrastructure.embedded_postgres.binaries import MAJOR_VERSION, programs

DATABASE = "study"
OWNER = "study_owner"
APPLICATION = "study_app"
KEEPERS = "study keeper%"
START_SECONDS = 120
ORPHANS_SECONDS = 10
LARGEST_LOG_BYTES = 10 * 1024 * 1024
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "on",
    "log_min_messages": "warning",
    "jit": "off",
}

T = TypeVar("T")


@dataclass(frozen=True)
class Running:
    """How to reach the running server, as its owner and as the application."""

    owner_uri: str
    application_uri: str


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
    """The server of one home."""

    def __init__(self, home: Path) -> None:
        self._account = serving_account()
        self._folder = server_folder(home.absolute(), self._account)
        self._data = self._folder / "data"
        self._log = self._folder / "server.log"
        self._pin = self._folder / "pinned"

    def start(self, connect: Callable[[Running], T]) -> T:
        """Start the server unless it runs, and call `connect` before anybody could stop it again.

        Raises Unavailable, with the end of the server's log, when it doesn't come up.
        """
        with self._alone():
            running = self._running()
            if not self._is_up() or not _answers(running):
                self._launch()
                self._provision(running)
            return connect(running)

    def pin(self) -> None:
        """Keep the server up without users until `stop`."""
        with self._alone():
            self._pin.touch()

    def stop_if_unused(self) -> bool:
        """Stop the server if nobody uses it and it isn't pinned; says whether it was stopped."""
        with self._alone():
            if not self._is_up() or self._pin.exists() or self._keepers() > 0:
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
        try:
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            make_private(self._folder, self._account)
            lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unavailable(
                f"{self._folder} can't be used for the embedded Postgres: {error.strerror}; set STUDY_HOME"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _running(self) -> Running:
        host = quote(str(socket_folder(self._folder, self._account)), safe="")
        return Running(
            f"postgresql://{OWNER}@/{DATABASE}?host={host}", f"postgresql://{APPLICATION}@/{DATABASE}?host={host}"
        )

    def _launch(self) -> None:
        self._initialise()
        self._clear_away_the_dead()
        sockets = socket_folder(self._folder, self._account)
        settings = {**SETTINGS, "unix_socket_directories": str(sockets)}
        written = self._data / "postgresql.auto.conf"
        written.write_text("".join(f"{name} = '{value}'\n" for name, value in settings.items()), encoding="utf-8")
        self._account.own(written)
        if self._log.exists() and self._log.stat().st_size > LARGEST_LOG_BYTES:
            self._log.unlink()
        arguments = ["-D", str(self._data), "-l", str(self._log), "-w", "-t", str(START_SECONDS), "start"]
        said = self._run("pg_ctl", *arguments)
        if said is not None:
            raise Unavailable(f"The embedded Postgres did not start: {said}{self._end_of_log()}")

    def _initialise(self) -> None:
        version_file = self._data / "PG_VERSION"
        if version_file.exists():
            found = version_file.read_text().strip()
            if found != MAJOR_VERSION:
                raise Unavailable(
                    f"{self._data} was made by Postgres {found}, and this version brings {MAJOR_VERSION}; "
                    "back it up with the version that made it and restore it here"
                )
            return
        making = self._folder / "data.new"
        shutil.rmtree(making, ignore_errors=True)
        make_private(making, self._account)
        said = self._run(
            "initdb",
            *("-D", str(making), "-U", OWNER, "--auth-local=trust", "--auth-host=reject", "--encoding=UTF8"),
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
        )
        if said is not None:
            raise Unavailable(f"The embedded Postgres could not be set up in {making}: {said}")
        making.rename(self._data)

    def _provision(self, running: Running) -> None:
        """Make roles, database and extension where they are missing."""
        done = self._folder / "provisioned"
        if done.exists():
            return
        maintenance = running.owner_uri.replace(f"/{DATABASE}?", "/postgres?")
        with psycopg.connect(maintenance, autocommit=True) as connection:
            if not connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (APPLICATION,)).fetchone():
                connection.execute(f"CREATE ROLE {APPLICATION} LOGIN NOSUPERUSER".encode())
            if not connection.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone():
                connection.execute(f"CREATE DATABASE {DATABASE}".encode())
            connection.execute(f"GRANT CREATE, CONNECT ON DATABASE {DATABASE} TO {APPLICATION}".encode())
        with psycopg.connect(running.owner_uri, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        done.touch()

    def _shut_down(self) -> None:
        said = self._run("pg_ctl", "-D", str(self._data), "-m", "fast", "-w", "-t", str(START_SECONDS), "stop")
        if said is not None and self._is_up():
            raise Unavailable(f"The embedded Postgres did not stop: {said}{self._end_of_log()}")

    def _keepers(self) -> int:
        with psycopg.connect(self._running().owner_uri) as connection:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE %s", (KEEPERS,)
            ).fetchone()
        return int(row[0]) if row else 0

    def _pid(self) -> int | None:
        try:
            return int((self._data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return None

    def _is_up(self) -> bool:
        """Whether the process in the pid file is this server: numbers are reused, and the dead leave files."""
        pid = self._pid()
        return pid is not None and _works_in(pid, self._data)

    def _clear_away_the_dead(self) -> None:
        """After a kill -9: end what the dead server left running, then drop its pid and socket files."""
        orphans = [pid for pid in _all_pids() if _works_in(pid, self._data)]
        for pid in orphans:
            _signal(pid, signal.SIGQUIT)
        deadline = time.monotonic() + ORPHANS_SECONDS
        while orphans and time.monotonic() < deadline:
            orphans = [pid for pid in orphans if _works_in(pid, self._data)]
            time.sleep(0.02)
        for pid in orphans:
            _signal(pid, signal.SIGKILL)
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        for file in socket_folder(self._folder, self._account).glob(".s.PGSQL.*"):
            file.unlink()

    def _run(self, program: str, *arguments: str) -> str | None:
        """Run one of Postgres's programs; returns what it said if it failed.

        Its output goes to a file: a pipe would stay open for as long as the server that it starts.
        """
        environment = {"PATH": "/usr/bin:/bin", "LANG": "C", "LC_ALL": "C", "HOME": self._account.home}
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(  # noqa: S603 - our own programs
                [str(programs(self._account) / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd="/",
                start_new_session=True,
                check=False,
                **self._account.how_to_run(),
            )
            if done.returncode == 0:
                return None
            output.seek(0)
            return output.read().decode(errors="replace").strip()

    def _end_of_log(self) -> str:
        try:
            lines = self._log.read_text(errors="replace").splitlines()[-8:]
        except OSError:
            return ""
        return "\nThe end of its log:\n" + "\n".join(lines)


def _answers(running: Running) -> bool:
    try:
        psycopg.connect(running.owner_uri, connect_timeout=10).close()
    except psycopg.OperationalError:
        return False
    return True


def _all_pids() -> list[int]:
    proc = Path("/proc")
    return [int(entry.name) for entry in proc.iterdir() if entry.name.isdecimal()] if proc.exists() else []


def _works_in(pid: int, data: Path) -> bool:
    """Whether a living process is a Postgres of this data folder, in which all of them work."""
    process = Path(f"/proc/{pid}")
    if not Path("/proc/self").exists():
        return _exists(pid)
    try:
        if (process / "stat").read_text().rpartition(")")[2].split()[0] in "ZX":
            return False
        return (process / "cwd").readlink() == data.resolve()
    except OSError:
        return False


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
