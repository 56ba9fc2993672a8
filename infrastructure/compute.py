"""Where sweep steps are computed: our own threads, one step each."""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from threadpoolctl import threadpool_limits

_gate = threading.Lock()
_inside = 0
_limits: threadpool_limits | None = None


class LocalCompute:
    """Runs pure functions in threads; the number-crunching releases the interpreter's lock."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="compute")

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function and return its result."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, _run, function, arguments)

    def close(self) -> None:
        """Let running functions end and start no more."""
        self._threads.shutdown(wait=True, cancel_futures=True)


def _run(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    with _one_blas_thread():
        return function(*arguments)


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """One BLAS thread inside each of ours: sums keep their order, and threads don't fight for cores.

    BLAS knows one limit a process, so the first function in sets it and the last one out lifts it.
    """
    global _inside, _limits  # noqa: PLW0603 - the limit itself belongs to the process
    with _gate:
        _inside += 1
        if _inside == 1:
            _limits = threadpool_limits(limits=1)
    try:
        yield
    finally:
        with _gate:
            _inside -= 1
            if _inside == 0 and _limits is not None:
                _limits.restore_original_limits()
                _limits = None
