"""What every event is made of: a fact, the envelope it came in, and its place in the one total order.

A fact is stored under an explicit short name with its version (`call.requested.v1`), never under a module path: files
may move, history may not.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from msgspec import Struct

from domain.errors import StudyError


class UnknownStoredName(StudyError):
    """An event is stored under a name this version does not know."""


class Fact(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that happened, in the past tense. Subclasses are registered by `stored_as`."""

    stored_name: ClassVar[str]


class Envelope(Struct, frozen=True, array_like=True):
    """Who, when and why. Part of every event's stored bytes since the first version."""

    occurred_at: datetime  # UTC; imports keep the original time
    actor: str  # token name, operating-system user or process
    process: str  # the writing process, as its keeper names it
    correlation_id: UUID  # the command that all of this belongs to
    causation_id: UUID | None = None  # the stream whose event led to this one


class PayloadRef(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a body lies (beside the event, under `part`) and what it must hash to."""

    part: str
    sha256: str
    size: int
    media_type: str
    is_json: bool = False


class RecordedEvent(Struct, frozen=True, kw_only=True):
    """An event as read back from the store."""

    position: int
    stream_id: UUID
    version: int
    recorded_at: datetime
    envelope: Envelope
    fact: Fact


FACT_TYPES: dict[str, type[Fact]] = {}

F = TypeVar("F", bound=type[Fact])


def stored_as(name: str) -> Callable[[F], F]:
    """Register a fact under its stored name; a name is given once and for ever."""

    def register(fact_type: F) -> F:
        if name in FACT_TYPES:
            raise ValueError(f"{name} already names {FACT_TYPES[name].__qualname__}")
        fact_type.stored_name = name
        FACT_TYPES[name] = fact_type
        return fact_type

    return register


def fact_type(stored_name: str) -> type[Fact]:
    """The type stored under a name. Raises UnknownStoredName."""
    try:
        return FACT_TYPES[stored_name]
    except KeyError:
        raise UnknownStoredName(
            f"The store holds an event named {stored_name!r}, which this version does not know; "
            "open it with the version that wrote it, or a later one"
        ) from None


def stored_names(*fact_types: type[Fact]) -> tuple[str, ...]:
    """The stored names of some fact types, for selecting them."""
    return tuple(each.stored_name for each in fact_types)


Metadata = dict[str, Any]
