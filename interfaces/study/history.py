"""What happened to one thing, event by event."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from application.audit_log import AuditLog, EventFilter
from domain.errors import NotFound, Rejected
from domain.events import RecordedEvent
from infrastructure.event_store.store import PostgresEventStore
from interfaces.event_document import document_of_event
from interfaces.study.words import Json, id_of
from projections.paging import cursor_at

KINDS = ("call", "group", "dataset", "vectors", "sweep", "artifact", "conversation")
MOST_EVENTS = 10_000


class History:
    """Reads streams of the log."""

    def __init__(self, store: PostgresEventStore, audit_log: AuditLog) -> None:
        self._store = store
        self._audit_log = audit_log

    async def of(self, kind: str, entity_id: UUID | str) -> Json:
        """Every event of one thing, in order, with its decoded fact. Raises NotFound.

        Of a group the first 10,000; with next_cursor `study events --entity` goes on.
        """
        if kind not in KINDS:
            raise Rejected(f"{kind!r} has no history; use one of {', '.join(KINDS)}", fields=("kind",))
        events: Sequence[RecordedEvent] = await self._store.read_stream(id_of(entity_id))
        expected = {"vectors": "vectors."}.get(kind, f"{kind}.")
        if not events or not events[0].fact.stored_name.startswith(expected):
            raise NotFound(f"There is no {kind} {entity_id}")
        cursor = None
        if kind == "group":  # whose members and links lie in streams of their own
            last = await asyncio.to_thread(self._store.last_position)
            wanted = EventFilter(entity=id_of(entity_id))
            page = await self._audit_log.page(wanted, after=0, until=last, limit=MOST_EVENTS)
            events, cursor = page.events, None if page.at_end else cursor_at((page.looked_to,), None)
        return {"items": [document_of_event(event) for event in events], "next_cursor": cursor}
