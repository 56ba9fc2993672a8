"""Group commit: many tasks append, one writer thread sends them in batches, one batch in flight.

A batch is one round trip and one commit for everybody in it. While it is under way the next one gathers, so that the
batch size follows the load by itself. Appends that are queued are written even if their caller leaves.
"""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import psycopg
import structlog

from application.ports import Append, AppendConflict, ClaimHeld, Unacknowledged
from application.store_trouble import is_inputs_fault, trouble_of, unavailable
from domain.errors import Rejected, StudyError, Unavailable
from infrastructure.event_store.datastore import configure, writers
from infrastructure.event_store.recorder import EncodedAppend, Recorder, Refused

BATCH_APPENDS = 1_000
BATCH_BYTES = 8 * 1024 * 1024
QUEUE_APPENDS = 10_000
QUEUE_BYTES = 64 * 1024 * 1024
RETRY_SECONDS = 5.0

log = structlog.get_logger(__name__)


class _Waiting(NamedTuple):
    encoded: EncodedAppend
    done: "asyncio.Future[int]"
    loop: asyncio.AbstractEventLoop
    since: float  # of the monotonic clock


class GroupCommit:
    """The one writer of a process. `append` may be called from any number of tasks of one event loop."""

    def __init__(self, recorder: Recorder, connect: Callable[[], psycopg.Connection], *, process: int) -> None:
        self._recorder = recorder
        self._connect = connect
        self._process = process
        self._queue: deque[_Waiting] = deque()
        self._queued_bytes = 0
        self._callers: deque[asyncio.Future[None]] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._connection: psycopg.Connection | None = None
        self._thread = threading.Thread(target=self._write, name="event-writer", daemon=True)
        self._thread.start()

    async def append(self, append: Append) -> int:
        """Make an append durable; see the port. Waits while the queue is full."""
        loop = asyncio.get_running_loop()
        while self._full() or self._callers:
            if not await self._wait_for_room(loop):
                break
        encoded = self._recorder.encode(append)
        waiting = _Waiting(encoded, loop.create_future(), loop, time.monotonic())
        with self._changed:
            if self._closing:
                raise Unavailable("The store is closing; nothing can be written any more")
            self._queue.append(waiting)
            self._queued_bytes += encoded.byte_size
            if len(self._queue) == 1:
                self._changed.notify()
        return await waiting.done  # cancelling it stops the wait, not the write

    @property
    def queued(self) -> int:
        """How many appends wait to be written."""
        return len(self._queue)

    def close(self) -> None:
        """Write what is queued, then stop. Waits for it."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout=RETRY_SECONDS * 2)
        if self._connection is not None:
            self._connection.close()

    def _full(self) -> bool:
        return len(self._queue) >= QUEUE_APPENDS or self._queued_bytes >= QUEUE_BYTES

    async def _wait_for_room(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Wait for one's turn, first come first served. False: the turn has come and the place is taken at once."""
        turn: asyncio.Future[None] = loop.create_future()
        self._callers.append(turn)
        if not self._full() and self._callers[0] is turn:
            self._callers.popleft()
            return False
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._call_up()  # the turn had come: the next one's, then
            raise
        return self._full()

    def _write(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._closing:
                    self._changed.wait()
                if not self._queue:
                    return
                batch = self._next_batch()
            self._settle(batch, self._commit(batch))

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        while self._queue and len(batch) < BATCH_APPENDS:
            size += self._queue[0].encoded.byte_size
            if batch and size > BATCH_BYTES:
                break
            batch.append(self._queue.popleft())
        return batch

    def _commit(self, batch: list[_Waiting]) -> list[int | StudyError | None]:
        """Send a batch; one result an append, None for those to be sent once more.

        The same bytes sent again are recognised by the store, so that a lost acknowledgement is simply retried. So is
        trouble that passes, for a while; other trouble is told at once.
        """
        deadline = batch[0].since + RETRY_SECONDS  # whoever queued while the store was away has waited already
        sent = False
        pause = 0.05
        while True:
            try:
                connection = self._connected()
                try:
                    results = self._recorder.insert_appends(
                        connection, [each.encoded for each in batch], process=self._process
                    )
                except psycopg.Error as error:
                    sent = sent or _may_have_landed(error)
                    raise
            except Exception as error:  # noqa: BLE001 - its callers would wait for ever for a writer that died
                if is_inputs_fault(error):
                    if len(batch) == 1:
                        return [Rejected(f"The store refused the event: {str(error).strip()}")]
                    return [result for each in batch for result in self._commit([each])]
                trouble = trouble_of(error)
                gives_up = trouble is None or not trouble.passes or time.monotonic() + pause > deadline
                what = f"The event store can't be written{self._behind_whom(error)}" if gives_up else ""
                self._disconnect()
                if gives_up:
                    log.warning("the store can't be written", reason=str(error).strip(), appends=len(batch))
                    family, said = Unacknowledged if sent else Unavailable, str(unavailable(what, error))
                    return [family(said) for _ in batch]
                time.sleep(pause)
                pause = min(pause * 2, 1.0)
            else:
                return [
                    result if isinstance(result, int) else _failure(each.encoded.append, result)
                    for each, result in zip(batch, results, strict=True)
                ]

    def _behind_whom(self, error: Exception) -> str:
        """Who holds the lock that didn't come free, if that was it."""
        if isinstance(error, psycopg.errors.LockNotAvailable):
            with contextlib.suppress(psycopg.Error):
                return f" while {writers(self._connected())} is writing"
        return ""

    def _connected(self) -> psycopg.Connection:
        if self._connection is None or self._connection.closed:
            self._connection = self._connect()
            configure(self._connection)
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _settle(self, batch: list[_Waiting], results: list[int | StudyError | None]) -> None:
        again = [waiting for waiting, result in zip(batch, results, strict=True) if result is None]
        with self._changed:
            self._queue.extendleft(reversed(again))
            self._queued_bytes -= sum(waiting.encoded.byte_size for waiting in batch)
            self._queued_bytes += sum(waiting.encoded.byte_size for waiting in again)
        for loop in {waiting.loop for waiting in batch}:
            settled = [
                (waiting.done, result)
                for waiting, result in zip(batch, results, strict=True)
                if waiting.loop is loop and result is not None
            ]
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._tell, settled)

    def _tell(self, settled: list[tuple[asyncio.Future[int], int | StudyError]]) -> None:
        for done, result in settled:
            if not done.done():
                if isinstance(result, StudyError):
                    done.set_exception(result)
                    done.exception()  # a caller that left needs no warning
                else:
                    done.set_result(result)
        self._call_up()

    def _call_up(self) -> None:
        """Tell as many waiting callers as there is room for that their turn has come."""
        free = QUEUE_APPENDS - len(self._queue)
        while self._callers and free > 0 and self._queued_bytes < QUEUE_BYTES:
            turn = self._callers.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1


def _failure(append: Append, refused: Refused) -> StudyError | None:
    """What the caller is told; None when the append is to be sent once more."""
    if refused.outcome == "conflict":
        first = append.events[0]
        return AppendConflict(
            f"Version {first.version} of {first.stream_id} is taken: somebody else wrote it first",
            existing_id=str(first.stream_id),
        )
    if refused.outcome == "held" and append.take and refused.holder is not None:
        more = f" or one of {len(append.take) - 1} other claims" if len(append.take) > 1 else ""
        return ClaimHeld(
            f"{append.take[0].key}{more} is held by {refused.holder}, which is alive", holder=refused.holder
        )
    return None


def _may_have_landed(error: psycopg.Error) -> bool:
    """Whether the line or the server went away (class 57P) before it was said what became of a batch."""
    return error.sqlstate is None or error.sqlstate.startswith("57P")
