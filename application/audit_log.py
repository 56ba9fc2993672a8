"""Look through the log: every event in order, or of one thing, that passes a filter; a bounded look at a time.

Who, when and what was said lies inside an event's bytes, which are decoded on the way; only its name and its place can
be looked for by the database. So a page looks at so many positions at most: it may be short, even empty, and still not
be the last one.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from msgspec import Struct

from domain.errors import Rejected
from domain.events import FACTS, FactRegistry, RecordedEvent

LOOKED_AT = 20_000  # positions, for one page
CHUNK = 2_000  # events, decoded at once
SHORTEST = timedelta(microseconds=1)


class EventFilter(Struct, frozen=True, kw_only=True):
    """Which events are asked for; None leaves a filter out.

    kind: what the event is about, such as `call`; event: its stored name, with or without the version
    since, until: of the time of recording, which never decreases along the log; until is exclusive
    """

    kind: str | None = None
    event: str | None = None
    entity: UUID | None = None
    actor: str | None = None
    process: str | None = None
    correlation_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None

    def names(self, facts: FactRegistry = FACTS) -> tuple[str, ...] | None:
        """The stored names that pass, None for all. Raises Rejected for what no event is called."""
        if self.kind is None and self.event is None:
            return None
        known = (*facts.current, *facts.retired)
        if self.kind is not None and not any(kind_of(name) == self.kind for name in known):
            kinds = ", ".join(sorted({kind_of(name) for name in known}))
            raise Rejected(f"There are no events of a {self.kind[:40]!r}; there are those of {kinds}", fields=("kind",))
        if self.event is not None and not any(_named(name, self.event) for name in known):
            raise Rejected(
                f"No event is called {self.event[:60]!r}; names look like call.answered or call.answered.v1, and "
                "docs/reference/events.md lists them",
                fields=("event",),
            )
        return tuple(
            sorted(
                name
                for name in known
                if (self.kind is None or kind_of(name) == self.kind)
                and (self.event is None or _named(name, self.event))
            )
        )

    def current_names(self) -> set[str] | None:
        """The names under which facts that pass are read; None for all. Raises Rejected."""
        names = self.names()
        return None if names is None else _current(names)

    def passes(self, event: RecordedEvent) -> bool:
        """Whether an event's envelope is one that is asked for."""
        envelope = event.envelope
        return (
            (self.actor is None or envelope.actor == self.actor)
            and (self.process is None or envelope.process == self.process)
            and (self.correlation_id is None or envelope.correlation_id == self.correlation_id)
        )


class EventPage(Struct, frozen=True, kw_only=True):
    """Events in order. The log was looked at up to `looked_to`; `at_end` says that nothing is left there."""

    events: tuple[RecordedEvent, ...]
    looked_to: int
    at_end: bool


class LogToLookThrough(Protocol):
    """The log, as an audit reads it."""

    def last_position(self) -> int:
        """The newest position, 0 for an empty log."""

    async def position_at(self, moment: datetime) -> int:
        """The last position recorded at or before a moment."""

    async def look(
        self, *, after: int, until: int, limit: int, names: Sequence[str] | None = None
    ) -> list[RecordedEvent]:
        """At most `limit` events with a position in (after, until], in order, of these stored names."""

    async def look_at(
        self, stream_id: UUID, positions: Sequence[int], *, after: int, until: int, limit: int
    ) -> list[RecordedEvent]:
        """The same, of one stream and of some positions besides."""


class EventsAbout(Protocol):
    """Which events of other streams are about a thing: what joined a group, and where a group is linked."""

    async def positions_about(self, entity_id: UUID, *, after: int, until: int, limit: int) -> list[int]:
        """Their positions in (after, until], in order, at most `limit`."""


class AuditLog:
    """Looks through the log."""

    def __init__(self, log: LogToLookThrough, about: EventsAbout) -> None:
        self._log = log
        self._about = about

    async def page(self, wanted: EventFilter, *, after: int, until: int, limit: int) -> EventPage:
        """At most `limit` events behind a position, up to another. Raises Rejected."""
        names = wanted.names()
        if wanted.since is not None:
            after = max(after, await self._log.position_at(wanted.since - SHORTEST))
        if wanted.until is not None:
            until = min(until, await self._log.position_at(wanted.until - SHORTEST))
        bound = until if wanted.entity is not None else min(until, after + LOOKED_AT)
        read_as = wanted.current_names()
        found: list[RecordedEvent] = []
        seen = 0
        # A page with no filter on what must be decoded needs no more than it shows, and one to know that it isn't all.
        chunk = CHUNK if (wanted.actor, wanted.process, wanted.correlation_id) != (None, None, None) else limit + 1
        while after < bound and seen < LOOKED_AT:
            events = await self._chunk(wanted, names, after, bound, chunk)
            for event in events:
                if len(found) == limit:
                    return EventPage(events=tuple(found), looked_to=after, at_end=False)
                after = event.position
                if wanted.passes(event) and (read_as is None or event.fact.stored_name in read_as):
                    found.append(event)
            seen += len(events)
            if len(events) < chunk:
                after = bound
        return EventPage(events=tuple(found), looked_to=after, at_end=after >= until)

    async def _chunk(
        self, wanted: EventFilter, names: tuple[str, ...] | None, after: int, until: int, limit: int
    ) -> list[RecordedEvent]:
        if wanted.entity is None:
            return await self._log.look(after=after, until=until, limit=limit, names=names)
        about = await self._about.positions_about(wanted.entity, after=after, until=until, limit=limit)
        return await self._log.look_at(wanted.entity, about, after=after, until=until, limit=limit)


def kind_of(stored_name: str) -> str:
    """What an event of this name is about: `call` for call.answered.v1."""
    return stored_name.partition(".")[0]


def entity_of(event: RecordedEvent) -> tuple[str, UUID]:
    """The kind and the id of the thing that an event is about, which for members and links is not its stream."""
    kind = kind_of(event.fact.stored_name)
    if kind == "group":
        for name in ("group_id", "parent_group_id"):
            group_id = getattr(event.fact, name, None)
            if isinstance(group_id, UUID):
                return kind, group_id
    return kind, event.stream_id


def _named(stored_name: str, asked: str) -> bool:
    return asked in (stored_name, stored_name.rpartition(".v")[0])


def _current(names: tuple[str, ...]) -> set[str]:
    """The names under which facts stored under these are read: a retired version is read as the newest one."""
    things = {name.rpartition(".v")[0] for name in names}
    return {name for name in FACTS.current if name.rpartition(".v")[0] in things}
