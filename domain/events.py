"""What every event is made of: a fact, the envelope it came in, and its place in the one total order.

A fact is stored under an explicit short name with its version (`call.requested.v1`), never under a module path: files
may move, history may not.
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from msgspec import Struct

from domain.errors import StudyError


class UnknownStoredName(StudyError):
    """An event is stored under a name this version does not know."""


class Fact(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Something that happened, in the past tense. Subclasses are registered by `stored_as`.

    Facts and what they are made of hold no cycles, so the garbage collector, which would take half the time of a
    replay to find that out, is told not to look (`gc=False`).
    """

    stored_name: ClassVar[str]


class RetiredFact(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An earlier version of a fact, read for ever and never written. Subclasses are registered by `retired_as`."""

    stored_name: ClassVar[str]

    def upcast(self) -> "Fact | RetiredFact":
        """The same as the next version would have said it: a pure function of the fields."""
        raise NotImplementedError


class Envelope(Struct, frozen=True, array_like=True, gc=False):
    """Who, when and why. Part of every event's stored bytes since the first version."""

    occurred_at: datetime  # UTC; imports keep the original time
    actor: str  # token name, operating-system user or process
    process: str  # the writing process, as its keeper names it
    correlation_id: UUID  # the command that all of this belongs to
    causation_id: UUID | None = None  # the stream whose event led to this one


class PayloadRef(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Where a body lies (beside the event, under `part`) and what it must hash to."""

    part: str
    sha256: str
    size: int
    media_type: str
    is_json: bool = False


class RecordedEvent(Struct, frozen=True, kw_only=True, gc=False):
    """An event as read back from the store."""

    position: int
    stream_id: UUID
    version: int
    recorded_at: datetime
    envelope: Envelope
    fact: Fact


F = TypeVar("F", bound=type[Fact])
R = TypeVar("R", bound=type[RetiredFact])

NUMBERED = re.compile(r"(.+\.v)([1-9][0-9]*)")


class FactRegistry:
    """What every stored name means: a fact as it is written now, or an earlier version of one.

    Of each fact one version is written, and the earlier ones lead to it, each to the next. That holds at every
    registration, so that a chain with a gap or a circle fails at import.
    """

    def __init__(self) -> None:
        self.current: dict[str, type[Fact]] = {}
        self.retired: dict[str, type[RetiredFact]] = {}

    def stored_as(self, name: str) -> Callable[[F], F]:
        """Register a fact under its stored name; a name is given once and for ever."""
        self._check_free(name)
        thing, _ = _numbered(name)
        for other in self.current:
            if _numbered(other)[0] == thing:
                raise ValueError(f"{name}: {other} is current already; register the older of the two by `retired_as`")

        def register(fact_type: F) -> F:
            fact_type.stored_name = name
            self.current[name] = fact_type
            return fact_type

        return register

    def retired_as(self, name: str) -> Callable[[R], R]:
        """Register an earlier version, below the next one, which its `upcast` returns."""
        self._check_free(name)
        if self._next(name) not in {*self.current, *self.retired}:
            raise ValueError(f"{name}: register {self._next(name)}, to which it leads, first")

        def register(retired_type: R) -> R:
            retired_type.stored_name = name
            self.retired[name] = retired_type
            return retired_type

        return register

    def upcasts(self, name: str) -> tuple[type[RetiredFact], ...]:
        """The earlier versions that lead from a stored name to the newest, oldest first; none for a current one."""
        chain: list[type[RetiredFact]] = []
        while name in self.retired:
            chain.append(self.retired[name])
            name = self._next(name)
        return tuple(chain)

    def stored_names(self, *fact_types: type[Fact]) -> tuple[str, ...]:
        """Every name under which facts of these types may be stored, for selecting them."""
        things = {_numbered(each.stored_name)[0] for each in fact_types}
        return tuple(sorted(name for name in {*self.current, *self.retired} if _numbered(name)[0] in things))

    def decoded_as(self, name: str) -> type[Fact] | type[RetiredFact]:
        """The type whose bytes are stored under a name. Raises UnknownStoredName."""
        found = self.current.get(name) or self.retired.get(name)
        if found is None:
            raise UnknownStoredName(
                f"The store holds an event named {name!r}, which this version does not know; "
                "open it with the version that wrote it, or a later one"
            )
        return found

    def _check_free(self, name: str) -> None:
        if name in self.current or name in self.retired:
            raise ValueError(f"{name} already names {self.decoded_as(name).__qualname__}")

    def _next(self, name: str) -> str:
        thing, number = _numbered(name)
        return f"{thing}{number + 1}"


def _numbered(name: str) -> tuple[str, int]:
    """`call.requested.v1` as `call.requested.v` and 1."""
    parts = NUMBERED.fullmatch(name)
    if parts is None:
        raise ValueError(f"{name!r} is no stored name; write thing.happened.v1")
    return parts[1], int(parts[2])


FACTS = FactRegistry()
stored_as = FACTS.stored_as
retired_as = FACTS.retired_as


Metadata = dict[str, Any]
