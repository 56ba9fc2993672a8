"""Where sweep steps are computed: in threads of our own, or on a Dask cluster that is named by its scheduler."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from application.compute import LOCAL, Compute
from domain.clustering.threads import one_blas_thread

T = TypeVar("T")


class LocalCompute:
    """Runs pure functions in threads; the number-crunching releases the interpreter's lock."""

    def __init__(self, at_once: int | None = None) -> None:
        self._at_once = at_once or os.cpu_count() or 1
        self._threads = ThreadPoolExecutor(max_workers=self._at_once, thread_name_prefix="compute")

    @property
    def at_once(self) -> int:
        """One a thread."""
        return self._at_once

    async def share(self, value: T) -> T:
        """It is here already."""
        return value

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function and return its result."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, computed, function, *arguments)

    def close(self) -> None:
        """Let running functions end and start no more."""
        self._threads.shutdown(wait=True, cancel_futures=True)


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


def computed(function: Callable[..., Any], *arguments: Any) -> Any:
    """A pure function's result, with one BLAS thread: on any machine, in any number of threads."""
    with one_blas_thread():
        return function(*arguments)
