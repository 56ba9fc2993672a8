"""How far a sweep is, as it is told to whoever waits for it."""

from collections.abc import Callable, Sequence
from typing import Protocol

from domain.sweep_pace import remaining_seconds


class Progress(Protocol):
    """Is called whenever there is news: at once, from the event loop, and often."""

    def __call__(self, stage: str, done: int, total: int, /, *, remaining_s: float | None = None) -> None:
        """So many of a stage are done; `remaining_s` where it is known better than by their number."""


def untold(_stage: str, _done: int, _total: int, /, *, remaining_s: float | None = None) -> None:
    """Nobody listens."""


class StepsProgress:
    """Tells of finished steps, and how long the others will take."""

    def __init__(self, told: Progress, wanted: Sequence[int], *, at_once: int, monotonic: Callable[[], float]) -> None:
        self._told = told
        self._wanted = wanted
        self._at_once = at_once
        self._monotonic = monotonic
        self._durations_s: dict[int, float] = {}
        self._last_at = monotonic()

    def finished(self, k: int, duration_s: float) -> None:
        """A step took so long."""
        self._durations_s[k] = duration_s
        self._last_at = self._monotonic()

    def tell(self, done: Sequence[int]) -> None:
        """Say how far it is, as of now. done: the K of all finished steps, of earlier runs too."""
        missing = [k for k in self._wanted if k not in done]
        remaining_s = remaining_seconds(
            self._durations_s, missing, at_once=self._at_once, since_s=self._monotonic() - self._last_at
        )
        self._told("clustering", len(self._wanted) - len(missing), len(self._wanted), remaining_s=remaining_s)
