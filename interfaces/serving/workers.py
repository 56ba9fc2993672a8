"""Several server processes behind one port: started, restarted when one dies, and ended together.

Each is a whole server, with a keeper, a follower and a journal of its own. They need no arrangement between them: the
follower's lease, the claims and the looks at dead processes lie in the database, for processes of any machine.
"""

import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import structlog
import uvicorn
from prometheus_client.multiprocess import mark_process_dead

from domain.errors import StudyError
from infrastructure.metrics import SHARED_FOLDER
from infrastructure.settings import read_settings
from interfaces.logs import configure_logs
from interfaces.serving.dispatch import Place
from interfaces.serving.process import RECORDING_SECONDS, Address, run
from interfaces.signals import SIGNALS, exit_at_once

LOOK_SECONDS = 0.2
SHORT_LIFE_SECONDS = 10.0  # a worker that died sooner is started again only after a while
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
CLOSING_SECONDS = 15.0  # for what a worker does after its drain

SPAWN = multiprocessing.get_context("spawn")  # a fork would share connections and threads' locks

log = structlog.get_logger(__name__)


class _Worker:
    """One place among the workers, and the process that has it; the first one has the dashboard."""

    def __init__(self, number: int) -> None:
        self.has_dashboard = number == 0
        self.process: BaseProcess | None = None
        self.started_at = 0.0
        self.start_at = 0.0
        self.pause = FIRST_PAUSE_SECONDS


class Workers:
    """Keeps so many servers up, until a signal ends them.

    flags: the settings that were given as flags
    """

    def __init__(self, flags: Mapping[str, Any], address: Address, drain_seconds: float) -> None:
        self._flags = dict(flags)
        self._address = address
        self._drain_seconds = drain_seconds
        self._workers = [_Worker(number) for number in range(address.workers)]
        self._signalled: int | None = None
        self._dashboard_at = Path()

    def run(self) -> int:
        """Serve; returns the exit code, 0 when every worker ended well."""
        config = uvicorn.Config("", **self._address.uvicorn_options(self._drain_seconds))
        listener = config.bind_socket()
        listener.listen(config.backlog)  # whoever comes before the workers are up waits for them
        self._address.told(listener.getsockname()[1])
        for number in SIGNALS:
            signal.signal(number, self._handle)
        # Each worker writes what it measures there, and whichever is asked reads them all.
        with TemporaryDirectory(prefix="study-metrics-") as measured, TemporaryDirectory(prefix="study-") as meeting:
            os.environ[SHARED_FOLDER] = measured
            self._dashboard_at = Path(meeting) / "dashboard"
            while self._signalled is None:
                for worker in self._workers:
                    self._keep_up(worker, listener)
                wait([each.process.sentinel for each in self._workers if each.process], timeout=LOOK_SECONDS)
            listener.close()  # or whoever connects now would wait for nobody
            return self._end()

    def _handle(self, number: int, _frame: object) -> None:
        if self._signalled is not None:
            self._tell_all(signal.SIGKILL)
            exit_at_once(number)
        self._signalled = number

    def _keep_up(self, worker: _Worker, listener: socket.socket) -> None:
        now = time.monotonic()
        process = worker.process
        if process is not None and not process.is_alive():
            lived = now - worker.started_at
            worker.pause = FIRST_PAUSE_SECONDS if lived > SHORT_LIFE_SECONDS else worker.pause
            worker.start_at = now if lived > SHORT_LIFE_SECONDS else now + worker.pause
            worker.pause = min(worker.pause * 2, LONGEST_PAUSE_SECONDS)
            log.error("a worker died and is started again", worker=process.pid, exit_code=process.exitcode)
            mark_process_dead(process.pid, os.environ[SHARED_FOLDER])  # type: ignore[no-untyped-call]
            process.close()
            process = worker.process = None
        if process is None and now >= worker.start_at and self._signalled is None:
            place = Place(self._dashboard_at, is_here=worker.has_dashboard)
            worker.process = SPAWN.Process(
                target=_work, args=(self._flags, self._address, listener, place), name="study worker"
            )
            worker.process.start()
            worker.started_at = now

    def _end(self) -> int:
        processes = [worker.process for worker in self._workers if worker.process is not None]
        self._tell_all(signal.SIGTERM)
        deadline = time.monotonic() + self._drain_seconds + RECORDING_SECONDS + CLOSING_SECONDS
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                log.error("a worker did not end and was killed", worker=process.pid)
                process.kill()
                process.join()
        # One that had only begun had no word in how it ended.
        return 0 if all(process.exitcode in (0, -signal.SIGTERM) for process in processes) else 1

    def _tell_all(self, number: int) -> None:
        for worker in self._workers:
            if worker.process is not None and worker.process.is_alive() and worker.process.pid is not None:
                os.kill(worker.process.pid, number)


def _work(flags: Mapping[str, Any], address: Address, listener: socket.socket, place: Place) -> None:
    """A worker process, from its beginning to its end."""
    os.setpgid(0, 0)  # a terminal's Ctrl-C reaches the parent alone, which tells each once
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    try:
        settings = read_settings(**flags)
        configure_logs(settings, unless_asked="info")
        run(settings, address, listener, place)
    except StudyError as error:
        log.error("a worker can't serve", reason=str(error))
        sys.exit(1)


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
