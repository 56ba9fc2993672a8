"""The real time and new ids."""

import asyncio
import os
import struct
import threading
import time
from datetime import UTC, datetime
from uuid import UUID


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The time of day, with zone UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class TimeOrderedIds:
    """UUIDv7 (RFC 9562): 48 bits of milliseconds, a counter that keeps one process's ids in order, and chance."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0
        # Asked for one by one, chance costs more than all else: each time every other thread may go first.
        self._chances: list[int] = []
        self._chances_of = 0  # a forked child must not have its parent's

    def new(self) -> UUID:
        """A new id, larger than every earlier one of this process."""
        with self._lock:
            # 60 bits: milliseconds and a 12-bit counter, which runs into the milliseconds when it is full.
            self._last = max(self._last + 1, (time.time_ns() // 1_000_000) << 12)
            stamp = self._last
            if not self._chances or self._chances_of != os.getpid():
                self._chances = [value >> 2 for value in struct.unpack("256Q", os.urandom(256 * 8))]
                self._chances_of = os.getpid()
            chance = self._chances.pop()
        return UUID(int=(stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64 | 0b10 << 62 | chance)
