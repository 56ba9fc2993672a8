"""What SIGINT and SIGTERM do: the first ends what is under way and records it, the second ends the process at once."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def cancelled_by_signals(told: Callable[[int], None]) -> Iterator[None]:
    """Cancel the current task at the first signal, which `told` is given; from the main thread of a process.

    The task's end is a CancelledError then, as if somebody else had cancelled it.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    seen: list[int] = []

    def stop(number: int, _frame: object) -> None:
        if seen:
            exit_at_once(number)
        seen.append(number)
        told(number)
        if task is not None:
            loop.call_soon_threadsafe(task.cancel)

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_at_once(number: int) -> None:
    """End without a word to anybody: what is under way is found in doubt by the next command."""
    os._exit(128 + number)


def reason(number: int) -> str:
    """Why calls are cancelled after a signal, as they record it."""
    return f"{signal.Signals(number).name} stopped the process"
