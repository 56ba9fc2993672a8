"""The writer's connection in the hands of an event loop: no other thread wakes up for what is sent and said there."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress

import psycopg
from psycopg.pq.abc import PGconn, PGresult

from infrastructure.event_store.append_call import TELL
from infrastructure.event_store.datastore import SILENCE_SECONDS

Send = Callable[[PGconn], None]


class Line:
    """Sends one thing at a time and tells what comes of it.

    While the loop runs, only its own thread may touch a line.
    """

    def __init__(
        self,
        connection: psycopg.Connection,
        loop: asyncio.AbstractEventLoop,
        *,
        heard: Callable[[PGresult], None],
        lost: Callable[[psycopg.Error], None],
    ) -> None:
        """heard: is told what the server says to what was sent last; lost: that the line is broken, or silent.

        The line may be lost while nothing is under way. Raises whatever keeps the loop from watching the connection.
        """
        self.loop = loop
        self._connection = connection
        self._pgconn = connection.pgconn
        self._silence_seconds = getattr(connection, "silence_seconds", SILENCE_SECONDS)
        self._heard = heard
        self._lost = lost
        self._result: PGresult | None = None
        self._patience: asyncio.TimerHandle | None = None
        # The loop watches a descriptor of its own: the connection's could be another file's by the time it is let go.
        self._watched = os.dup(connection.fileno())
        try:
            loop.add_reader(self._watched, self._read)
        except BaseException:
            os.close(self._watched)
            raise

    @staticmethod
    def fits(loop: asyncio.AbstractEventLoop) -> bool:
        """Whether a loop can watch a connection; Windows' usual one can't."""
        return type(loop).add_reader is not asyncio.AbstractEventLoop.add_reader

    @property
    def may_be_touched(self) -> bool:
        """Whether the caller's thread is the loop's, or the loop runs nowhere."""
        running = None
        with suppress(RuntimeError):
            running = asyncio.get_running_loop()
        return running is self.loop or not self.loop.is_running()

    def send(self, send: Send) -> None:
        """Send something, and wait for no answer. Raises psycopg.Error and whatever `send` raises."""
        send(self._pgconn)
        self._patience = self.loop.call_later(self._silence_seconds, self._is_silent)
        if self._pgconn.flush():
            self.loop.add_writer(self._watched, self._write)

    def close(self, *, tells: bool = False) -> None:
        """Let go of the connection; tells: those who wait for events first, without waiting until it is done."""
        if self._patience is not None:
            self._patience.cancel()
        if not self.loop.is_closed():
            self.loop.remove_reader(self._watched)
            self.loop.remove_writer(self._watched)
        os.close(self._watched)
        if tells:
            with suppress(psycopg.Error):
                self._pgconn.send_query(TELL)
                self._pgconn.flush()
        self._connection.close()

    def _read(self) -> None:
        try:
            self._pgconn.consume_input()
            while not self._pgconn.is_busy():
                result = self._pgconn.get_result()
                if result is None:
                    break
                self._result = result
            else:
                return  # more is to come
        except psycopg.Error as error:
            self._lost(error)
            return
        if self._result is not None:
            result, self._result = self._result, None
            if self._patience is not None:
                self._patience.cancel()
            self._heard(result)

    def _write(self) -> None:
        try:
            if not self._pgconn.flush():
                self.loop.remove_writer(self._watched)
        except psycopg.Error as error:
            self._lost(error)

    def _is_silent(self) -> None:
        self._lost(psycopg.OperationalError(f"the server has said nothing for {self._silence_seconds:g} s"))
