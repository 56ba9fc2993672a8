"""Group commit: many tasks append, one of them at a time sends what all of them have queued, one batch in flight.

A batch is one round trip and one commit for everybody in it. While it is under way the next one gathers, so that the
batch size follows the load by itself. Appends that are queued are written even if their caller leaves.

The event loop sends the batches itself, since waking a thread and being woken by it takes as long as a commit. Whatever
may take time is the writer thread's: to connect, and all that follows from trouble. So is all of it, told of at once,
where the loop can't watch a connection.
"""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Literal, NamedTuple

import psycopg
import structlog
from psycopg.pq.abc import PGresult

from application.ports import Append, AppendConflict, ClaimHeld, Unacknowledged
from application.store_trouble import is_inputs_fault, trouble_of, unavailable
from domain.errors import Rejected, StudyError, Unavailable
from infrastructure.event_store.append_call import TELL, checked
from infrastructure.event_store.datastore import CONNECT_SECONDS, configure, writers
from infrastructure.event_store.line import Line, tell_and_leave
from infrastructure.event_store.recorder import EncodedAppend, Recorder, Refused

BATCH_APPENDS = 1_000
BATCH_BYTES = 8 * 1024 * 1024
QUEUE_APPENDS = 10_000
QUEUE_BYTES = 64 * 1024 * 1024
RETRY_SECONDS = 5.0
CLOSE_SECONDS = RETRY_SECONDS * 2
# Whoever waits for new events is told so soon after a batch, once for all that came meanwhile: telling is a transaction
# that all commits of the server wait for, and takes as long as a commit.
TELL_SECONDS = 0.01

log = structlog.get_logger(__name__)


class _Waiting(NamedTuple):
    encoded: EncodedAppend
    done: "asyncio.Future[int]"
    loop: asyncio.AbstractEventLoop
    since: float  # of the monotonic clock


class GroupCommit:
    """The one writer of a process. `append` may be called from any number of tasks of one event loop at a time."""

    def __init__(self, recorder: Recorder, connect: Callable[[], psycopg.Connection], *, process: int) -> None:
        self._recorder = recorder
        self._connect = connect
        self._process = process
        self._queue: deque[_Waiting] = deque()
        self._queued_bytes = 0
        self._callers: deque[asyncio.Future[None]] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._writing: Literal["nobody", "loop", "thread"] = "nobody"
        self._connection: psycopg.Connection | None = None  # the thread's, until a loop makes a line of it
        self._line: Line | None = None
        self._sent: list[_Waiting] = []  # on the line
        self._handed: tuple[list[_Waiting], Exception | None] = ([], None)  # to the thread, and why
        self._telling: Literal["nothing", "soon", "now"] = "nothing"
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
            if self._line is not None and self._line.loop is not loop:
                if not self._line.may_be_touched:
                    raise RuntimeError("Another event loop that runs appends to this store: open one for each")
                self._hand_over(psycopg.OperationalError("the event loop that wrote has ended"))
            self._queue.append(waiting)
            self._queued_bytes += encoded.byte_size
            if self._writing == "nobody":
                loop.call_soon(self._begin, loop)  # not at once, so that what else is ready now comes along
        return await waiting.done  # cancelling it stops the wait, not the write

    @property
    def queued(self) -> int:
        """How many appends wait to be written."""
        return len(self._queue)

    def close(self) -> None:
        """Write what is queued, then stop. Waits for it."""
        with self._changed:
            self._closing = True
            if self._line is not None and self._line.may_be_touched:
                self._hand_over(psycopg.OperationalError("the store is being closed"))
            self._changed.notify()
        self._thread.join(timeout=CLOSE_SECONDS)
        if self._line is not None:
            self._give_up_line()
        if self._connection is not None:
            if self._telling != "nothing":
                tell_and_leave(self._connection)
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

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have what is queued written, by this loop that runs here, or by the thread if there is no line yet."""
        with self._changed:
            # Once the store is being closed, the thread writes what is left, and nothing takes its connection.
            if self._closing or self._writing != "nobody" or not (self._queue or self._telling == "now"):
                return
            if self._connection is not None and Line.fits(loop) and self._recorder.takes_over(self._connection):
                self._line = Line(self._connection, loop, heard=self._heard, lost=self._lost)
                self._connection = None
            self._writing = "thread" if self._line is None else "loop"
            self._changed.notify()
        if self._line is not None:
            self._send_next(self._line)

    def _send_next(self, line: Line) -> None:
        """Send the next batch, or that there is something new; without either, nobody writes any more."""
        try:
            if self._telling == "now":
                self._telling = "nothing"
                line.send(lambda there: there.send_query(TELL))
                return
            with self._changed:
                self._sent = self._next_batch()
                if not self._sent:
                    self._writing = "nobody"
                    self._changed.notify()
                    return
            batch = [each.encoded for each in self._sent]
            line.send(lambda there: self._recorder.send_appends(there, batch, process=self._process))
        except Exception as error:  # noqa: BLE001 - its callers would wait for ever
            self._hand_over(error)

    def _heard(self, result: PGresult) -> None:
        """The server has answered what was sent on the line."""
        try:
            if self._sent:
                results = self._told(self._sent, self._recorder.appends_told([e.encoded for e in self._sent], result))
            else:
                checked(result)
        except Exception as error:  # noqa: BLE001 - its callers would wait for ever
            self._hand_over(error)
            return
        if self._line is None:
            return
        if self._sent:
            batch, self._sent = self._sent, []
            self._settle(batch, results, here=self._line.loop)
            if self._telling == "nothing":
                self._telling = "soon"
                self._line.loop.call_later(TELL_SECONDS, self._tell_now, self._line)
        self._send_next(self._line)

    def _tell_now(self, line: Line) -> None:
        if self._telling == "soon" and self._line is line:
            self._telling = "now"
            with self._changed:
                if self._writing != "nobody":
                    return  # it goes before the next batch
                self._writing = "loop"
            self._send_next(line)

    def _lost(self, error: psycopg.Error) -> None:
        """The line is gone; if that was while nobody wrote, it is the next one's to connect."""
        if self._writing == "loop":
            self._hand_over(error)
        elif self._line is not None:
            self._line.close()
            self._line = None

    def _hand_over(self, error: Exception) -> None:
        """Leave what was sent on the line, and all that is queued, to the thread."""
        if self._line is not None:
            self._line.close(tells=self._telling != "nothing" and not self._sent)
            self._line, self._telling = None, "nothing"
        with self._changed:
            self._handed = self._sent, error
            self._sent = []
            self._writing = "thread"
            self._changed.notify()

    def _give_up_line(self) -> None:
        """Close a line on which nothing is under way; where its loop runs elsewhere, there."""
        line, self._line = self._line, None
        tells, self._telling = self._telling != "nothing", "nothing"
        if line is None:
            return
        if line.may_be_touched:
            line.close(tells=tells)
            return
        closed = threading.Event()

        def close() -> None:
            line.close(tells=tells)
            closed.set()

        with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
            line.loop.call_soon_threadsafe(close)
            closed.wait(CONNECT_SECONDS)

    def _write(self) -> None:
        """What the thread does: write when a loop can't."""
        while True:
            with self._changed:
                while self._writing != "thread" and not (self._closing and self._writing == "nobody"):
                    self._changed.wait()
                self._writing = "thread"
                (batch, error), self._handed = self._handed, ([], None)
                if not batch:
                    batch, error = self._next_batch(), None
                if not batch:
                    self._writing = "nobody"
                    if self._closing:
                        return
                    continue
            self._settle(batch, self._commit(batch, error))
            self._give_back(batch[-1].loop)

    def _give_back(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have a loop go on, and tell that there is something new; whatever is queued meanwhile comes first."""
        if self._connection is not None and not Line.fits(loop):
            with contextlib.suppress(psycopg.Error):  # the next batch will see what is wrong
                self._connection.execute(TELL)
        with self._changed:
            if self._connection is not None and Line.fits(loop):
                self._telling = "now"
            if self._closing:
                return
            loop = self._queue[0].loop if self._queue else loop
            self._writing = "nobody"
            try:
                loop.call_soon_threadsafe(self._begin, loop)
            except RuntimeError:  # it has been closed
                self._writing = "thread"

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        while self._queue and len(batch) < BATCH_APPENDS:
            size += self._queue[0].encoded.byte_size
            if batch and size > BATCH_BYTES:
                break
            batch.append(self._queue.popleft())
        return batch

    def _commit(self, batch: list[_Waiting], failed: Exception | None = None) -> list[int | StudyError | None]:
        """Send a batch; one result an append, None for those to be sent once more.

        failed: what came of it when it was sent on a line

        The same bytes sent again are recognised by the store, so that a lost acknowledgement is simply retried. So is
        trouble that passes, for a while; other trouble is told at once.
        """
        deadline = batch[0].since + RETRY_SECONDS  # whoever queued while the store was away has waited already
        sent = isinstance(failed, psycopg.Error) and _may_have_landed(failed)
        pause = 0.05
        while True:
            try:
                if failed is not None:
                    error, failed = failed, None
                    raise error
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
                return self._told(batch, results)

    @staticmethod
    def _told(batch: list[_Waiting], results: list[int | Refused]) -> list[int | StudyError | None]:
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

    def _settle(
        self,
        batch: list[_Waiting],
        results: list[int | StudyError | None],
        here: asyncio.AbstractEventLoop | None = None,
    ) -> None:
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
            if loop is here:
                self._tell(settled)
            elif not loop.is_closed():
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
