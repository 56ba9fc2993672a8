"""An event as all interfaces show it: its envelope, what it says, and where the bytes beside it are to be had."""

from typing import Any

import msgspec

from application.audit_log import entity_of
from application.read_bytes import PARTS, refs_of
from domain.events import RecordedEvent

Json = dict[str, Any]


def document_of_event(event: RecordedEvent) -> Json:
    """An event as JSON; its bytes, such as the hashes of an embedding's texts, are base64."""
    envelope = event.envelope
    kind, entity_id = entity_of(event)
    return {
        "position": event.position,
        "version": event.version,
        "event": event.fact.stored_name,
        "kind": kind,
        "entity_id": str(entity_id),
        "stream_id": str(event.stream_id),
        "occurred_at": envelope.occurred_at.isoformat(),
        "recorded_at": event.recorded_at.isoformat(),
        "actor": envelope.actor,
        "process": envelope.process,
        "correlation_id": str(envelope.correlation_id),
        "causation_id": None if envelope.causation_id is None else str(envelope.causation_id),
        "facts": msgspec.to_builtins(event.fact),
        "payloads": [
            {
                "part": ref.part,
                "sha256": ref.sha256,
                "size": ref.size,
                "media_type": ref.media_type,
                "href": href_of_bytes(event.stream_id, ref.part, event.version) if ref.part in PARTS else None,
            }
            for ref in refs_of(event)
        ],
    }


def href_of_bytes(call_id: Any, part: str, version: int) -> str:
    """Where the bytes are to be had."""
    return f"/api/calls/{call_id}/bytes/{part}?version={version}"
