"""Where steps are computed: a port, since that may be this process or many machines."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

LOCAL = "local"


class Compute(Protocol):
    """Runs pure functions; the same function of the same arguments gives the same bits wherever it runs."""

    @property
    def at_once(self) -> int:
        """How many functions it can run at a time; who gives it more at a time than that holds others up."""

    async def share(self, value: T) -> T:
        """Put a value where functions run, once; what is returned stands for it among the arguments of `run`."""

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a pure function and return its result, or raise what it raises.

        Raises Unavailable when it can't be run now. When the caller is cancelled, a function that has begun may go on
        to its end; nobody sees its result.
        """


class Computes(Protocol):
    """The places there are to compute."""

    def at(self, place: str) -> AbstractAsyncContextManager[Compute]:
        """A place, for as long as the block runs: `local`, or a scheduler's address. Raises Rejected, Unavailable."""
