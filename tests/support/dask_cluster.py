"""A real Dask cluster of processes that a test starts, and may kill."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Of a worker: one thread, no process that starts it again, nothing that listens for browsers.
WORKER = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1")


class DaskCluster:
    """A scheduler and its workers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "scheduler.json"
        self.workers: list[subprocess.Popen[bytes]] = []
        self.scheduler = self._start(
            "scheduler", "--no-dashboard", "--no-show", "--host", "127.0.0.1", "--port", "0",
            "--scheduler-file", str(self._file),
        )  # fmt: skip

    @property
    def address(self) -> str:
        """Of the scheduler, once it is there."""
        deadline = time.monotonic() + 60
        while True:
            try:
                return str(json.loads(self._file.read_text())["address"])
            except (OSError, ValueError):
                assert time.monotonic() < deadline, "the scheduler did not start"
                time.sleep(0.05)

    def add_worker(self) -> None:
        """One more; it joins by itself."""
        local = ("--local-directory", str(self._folder / f"worker {len(self.workers)}"))
        self.workers.append(self._start("worker", self.address, *WORKER, *local))

    def stop(self) -> None:
        """All that is left of it."""
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()

    def _start(self, *words: str) -> "subprocess.Popen[bytes]":
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with (self._folder / "dask.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", *words], cwd=ROOT, env=environment, stdout=log, stderr=log
            )


@contextmanager
def dask_cluster(folder: Path, *, workers: int = 2) -> Iterator[DaskCluster]:
    """A cluster for as long as the block runs; its workers may still be on their way."""
    cluster = DaskCluster(folder)
    try:
        for _ in range(workers):
            cluster.add_worker()
        yield cluster
    finally:
        cluster.stop()
