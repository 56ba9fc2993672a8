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
from collections.abc import Callable
from typing import Literal

import psycopg
from psycopg.pq.abc import PGresult

from application.ports import Append
from domain.errors import StudyError, Unavailable
from infrastructure.event_store.append_call import TELL, checked
from infrastructure.event_store.append_queue import AppendQueue, Waiting
from infrastructure.event_store.datastore import CONNECT_SECONDS
from infrastructure.event_store.line import Line
from infrastructure.event_store.patient_writer import RETRY_SECONDS, PatientWriter, told
from infrastructure.event_store.recorder import Recorder

CLOSE_SECONDS = RETRY_SECONDS * 2
# Whoever waits for new events is told so soon after a batch, once for all that came meanwhile: telling is a transaction
# that all commits of the server wait for, and takes as long as a commit.
TELL_SECONDS = 0.01
CLOSED = "the store is being closed"


class GroupCommit:
    """The one writer of a process. `append` may be called from any number of tasks of one event loop at a time."""

    def __init__(self, recorder: Recorder, connect: Callable[[], psycopg.Connection], *, process: int) -> None:
        self._recorder = recorder
        self._process = process
        self._queue = AppendQueue()
        self._changed = threading.Condition()
        self._closing = False
        self._loop: asyncio.AbstractEventLoop | None = None  # whose tasks append
        self._writing: Literal["nobody", "loop", "thread"] = "nobody"
        self._patient = PatientWriter(recorder, connect, process=process)  # whose connection becomes a loop's line
        self._line: Line | None = None
        self._sent: list[Waiting] = []  # on the line
        self._handed: tuple[list[Waiting], Exception | None] = ([], None)  # to the thread, and why
        self._telling: Literal["nothing", "soon", "now"] = "nothing"
        self._thread = threading.Thread(target=self._write, name="event-writer", daemon=True)
        self._thread.start()

    async def append(self, append: Append) -> int:
        """Make an append durable; see the port. Waits while the queue is full."""
        loop = asyncio.get_running_loop()
        self._come_to(loop)
        await self._queue.room(loop)
        try:
            waiting = Waiting(self._recorder.encode(append), loop.create_future(), loop, time.monotonic())
            with self._changed:
                if self._closing:
                    raise Unavailable("The store is closing; nothing can be written any more")
                self._come_to(loop)
                self._queue.put(waiting)
                if self._writing == "nobody":
                    loop.call_soon(self._begin, loop)  # not at once, so that what else is ready now comes along
        except Exception:
            self._queue.call_up()  # the place is the next one's
            raise
        return await waiting.done  # cancelling it stops the wait, not the write

    @property
    def queued(self) -> int:
        """How many appends wait to be written."""
        return len(self._queue)

    def close(self) -> None:
        """Write what is queued, then stop. Waits for it, but not for ever: the rest is written beside."""
        with self._changed:
            self._closing = True
            if self._line is not None and self._line.may_be_touched:
                self._leave_line(CLOSED)
            self._changed.notify()
        self._thread.join(timeout=CLOSE_SECONDS)
        if self._line is not None:
            self._give_up_line(self._line)

    def _come_to(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have a loop go on with what another one left that runs no more."""
        if loop is self._loop:
            return
        if not (self._closing or self._thread.is_alive()):
            raise RuntimeError(
                "A process that was forked can't use the store of the one that it came from: open another"
            )
        with self._changed:
            if self._line is not None:
                if not self._line.may_be_touched:
                    raise RuntimeError("Another event loop that runs appends to this store: open one for each")
                self._leave_line("the event loop that wrote has ended")
            self._loop = loop
            if self._writing == "nobody":
                loop.call_soon(self._begin, loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have what is queued written, by this loop that runs here, or by the thread if there is no line yet."""
        with self._changed:
            # Once the store is being closed, the thread writes what is left, and nothing takes its connection.
            if self._closing or self._writing != "nobody" or not self._queue:
                return
            if loop is not self._loop:  # it was left for another one meanwhile
                return
            if (
                self._patient.connection is not None
                and Line.fits(loop)
                and self._recorder.takes_over(self._patient.connection)
            ):
                with contextlib.suppress(Exception):  # such as descriptors that ran out: the thread needs none
                    self._line = Line(self._patient.connection, loop, heard=self._heard, lost=self._hand_over)
                    self._patient.connection = None
            if self._line is None:
                self._writing = "thread"
                self._changed.notify()
                return
            self._writing = "loop"
        self._send_next(self._line)

    def _send_next(self, line: Line) -> None:
        """Send the next batch, or that there is something new; without either, nobody writes any more."""
        try:
            if self._telling == "now":
                line.send(lambda there: there.send_query(TELL))
                return
            with self._changed:
                self._sent = self._queue.take()
                if not self._sent:
                    self._writing = "nobody"
                    if self._closing:
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
                results = told(self._sent, self._recorder.appends_told([e.encoded for e in self._sent], result))
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
        else:
            self._telling = "nothing"
        self._send_next(self._line)

    def _tell_now(self, line: Line) -> None:
        if self._telling == "soon" and self._line is line:
            self._telling = "now"
            with self._changed:
                if self._writing != "nobody":
                    return  # it goes before the next batch
                self._writing = "loop"
            self._send_next(line)

    def _hand_over(self, error: Exception) -> None:
        """Leave what was sent on the line, all that is queued, and telling of what landed, to the thread."""
        with self._changed:
            if self._line is not None:
                self._line.close()
                self._line = None
            if self._sent:
                self._handed, self._sent = (self._sent, error), []
            if self._telling == "soon":
                self._telling = "now"
            self._writing = "thread"
            self._changed.notify()

    def _leave_line(self, why: str) -> None:
        """Close the line; what is under way there is the thread's."""
        if self._writing == "loop":
            self._hand_over(psycopg.OperationalError(why))
        elif self._line is not None:
            self._line.close(tells=self._telling != "nothing")
            self._line, self._telling = None, "nothing"

    def _give_up_line(self, line: Line) -> None:
        """Leave the line; where its loop runs elsewhere, there."""
        if line.may_be_touched:
            self._leave_line(CLOSED)
            return
        left = threading.Event()

        def leave() -> None:
            self._leave_line(CLOSED)
            left.set()

        with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
            line.loop.call_soon_threadsafe(leave)
            left.wait(CONNECT_SECONDS)

    def _write(self) -> None:
        """What the thread does: write when a loop can't."""
        while True:
            with self._changed:
                while self._writing != "thread" and not (self._closing and self._writing == "nobody"):
                    self._changed.wait()
                self._writing = "thread"
                (batch, error), self._handed = self._handed, ([], None)
                if not batch:
                    batch, error = self._queue.take(), None
                tells = self._telling == "now"
                if tells:
                    self._telling = "nothing"
                elif not batch:
                    self._writing = "nobody"
                    if self._closing:
                        self._patient.close()
                        return
                    continue
            if batch:
                results = self._patient.write(batch, error)
                self._settle(batch, results)
                tells = tells or any(isinstance(result, int) for result in results)
            if tells:
                self._patient.tell()
            self._give_back()

    def _give_back(self) -> None:
        """Have the loop go on that appends now."""
        with self._changed:
            if self._loop is None or self._closing:
                return
            self._writing = "nobody"
            try:
                self._loop.call_soon_threadsafe(self._begin, self._loop)
            except RuntimeError:  # it has been closed
                self._writing = "thread"

    def _settle(
        self,
        batch: list[Waiting],
        results: list[int | StudyError | None],
        here: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        again = [waiting for waiting, result in zip(batch, results, strict=True) if result is None]
        with self._changed:
            self._queue.settle(batch, again)
            loops = {self._loop, *(waiting.loop for waiting in batch)}  # in the first, some may wait for room
        for loop in loops:
            settled = [
                (waiting.done, result)
                for waiting, result in zip(batch, results, strict=True)
                if waiting.loop is loop and result is not None
            ]
            if loop is here:
                self._tell(settled)
            elif loop is not None:
                with contextlib.suppress(RuntimeError):  # it has been closed
                    loop.call_soon_threadsafe(self._tell, settled)

    def _tell(self, settled: list[tuple[asyncio.Future[int], int | StudyError]]) -> None:
        for done, result in settled:
            if not done.done():
                if isinstance(result, StudyError):
                    done.set_exception(result)
                    done.exception()  # a caller that left needs no warning
                else:
                    done.set_result(result)
        self._queue.call_up()
