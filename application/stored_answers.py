"""What a call came to, as the log tells it: for whoever asked the same."""

from uuid import UUID

import msgspec
import numpy as np

from application.call_provider import CompletedCall
from application.ports import EventStore
from application.providers import ProviderAnswer
from domain.calls import CallAnswered, CallCancelled, CallFailed, text_at
from domain.events import RecordedEvent

ENDS = (CallAnswered, CallFailed, CallCancelled)


async def end_of(store: EventStore, call_id: UUID) -> RecordedEvent | None:
    """How a call ended; None for one that has not, though it may be in doubt. Raises Unavailable."""
    events = await store.read_stream(call_id)
    return next((event for event in events if isinstance(event.fact, ENDS)), None)


async def stored_answer(store: EventStore, event: RecordedEvent, fact: CallAnswered) -> CompletedCall:
    """An answered call with its answer, bodies included."""
    body, vectors = b"", None
    shown = fact.completion or fact.response
    payload = await store.read_payload(event.stream_id, event.version, shown.part)
    if payload is not None:
        body = payload.body or b""
        if payload.vectors is not None and fact.vectors is not None:
            vectors = np.frombuffer(payload.vectors, dtype="<f4").astype(np.float32)
            vectors = vectors.reshape(fact.vectors.count, fact.vectors.dimension)
    answer = ProviderAnswer(
        body=body,
        media_type=shown.media_type,
        http_status=fact.http_status,
        headers=fact.headers,
        model=fact.served_model,
        tokens=fact.tokens,
        latency_ms=fact.latency_ms or 0.0,
        text=None if fact.text_path is None else text_at(msgspec.json.decode(body), fact.text_path),
        text_path=fact.text_path,
        finish_reason=fact.finish_reason,
        vectors=vectors,
    )
    return CompletedCall(
        call_id=event.stream_id,
        answer=answer,
        attempts=fact.attempt,
        total_ms=fact.total_ms,
        position=event.position,
        cost=fact.cost,
    )
