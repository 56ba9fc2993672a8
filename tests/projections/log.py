"""A real log for tests of read models: facts go in, pages come out."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import psycopg
from msgspec.structs import replace

from application.ports import Append, NewEvent, Payload
from domain.calls import (
    AttemptError,
    CallAnswered,
    CallAttemptFailed,
    CallCancelled,
    CallFailed,
    CallRequested,
    Tokens,
    VectorBlock,
)
from domain.events import FACTS, Envelope, Fact, FactRegistry, RecordedEvent
from domain.pricing import Charge
from infrastructure.event_store.datastore import Datastore
from infrastructure.event_store.mapper import FactMapper
from infrastructure.event_store.recorder import Recorder
from tests.support.facts import PRICE

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PROCESS = "00000000000000a1"
REQUEST = Payload(
    part="request",
    body=b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Name three primes"}]}',
    media_type="application/json",
    is_json=True,
)
RESPONSE = Payload(
    part="response",
    body=b'{"choices":[{"message":{"content":"2, 3 and 5 are \\"prime\\""}}]}',
    media_type="application/json",
    is_json=True,
)
STREAM = Payload(part="response", body=b'data: {"choices": [{"delta"', media_type="text/event-stream")
COMPLETION = Payload(
    part="completion",
    body=b'{"choices":[{"message":{"content":"2, 3 and"}}]}',
    media_type="application/json",
    is_json=True,
)
SERVER_ERROR = AttemptError(kind="server_error", message="try later", transient=True, http_status=500)


class Log:
    """Appends facts to the next versions of their streams; implements EventPages."""

    def __init__(self, uri: str, facts: FactRegistry = FACTS) -> None:
        self.recorder = Recorder(Datastore(uri, pool_size=3), FactMapper(facts))
        self.connection = psycopg.connect(uri, autocommit=True)
        self.versions: dict[UUID, int] = {}
        self.at = NOON
        self.pages_read = 0
        self.written = 0

    def occurred_at(self) -> datetime:
        """When the next event happens."""
        self.at += timedelta(seconds=1)
        return self.at

    def write(self, stream_id: UUID, *facts: Fact, payloads: Sequence[Payload] = ()) -> int:
        """Append facts, bodies beside the first of them; each happens a second later than the one before."""
        return self.write_all([(stream_id, fact, payloads if number == 0 else ()) for number, fact in enumerate(facts)])

    def write_all(self, entries: Sequence[tuple[UUID, Fact, Sequence[Payload]]]) -> int:
        """Append many in one transaction and return the last position."""
        events = []
        for stream_id, fact, payloads in entries:
            version = self.versions[stream_id] = self.versions.get(stream_id, 0) + 1
            events.append(
                NewEvent(
                    stream_id=stream_id,
                    version=version,
                    fact=fact,
                    envelope=Envelope(self.occurred_at(), "ada", PROCESS, UUID(int=7)),
                    payloads=tuple(payloads),
                )
            )
        encoded = self.recorder.encode(Append(events=tuple(events)))
        (position,) = self.recorder.insert_appends(self.connection, [encoded], process=1)
        assert isinstance(position, int)
        self.written = position
        return position

    def page(self, *, after: int, limit: int, until: int | None = None) -> list[RecordedEvent]:
        self.pages_read += 1
        return self.recorder.page(after=after, limit=limit, until=until)

    def last_position(self) -> int:
        return self.recorder.last_position()

    def close(self) -> None:
        self.connection.close()
        self.recorder.datastore.close()


def requested(*, modality: str = "text", provider: str = "openai", model: str = "gpt-4o-mini", **more: object) -> Fact:
    return CallRequested(
        modality=modality,  # type: ignore[arg-type]
        provider=provider,
        endpoint="https://api.openai.com/v1",
        model=model,
        operation="embeddings" if modality == "embedding" else "chat",
        request=REQUEST.ref(),
        request_hash="ab" * 32,
        max_attempts=3,
        attempt_timeout_seconds=60.0,
        **more,  # type: ignore[arg-type]
    )


def answered(*, attempt: int = 1, response: Payload = RESPONSE, vectors: VectorBlock | None = None) -> CallAnswered:
    return CallAnswered(
        attempt=attempt,
        latency_ms=210.25,
        total_ms=250.5,
        tokens=Tokens(prompt=10, completion=5, total=15),
        response=response.ref(),
        served_model="gpt-4o-mini-2024-07-18",
        http_status=200,
        finish_reason="stop",
        text_path=("choices", "0", "message", "content") if vectors is None else None,
        vectors=vectors,
        charge=Charge(price=PRICE, cost=Decimal("0.0000045000")),
    )


def attempt_failed(attempt: int = 1) -> CallAttemptFailed:
    return CallAttemptFailed(attempt=attempt, error=SERVER_ERROR, latency_ms=12.5, waits_seconds=1.0)


def streamed(*, attempt: int = 1) -> CallAnswered:
    """An answer that came as a stream; its bodies are STREAM and COMPLETION."""
    return replace(
        answered(attempt=attempt, response=STREAM),
        completion=COMPLETION.ref(),
        first_token_ms=20.5,
        tokens_per_second=21.25,
    )


def broke_off(attempt: int = 1) -> CallAttemptFailed:
    """A stream that broke; its bodies are STREAM and COMPLETION."""
    return replace(
        attempt_failed(attempt),
        waits_seconds=None,
        response=STREAM.ref(),
        completion=COMPLETION.ref(),
        first_token_ms=4.5,
    )


def left(attempts: int = 1, *, streamed: bool = False) -> CallCancelled:
    """A call whose caller left, perhaps in the middle of a stream."""
    fact = CallCancelled(attempts=attempts, reason="left", total_ms=1.0)
    if not streamed:
        return fact
    return replace(fact, latency_ms=0.75, response=STREAM.ref(), completion=COMPLETION.ref(), first_token_ms=0.5)


def failed(attempts: int = 1) -> CallFailed:
    return CallFailed(attempts=attempts, error=SERVER_ERROR, total_ms=4000.0)


def chat(log: Log, number: int, *facts: Fact) -> UUID:
    """A call with this number: requested, then what is given, the response beside an answer."""
    call_id = UUID(int=number)
    log.write(call_id, requested(), payloads=[REQUEST])
    for fact in facts:
        log.write(call_id, fact, payloads=[RESPONSE] if isinstance(fact, CallAnswered) else ())
    return call_id
