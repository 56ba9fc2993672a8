"""Appends that wait to be written: a queue that is bounded by count and bytes, before which callers wait their turn."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from infrastructure.event_store.recorder import EncodedAppend

BATCH_APPENDS = 1_000
BATCH_BYTES = 8 * 1024 * 1024
QUEUE_APPENDS = 10_000
QUEUE_BYTES = 64 * 1024 * 1024


class Waiting(NamedTuple):
    """An append, and who waits for it."""

    encoded: EncodedAppend
    done: "asyncio.Future[int]"
    loop: asyncio.AbstractEventLoop
    since: float  # of the monotonic clock


class AppendQueue:
    """Whoever changes it from more than one thread holds one lock for all of it."""

    def __init__(self) -> None:
        self._waiting: deque[Waiting] = deque()
        self._bytes = 0  # also of what was taken and is not settled
        self._callers: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    async def room(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait until an append may be put. Its place is to be taken at once."""
        while self._full() or self._callers:
            if not await self._wait_for_turn(loop):
                break

    def put(self, waiting: Waiting) -> None:
        """Put an append behind the others."""
        self._waiting.append(waiting)
        self._bytes += waiting.encoded.byte_size

    def take(self) -> list[Waiting]:
        """Take a batch: the first ones, as many as go into one."""
        batch: list[Waiting] = []
        size = 0
        while self._waiting and len(batch) < BATCH_APPENDS:
            size += self._waiting[0].encoded.byte_size
            if batch and size > BATCH_BYTES:
                break
            batch.append(self._waiting.popleft())
        return batch

    def settle(self, batch: Sequence[Waiting], again: Sequence[Waiting]) -> None:
        """Let go of a batch that was taken, but for those of it that come first once more."""
        self._waiting.extendleft(reversed(again))
        self._bytes -= sum(waiting.encoded.byte_size for waiting in batch)
        self._bytes += sum(waiting.encoded.byte_size for waiting in again)

    def call_up(self) -> None:
        """Tell as many callers as there is room for that their turn has come. In their loop."""
        free = QUEUE_APPENDS - len(self._waiting)
        here = asyncio.get_running_loop()
        while self._callers and free > 0 and self._bytes < QUEUE_BYTES:
            turn = self._callers.popleft()
            if not turn.done() and not turn.get_loop().is_closed():
                turn.set_result(None)
                free -= turn.get_loop() is here  # another one, which was left, may never take its place

    def _full(self) -> bool:
        return len(self._waiting) >= QUEUE_APPENDS or self._bytes >= QUEUE_BYTES

    async def _wait_for_turn(self, loop: asyncio.AbstractEventLoop) -> bool:
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
                self.call_up()  # the turn had come: the next one's, then
            raise
        return self._full()
