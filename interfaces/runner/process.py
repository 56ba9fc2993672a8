"""The server's side of the runner: starts it when there is something to run, and again when it dies over it."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any
from uuid import UUID

import structlog
from msgspec import Struct

from domain.errors import Unavailable
from infrastructure.settings import Settings
from interfaces.study import Study

IDLE_SECONDS = 60.0  # without a sweep, before a runner leaves
AGAIN_SECONDS = 2.0  # before a runner that died is started again
ENDING_SECONDS = 15.0
LOOK_SECONDS = 2.0  # between looks at whether something is left that nobody told us of

log = structlog.get_logger(__name__)


class SweepNews(Struct, frozen=True, kw_only=True):
    """How far a sweep is within what is recorded of it; lost when the server stops."""

    stage: str
    done: int
    total: int
    remaining_s: float | None = None


class SweepRunner:
    """One process at most, spawned and never forked: threads and locks of the server don't survive a fork."""

    def __init__(self, settings: Settings, *, always: bool) -> None:
        """always: run from the start and for ever, since nobody will call `wake`"""
        self.news: dict[UUID, SweepNews] = {}
        self._flags = settings.flags()
        self._always = always
        self._wanted = threading.Event()
        self._closing = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._gate = threading.Lock()
        self._thread = threading.Thread(target=self._keep_running, name="sweep runner", daemon=True)
        if always:
            self._wanted.set()
        self._thread.start()

    def wake(self) -> None:
        """See to it that what was asked for up to now is run."""
        self._wanted.set()

    @property
    def process_id(self) -> int | None:
        """Of the process, while there is one."""
        return None if self._process is None else self._process.pid

    def close(self) -> None:
        """Have it record that its sweeps were interrupted, and end. Blocks for some seconds."""
        self._closing.set()
        self._wanted.set()
        with self._gate:
            if self._process is not None and self._process.stdin is not None:
                with suppress(OSError):
                    self._process.stdin.close()
        self._thread.join(ENDING_SECONDS)
        with self._gate:
            if self._process is not None:
                self._process.kill()

    def _keep_running(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            if self._closing.is_set():
                return
            code = self._run_once()
            self.news.clear()
            if self._closing.is_set():
                return
            if code != 0 or self._always:
                log.warning("the process that runs sweeps has ended; it is started again", code=code)
                self._closing.wait(AGAIN_SECONDS)
                self._wanted.set()

    def _run_once(self) -> int:
        with self._gate:
            if self._closing.is_set():
                return 0
            self._process = process = subprocess.Popen(
                [sys.executable, "-m", "interfaces.runner"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,  # Ctrl-C in the server's terminal is the server's to obey
            )
        order = {"flags": self._flags, "idle_seconds": None if self._always else IDLE_SECONDS}
        with suppress(OSError):
            assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - they are pipes
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
        for line in process.stdout or ():
            with suppress(ValueError, KeyError, TypeError):
                self._hear(json.loads(line))
        code = process.wait()
        with self._gate:
            self._process = None
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):
                    if pipe is not None:
                        pipe.close()
        return code

    def _hear(self, told: dict[str, Any]) -> None:
        sweep_id = UUID(told.pop("sweep_id"))
        if told:
            self.news[sweep_id] = SweepNews(**told)
        else:
            self.news.pop(sweep_id, None)


@contextmanager
def sweep_runner(settings: Settings, *, always: bool = False) -> Iterator[SweepRunner]:
    """A runner for as long as the block runs."""
    runner = SweepRunner(settings, always=always)
    try:
        yield runner
    finally:
        runner.close()


@asynccontextmanager
async def running_sweeps(settings: Settings, study: Study) -> AsyncIterator[SweepRunner]:
    """The runner of a server, which also goes on with what an earlier server left."""
    runner = SweepRunner(settings, always=False)
    looking = asyncio.create_task(_wake_for_what_is_left(runner, study))
    try:
        yield runner
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        await asyncio.to_thread(runner.close)


async def _wake_for_what_is_left(runner: SweepRunner, study: Study) -> None:
    while True:
        try:
            if runner.process_id is None and await study.sweeps.left_to_servers():
                runner.wake()
        except Unavailable as error:
            log.debug("nobody can say which sweeps are left", reason=str(error))
        await asyncio.sleep(LOOK_SECONDS)
