"""Processes forked from one that has imported what takes seconds to import; they are killed like any other."""

import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["interfaces.composition", "interfaces.cli.main", "infrastructure.providers.openai_sdk", "pytest", "hypothesis"]
)
PRINTED = ("stdout", "stderr")


class WarmProcess:
    """Runs `work(line, *arguments)`, a function of a module, with an environment of its own; on the line both talk."""

    def __init__(self, work: Callable[..., None], *arguments: object, environment: dict[str, str]) -> None:
        self.line, theirs = FORKS.Pipe()
        self._process = FORKS.Process(target=_work, args=(work, environment, theirs, *arguments), daemon=True)
        self._process.start()
        theirs.close()

    def hear(self, *, within: float) -> Any:
        """What it says next; None once it has ended without saying more."""
        if not self.line.poll(within):
            raise TimeoutError(f"Nothing was said for {within} s")
        try:
            return self.line.recv()
        except (EOFError, ConnectionResetError):
            return None

    @property
    def exit_code(self) -> int | None:
        """None while it runs, negative when a signal ended it."""
        return self._process.exitcode

    def wait(self, seconds: float | None = None) -> int | None:
        """Its exit code once it has ended."""
        self._process.join(seconds)
        return self._process.exitcode

    def kill(self) -> None:
        """End it as `kill -9` does, unless it has ended, and wait for that."""
        self._process.kill()
        self._process.join()

    def close(self) -> None:
        """Kill it, and forget it."""
        self.kill()
        self._process.close()
        self.line.close()


class WarmCommand(WarmProcess):
    """The command `study` with some words, in a folder."""

    def __init__(self, *words: str, folder: Path, environment: dict[str, str]) -> None:
        self._printed = Path(mkdtemp(dir=folder))
        super().__init__(_study, words, folder, self._printed, environment=environment)

    def ended(self, within: float = 120) -> tuple[int, str, str]:
        """Its exit code and what it printed on stdout and on stderr, once it has ended."""
        code = self.wait(within)
        if code is None:
            raise TimeoutError(f"It has not ended within {within} s")
        out, error = ((self._printed / name).read_text() for name in PRINTED)
        return code, out, error


def _study(_line: Connection, words: tuple[str, ...], folder: Path, printed: Path) -> None:
    from interfaces.cli.main import main

    os.chdir(folder)
    for descriptor, name in enumerate(PRINTED, start=1):
        os.dup2(os.open(printed / name, os.O_WRONLY | os.O_CREAT), descriptor)
    sys.argv[1:] = words
    main()


def _work(work: Callable[..., None], environment: dict[str, str], line: Connection, *arguments: object) -> None:
    os.environ.clear()  # what the first of them was forked with
    os.environ.update(environment)
    work(line, *arguments)
