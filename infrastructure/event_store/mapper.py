"""Between facts and stored bytes: MessagePack under an explicit stored name."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from eventsourcing.persistence import Mapper, StoredEvent

from application.ports import NewEvent
from domain.events import Envelope, Fact, RecordedEvent, fact_type

_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")


class FactMapper(Mapper[UUID]):
    """The library's mapper, with our names in place of module paths and one struct decoder a name."""

    def __init__(self) -> None:
        self._decoders: dict[str, msgspec.msgpack.Decoder[tuple[Envelope, Any]]] = {}

    def to_stored_event(self, domain_event: NewEvent) -> StoredEvent:  # type: ignore[override]
        """Encode an event: the state is the pair of its envelope and its fact."""
        return StoredEvent(
            domain_event.stream_id,
            domain_event.version,
            domain_event.fact.stored_name,
            _encoder.encode((domain_event.envelope, domain_event.fact)),
        )

    def to_domain_event(self, stored_event: StoredEvent) -> Fact:  # type: ignore[override]
        """Decode the fact alone. Raises UnknownStoredName."""
        return self._decode(stored_event.topic, stored_event.state)[1]

    def to_recorded_event(
        self, stream_id: UUID, version: int, topic: str, state: bytes, position: int, recorded_at: datetime
    ) -> RecordedEvent:
        """Decode one row of the log. Raises UnknownStoredName."""
        envelope, fact = self._decode(topic, state)
        return RecordedEvent(
            position=position,
            stream_id=stream_id,
            version=version,
            recorded_at=recorded_at,
            envelope=envelope,
            fact=fact,
        )

    def _decode(self, topic: str, state: bytes) -> tuple[Envelope, Fact]:
        decoder = self._decoders.get(topic)
        if decoder is None:
            decoder = msgspec.msgpack.Decoder(tuple[Envelope, fact_type(topic)])  # type: ignore[misc]
            self._decoders[topic] = decoder
        return decoder.decode(state)
