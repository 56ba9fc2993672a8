"""How much each token may ask for: so many requests a second, and so many at a time."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from msgspec import Struct

from application.check_tokens import Caller
from domain.errors import TooMany

REMEMBERED = 10_000  # tokens; those that ask for nothing just now are forgotten first
WAIT_FOR_A_PLACE_SECONDS = 1.0


class _Spending(Struct):
    """What a token has left of its bucket, and what it has under way."""

    left: float
    at: float
    under_way: int = 0


class Limits:
    """A bucket and a number of places for each token.

    rate: requests a second that the bucket is filled with, up to `burst`; 0 for no limit
    places: requests under way at a time; 0 for no limit
    workers: how many processes share the limits; each grants its part, so that all together grant about the whole
    """

    def __init__(
        self, *, rate: float, burst: int, places: int, workers: int = 1, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = rate / workers
        self._burst = max(1.0, burst / workers)
        self._places = -(-places // workers)
        self._clock = clock
        self._spending: dict[str, _Spending] = {}

    @contextmanager
    def place(self, caller: Caller) -> Iterator[None]:
        """A place for one request, for as long as the block runs. Raises TooMany."""
        if not caller.limited:
            yield
            return
        spending = self._of(caller.name)
        self._spend(caller, spending)
        spending.under_way += 1
        try:
            yield
        finally:
            spending.under_way -= 1

    def _of(self, name: str) -> _Spending:
        spending = self._spending.get(name)
        if spending is None:
            if len(self._spending) >= REMEMBERED:
                self._spending = {name: each for name, each in self._spending.items() if each.under_way}
            spending = self._spending[name] = _Spending(self._burst, self._clock())
        return spending

    def _spend(self, caller: Caller, spending: _Spending) -> None:
        if self._places and spending.under_way >= self._places:
            raise TooMany(
                f"The token {caller.name!r} has {spending.under_way} requests under way, which is the most that "
                "STUDY_TOKEN_CONCURRENCY allows; wait for one of them to end",
                retry_after_seconds=WAIT_FOR_A_PLACE_SECONDS,
            )
        if not self._rate:
            return
        now = self._clock()
        spending.left = min(self._burst, spending.left + (now - spending.at) * self._rate)
        spending.at = now
        if spending.left < 1:
            raise TooMany(
                f"The token {caller.name!r} has made more requests than STUDY_TOKEN_RATE allows, "
                f"{self._rate:g} a second here; ask more slowly",
                retry_after_seconds=(1 - spending.left) / self._rate,
            )
        spending.left -= 1
