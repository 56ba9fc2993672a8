"""The log as it grows, for whoever follows it."""

import asyncio
from collections.abc import AsyncIterator
from functools import cached_property
from uuid import UUID

import msgspec

from application.audit_log import EventFilter
from application.follow_log import LogTail, Seen
from domain.errors import Rejected
from domain.events import RecordedEvent
from infrastructure.event_store.store import PostgresEventStore
from interfaces.event_document import document_of_event
from interfaces.study.words import Json

IDLE_SECONDS = 15.0


class LoggedEvent:
    """An event as it is shown, made only once however many readers there are."""

    def __init__(self, event: RecordedEvent) -> None:
        self.position = event.position
        self.name = event.fact.stored_name
        self._event = event

    @cached_property
    def document(self) -> Json:
        """As lists of events show it."""
        return document_of_event(self._event)

    @cached_property
    def json(self) -> bytes:
        """The document as one line."""
        return msgspec.json.encode(self.document)


class Live:
    """Every new event, for readers that stay."""

    def __init__(self, tail: LogTail[LoggedEvent], store: PostgresEventStore) -> None:
        self._tail = tail
        self._store = store

    @property
    def readers(self) -> int:
        """How many follow the log in this process."""
        return self._tail.readers

    async def start(self, after: int | None, wanted: EventFilter) -> int:
        """Where following begins: behind a position, else at a time that is asked for, else at the log's end.

        Raises Rejected for a position after the end, TooMany when there is no room for another reader.
        """
        self._tail.check_room()
        if after is None and wanted.since is not None:
            return 0
        last = await asyncio.to_thread(self._store.last_position)
        if after is not None and after > last:
            raise Rejected(
                f"after: {after} is after the end of the log, which is at position {last}; "
                "leave it away to begin with what comes next",
                fields=("after",),
            )
        return last if after is None else after

    def follow(self, wanted: EventFilter, *, after: int) -> AsyncIterator[Seen[LoggedEvent]]:
        """Events behind a position that pass, as they come; see LogTail."""
        return self._tail.follow(wanted, after=after, idle_seconds=IDLE_SECONDS)

    def wake(self) -> None:
        """There are new events; may be told from any thread."""
        self._tail.wake()

    def end(self, reason: str) -> None:
        """Tell all readers that nothing more comes, and why."""
        self._tail.end(reason)


def filter_of(*, entity: UUID | None = None, **filters: object) -> EventFilter:
    """Which events are wanted. Raises Rejected for a kind or a name that no event has."""
    wanted = EventFilter(entity=entity, **filters)  # type: ignore[arg-type]
    wanted.names()
    return wanted
