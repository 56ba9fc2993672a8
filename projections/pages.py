"""Pages of the log on their way to the read models: read once for all of them, and ahead of time."""

import bisect
import gc
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from application.ports import EventPages
from domain.events import RecordedEvent

FIRST_BATCH = 2_000
SMALLEST_BATCH = 100
LARGEST_BATCH = 10_000
BATCH_SECONDS = 0.5


@contextmanager
def without_collecting() -> Iterator[None]:
    """Hold the garbage collector back for one batch: its tens of thousands of objects have no cycles to be found.

    It would take a third of a replay's time. Threads that do this at once end with the collector as it was.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class BatchSize:
    """How many events are applied at once: a backlog goes fast in large batches, but others wait for the lease."""

    def __init__(self, largest: int = LARGEST_BATCH) -> None:
        self._largest = largest
        self.events = min(FIRST_BATCH, largest)

    def took(self, seconds: float) -> None:
        """Learn from a full batch how long one takes; it may at most double or halve."""
        fitting = self.events * min(2.0, max(0.5, BATCH_SECONDS / max(seconds, 1e-6)))
        self.events = min(self._largest, max(min(SMALLEST_BATCH, self._largest), int(fitting)))


class SharedPages:
    """Pages that several read models at about the same place read and decode once.

    While a full page is being applied, the next is read in a thread of its own.
    """

    def __init__(self, pages: EventPages) -> None:
        self._pages = pages
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="study reader")
        self._ahead: tuple[int, int | None, Future[list[RecordedEvent]]] | None = None
        self.forget()

    def forget(self) -> None:
        """Read afresh: there may be new events."""
        self._after: int | None = None
        self._until: int | None = None
        self._events: list[RecordedEvent] = []

    def page(self, *, after: int, limit: int, until: int | None) -> list[RecordedEvent]:
        """Events in order with a position in (after, until]; fewer than `limit` does not mean the end, none does."""
        if self._after is not None and until == self._until and self._after <= after:
            start = bisect.bisect_right(self._events, after, key=lambda event: event.position)
            if start < len(self._events) or after == self._after:
                return self._events[start : start + limit]
        self._events = self._read(after, limit, until)
        self._after, self._until = after, until
        return self._events[:limit]

    def close(self) -> None:
        """End the reading thread."""
        self._reader.shutdown(cancel_futures=True)

    def _read(self, after: int, limit: int, until: int | None) -> list[RecordedEvent]:
        ahead, self._ahead = self._ahead, None
        events: list[RecordedEvent] = []
        if ahead is not None and ahead[:2] == (after, until):
            events = ahead[2].result()
        # What was read ahead may have been the end then; only a read now can tell that it still is.
        events = events or self._pages.page(after=after, limit=limit, until=until)
        if len(events) >= limit:
            last = events[-1].position
            reading = self._reader.submit(self._pages.page, after=last, limit=limit, until=until)
            self._ahead = (last, until, reading)
        return events
