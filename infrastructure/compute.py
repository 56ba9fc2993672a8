"""Where sweep steps are computed: in threads of our own, or on a Dask cluster that is named by its scheduler."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from application.compute import LOCAL, Compute
from domain.clustering.threads import at_most, one_blas_thread

T = TypeVar("T")


class LocalCompute:
    """Runs pure functions in threads; the number-crunching releases the interpreter's lock."""

    def __init__(self, at_once: int | None = None) -> None:
        self._at_once = at_once or os.cpu_count() or 1
        self._threads = ThreadPoolExecutor(max_workers=self._at_once, thread_name_prefix="compute")
        self._running = 0

    @property
    def at_once(self) -> int:
        """One a thread."""
        return self._at_once

    async def share(self, value: T) -> T:
        """It is here already."""
        return value

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function and return its result. It has the threads that its neighbours leave to it when it begins."""
        self._running += 1
        threads = max(1, self._at_once // self._running)
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, computed, threads, function, *arguments)
        finally:
            self._running -= 1

    def close(self) -> None:
        """Start no more. What runs can't be stopped: it ends unseen, and the process waits for it when it ends."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class ComputePlaces:
    """The port Computes: threads that all sweeps of this process share, and schedulers that each sweep asks alone."""

    def __init__(self, here: LocalCompute) -> None:
        self._here = here

    @asynccontextmanager
    async def at(self, place: str) -> AsyncIterator[Compute]:
        """See the port. A cluster needs the extra `dask`."""
        if place == LOCAL:
            yield self._here
            return
        from infrastructure.dask_compute import connected

        async with connected(place) as cluster:
            yield cluster


def check_place(place: str) -> None:
    """Raise Rejected for what is no place to compute at, whether there is anybody or not."""
    if place != LOCAL:
        from infrastructure.dask_compute import check_address

        check_address(place)


def computed(threads: int, function: Callable[..., Any], *arguments: Any) -> Any:
    """A pure function's result, with so many threads of ours and one of BLAS: the same bits on any machine."""
    with at_most(threads), one_blas_thread():
        return function(*arguments)
