"""Our own threads for number-crunching: parts are cut beforehand, and results come in the order of the parts.

So the number of threads decides only how long something takes, never a bit of it. Inside, BLAS has one thread: with
more, its sums would depend on how many there are, and threads would fight for cores.
"""

import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import cache
from typing import Any, TypeVar

Part = TypeVar("Part")
Result = TypeVar("Result")

_limit: ContextVar[int | None] = ContextVar("thread_limit", default=None)
_gate = threading.Lock()
_inside = 0
_held: Any = None


def in_parts(function: Callable[[Part], Result], parts: Iterable[Part]) -> list[Result]:
    """Call the function with each part and return the results in the order of the parts.

    The calling thread works too, so that a part may itself be cut into parts. The first error, in the order of the
    parts, is raised after the parts under way have ended.
    """
    waiting = list(parts)
    results: list[Any] = [None] * len(waiting)
    errors: dict[int, Exception] = {}
    turns = itertools.count()

    def work() -> None:
        # next() on a counter is one step for the interpreter: no two threads get the same number.
        while not errors and (turn := next(turns)) < len(waiting):
            try:
                results[turn] = function(waiting[turn])
            except Exception as error:  # noqa: BLE001 - raised below, in the caller's thread
                errors[turn] = error

    workers = max(min(thread_count(), len(waiting)), 1)
    # Parts of a part share out the threads that its own parts have left over.
    with one_blas_thread(), at_most(max(thread_count() // workers, 1)):
        helpers = [_pool().submit(copy_context().run, work) for _ in range(workers - 1)]
        work()
        for helper in helpers:
            if not helper.cancel():
                helper.result()
    if errors:
        raise errors[min(errors)]
    return results


def thread_count() -> int:
    """Say how many threads a function may use: as many as this process has cores, or what at_most says."""
    limit = _limit.get()
    if limit is not None:
        return limit
    # Not every system tells the cores that a process may use.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def at_most(threads: int) -> Iterator[None]:
    """Bound the threads of everything that is called inside, in this thread or task."""
    token = _limit.set(threads)
    try:
        yield
    finally:
        _limit.reset(token)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread. It knows one limit a process: the first one in sets it, the last one out lifts it."""
    global _inside, _held  # noqa: PLW0603 - the limit itself belongs to the process
    with _gate:
        _inside += 1
        if _inside == 1:
            _let_any_thread_set_it()
            _held = _blas().limit(limits=1, user_api="blas")
    try:
        yield
    finally:
        with _gate:
            _inside -= 1
            if _inside == 0:
                _let_any_thread_set_it()
                _held.restore_original_limits()
                _held = None
                _let_any_thread_set_it()


def _let_any_thread_set_it() -> None:
    # threadpoolctl obeys only the thread that set the limit first, and says nothing to others, unless it is set free.
    for library in _blas().lib_controllers:
        if hasattr(library, "clear_controlling_thread"):  # not every version, nor every BLAS, has an owner of its limit
            library.clear_controlling_thread(force=True)


@cache
def _blas() -> Any:
    # Looking for the libraries takes a millisecond, so they are found once; scipy brings its own, which must be there.
    import scipy.linalg  # noqa: F401
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=64, thread_name_prefix="clustering")


# A forked child has none of its parent's threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)
