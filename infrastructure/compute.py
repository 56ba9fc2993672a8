"""Where sweep steps are computed: our own threads, one step each."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from domain.clustering.threads import one_blas_thread


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
    with one_blas_thread():
        return function(*arguments)
