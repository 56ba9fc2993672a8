"""The misbehaving server as a process of its own, which outlives whoever asks it and logs each request first."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


@contextmanager
def server_process(log: Path, *, trouble: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Iterator[str]:
    """Its address. trouble: the shares of requests that fail for now, that fail for good, and that it never answers."""
    fails, fails_for_good, hangs = map(str, trouble)
    rates = ("--fail-rate", fails, "--permanent-rate", fails_for_good, "--hang-rate", hangs)
    module = (sys.executable, "-m", "tests.support.misbehaving_server")
    with subprocess.Popen(
        [*module, "--log", str(log), "--delay-ms", "20", *rates], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as server:
        if server.stdout is None:
            raise RuntimeError("The server has no stdout")
        try:
            yield server.stdout.readline().strip()
        finally:
            server.kill()
