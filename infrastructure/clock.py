"""The real time and new ids."""

import asyncio
import os
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

    def new(self) -> UUID:
        """A new id, larger than every earlier one of this process."""
        with self._lock:
            # 60 bits: milliseconds and a 12-bit counter, which runs into the milliseconds when it is full.
            self._last = max(self._last + 1, (time.time_ns() // 1_000_000) << 12)
            stamp = self._last
        chance = int.from_bytes(os.urandom(8)) & ((1 << 62) - 1)
        return UUID(int=(stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64 | 0b10 << 62 | chance)
