"""What happened to one thing, event by event."""

from uuid import UUID

import msgspec

from domain.errors import NotFound, Rejected
from domain.events import RecordedEvent
from infrastructure.event_store.store import PostgresEventStore
from interfaces.study.words import Json, id_of

KINDS = ("call", "group", "dataset", "vectors", "sweep", "artifact", "conversation")


class History:
    """Reads streams of the log."""

    def __init__(self, store: PostgresEventStore) -> None:
        self._store = store

    async def of(self, kind: str, entity_id: UUID | str) -> Json:
        """Every event of one thing, in order, with its decoded fact. Raises NotFound."""
        if kind not in KINDS:
            raise Rejected(f"{kind!r} has no history; use one of {', '.join(KINDS)}", fields=("kind",))
        events = await self._store.read_stream(id_of(entity_id))
        expected = {"vectors": "vectors."}.get(kind, f"{kind}.")
        if not events or not events[0].fact.stored_name.startswith(expected):
            raise NotFound(f"There is no {kind} {entity_id}")
        return {"items": [_event_json(event) for event in events], "next_cursor": None}


def _event_json(event: RecordedEvent) -> Json:
    envelope = event.envelope
    return {
        "position": event.position,
        "version": event.version,
        "event": event.fact.stored_name,
        "occurred_at": envelope.occurred_at.isoformat(),
        "recorded_at": event.recorded_at.isoformat(),
        "actor": envelope.actor,
        "process": envelope.process,
        "correlation_id": str(envelope.correlation_id),
        "causation_id": None if envelope.causation_id is None else str(envelope.causation_id),
        "facts": msgspec.to_builtins(event.fact),
    }
