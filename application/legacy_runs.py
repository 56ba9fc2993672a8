"""The table of an older notebook, `inference_runs`, as it is read: row by row, and nothing is written to it."""

from collections.abc import Generator, Sequence
from typing import Any, Protocol

from msgspec import Struct


class LegacyRun(Struct, frozen=True, kw_only=True, gc=False):
    """One row as its database gives it: of any type, and None where there is no such column.

    mended: columns whose bytes were no UTF-8; what could not be read stands as U+FFFD
    """

    id: Any
    prompt: Any = None
    response: Any = None
    provider: Any = None
    tokens: Any = None
    latency_ms: Any = None
    metadata: Any = None
    batch_id: Any = None
    created_at: Any = None
    mended: tuple[str, ...] = ()


class LegacyRuns(Protocol):
    """An open legacy database, as it stood when it was opened."""

    @property
    def name(self) -> str:
        """What people know it by, without a password."""

    def count(self) -> int:
        """How many rows there are. Raises Unavailable."""

    def chunks(self, rows: int) -> Generator[Sequence[LegacyRun]]:
        """All rows by their id, at most so many at a time, and some megabytes. Raises Unavailable."""

    def close(self) -> None:
        """Let go of it."""


class OpensLegacyRuns(Protocol):
    """Finds legacy databases."""

    def open(self, url: str | None) -> LegacyRuns:
        """The one at a URL, or that of the settings. Raises Rejected for no usable URL or table, Unavailable."""
