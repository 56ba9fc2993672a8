"""The log itself, event by event."""

import asyncio
from datetime import datetime
from typing import Any
from uuid import UUID

from application.audit_log import AuditLog, EventFilter
from application.ports import Clock
from infrastructure.event_store.store import PostgresEventStore
from interfaces.as_of import NOW, Moment
from interfaces.event_document import document_of_event
from interfaces.study.moments import Moments
from interfaces.study.words import Json, id_of
from projections.group_links import GROUP_LINKS
from projections.paging import FIRST_PAGE, Paging, checked_limit, cursor_at
from projections.queries import Queries
from projections.raw_calls import RAW_CALLS


class Audit:
    """Every event in order; calls that were never answered."""

    def __init__(
        self, log: AuditLog, store: PostgresEventStore, queries: Queries, moments: Moments, clock: Clock
    ) -> None:
        self._log = log
        self._store = store
        self._queries = queries
        self._moments = moments
        self._clock = clock

    async def events(
        self,
        moment: Moment = NOW,
        page: Paging = FIRST_PAGE,
        *,
        after: int = 0,
        kind: str | None = None,
        event: str | None = None,
        entity: UUID | str | None = None,
        actor: str | None = None,
        process: str | None = None,
        correlation_id: UUID | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Json:
        """Events in order that pass every filter. A page may be short, or empty, while next_cursor still leads on.

        after: a position; events behind it are shown. Raises Rejected, NotFound for what is no id.
        """
        wanted = events_wanted(
            kind=kind,
            event=event,
            entity=entity,
            actor=actor,
            process=process,
            correlation_id=correlation_id,
            since=since,
            until=until,
        )
        position = await self._moments.shown(moment, page, reads=() if entity is None else (GROUP_LINKS.name,))
        after = page.after((after,), position, tuple[int])[0]
        last = await self.end() if position is None else position
        found = await self._log.page(wanted, after=after, until=last, limit=checked_limit(page.limit))
        return {
            "items": [document_of_event(each) for each in found.events],
            "next_cursor": None if found.at_end else cursor_at((found.looked_to,), position),
            "looked_to": found.looked_to,
        }

    async def end(self) -> int:
        """The log's last position now."""
        return await asyncio.to_thread(self._store.last_position)

    async def unanswered(self, moment: Moment = NOW, page: Paging = FIRST_PAGE) -> Json:
        """Calls that never got an answer, newest first: under way, in doubt, or cancelled; `age_s` is until now."""
        position = await self._moments.shown(moment, page, reads=(RAW_CALLS.name,))
        found = await self._queries.calls.unanswered(as_of=position, page=page)
        now = self._clock.now()
        for call in found["items"]:
            call["age_s"] = round((now - datetime.fromisoformat(call["created_at"])).total_seconds(), 3)
        return found


def events_wanted(*, entity: UUID | str | None = None, **filters: Any) -> EventFilter:
    """A filter as people write it. Raises NotFound for what is no id."""
    return EventFilter(entity=None if entity is None else id_of(entity), **filters)
