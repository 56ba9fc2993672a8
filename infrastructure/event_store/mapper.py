"""Between facts and stored bytes: MessagePack under an explicit stored name."""

from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

import msgspec
from eventsourcing.persistence import Mapper, StoredEvent

from application.ports import NewEvent
from domain.errors import Rejected
from domain.events import FACTS, Envelope, Fact, FactRegistry, RecordedEvent
from domain.nesting import check_depth

Decode = Callable[[bytes], tuple[Envelope, Fact]]

_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")


@cache
def _nesting(fact_type: type[Fact]) -> tuple[str, ...]:
    """The fields of a fact that hold whatever somebody gave."""
    return tuple(field.name for field in msgspec.structs.fields(fact_type) if "Any" in str(field.type))


class FactMapper(Mapper[UUID]):
    """The library's mapper, with our names in place of module paths and one struct decoder a name.

    Who reads sees the newest version of every fact; only the bytes of earlier ones pay for that.
    """

    def __init__(self, facts: FactRegistry = FACTS) -> None:
        self._facts = facts
        self._decoders: dict[str, Decode] = {}

    def stored_names(self, *fact_types: type[Fact]) -> tuple[str, ...]:
        """Every name under which facts of these types may be stored."""
        return self._facts.stored_names(*fact_types)

    def encode(self, event: NewEvent) -> bytes:
        """The state of an event as it is stored: the pair of its envelope and its fact.

        Raises Rejected for what metadata can't hold: numbers beyond 64 bits, half a character, or lists without end.
        """
        for name in _nesting(type(event.fact)):
            check_depth(getattr(event.fact, name))
        try:
            return _encoder.encode((event.envelope, event.fact))
        except OverflowError:
            raise Rejected("A whole number is beyond 64 bits; write it as text") from None
        except UnicodeEncodeError as error:
            raise Rejected(f"{error.object[error.start]!r} is half a character, which can't be stored") from None
        except RecursionError:
            raise Rejected("Objects or lists are nested too deeply to be stored") from None

    def to_stored_event(self, domain_event: NewEvent) -> StoredEvent:  # type: ignore[override]
        """An event as the library stores it."""
        return StoredEvent(
            domain_event.stream_id,
            domain_event.version,
            domain_event.fact.stored_name,
            self.encode(domain_event),
        )

    def to_domain_event(self, stored_event: StoredEvent) -> Fact:  # type: ignore[override]
        """Decode the fact alone. Raises UnknownStoredName."""
        return self.decode(stored_event.topic, stored_event.state)[1]

    def to_recorded_event(
        self, stream_id: UUID, version: int, topic: str, state: bytes, position: int, recorded_at: datetime
    ) -> RecordedEvent:
        """Decode one row of the log. Raises UnknownStoredName."""
        envelope, fact = self.decode(topic, state)
        return RecordedEvent(
            position=position,
            stream_id=stream_id,
            version=version,
            recorded_at=recorded_at,
            envelope=envelope,
            fact=fact,
        )

    def decode(self, topic: str, state: bytes) -> tuple[Envelope, Fact]:
        """Decode stored bytes. Raises UnknownStoredName."""
        decode = self._decoders.get(topic)
        if decode is None:
            decode = self._decoders[topic] = self._decoder(topic)
        return decode(state)

    def _decoder(self, topic: str) -> Decode:
        decoder: msgspec.msgpack.Decoder[tuple[Envelope, Any]]
        decoder = msgspec.msgpack.Decoder(tuple[Envelope, self._facts.decoded_as(topic)])  # type: ignore[misc]
        upcasts = [retired.upcast for retired in self._facts.upcasts(topic)]
        if not upcasts:
            return decoder.decode

        def decode_and_upcast(state: bytes) -> tuple[Envelope, Fact]:
            envelope, fact = decoder.decode(state)
            for upcast in upcasts:
                fact = upcast(fact)
            return envelope, fact

        return decode_and_upcast
