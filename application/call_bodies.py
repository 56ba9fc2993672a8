"""What lies beside a call's events: the provider's bytes, and of a stream also the answer that they amount to."""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from application.ports import Payload
from application.providers import AttemptFailed, ProviderAnswer, Transcript
from domain.calls import VectorBlock
from domain.events import PayloadRef


class Bodies(Struct, frozen=True, kw_only=True):
    """The parts `response`, as it was received, and `completion`, that as JSON where it was a stream."""

    response: Payload | None = None
    completion: Payload | None = None

    @property
    def payloads(self) -> tuple[Payload, ...]:
        """Those that there are."""
        return tuple(payload for payload in (self.response, self.completion) if payload is not None)

    @property
    def completion_ref(self) -> PayloadRef | None:
        """What the event holds of the completion."""
        return None if self.completion is None else self.completion.ref()

    @property
    def response_ref(self) -> PayloadRef | None:
        """What the event holds of the response."""
        return None if self.response is None else self.response.ref()


def bodies_of_answer(answer: ProviderAnswer) -> Bodies:
    """An answer's."""
    response = Payload(
        part="response",
        body=answer.body,
        vectors=None if answer.vectors is None else answer.vectors.astype("<f4", copy=False).tobytes(),
        media_type=answer.media_type,
        is_json=answer.completion is None,
    )
    return Bodies(response=response, completion=_completion(answer.completion))


def bodies_of_failure(failure: AttemptFailed) -> Bodies:
    """What came instead of an answer."""
    if failure.body is None:
        return Bodies()
    media_type = failure.media_type or "application/octet-stream"
    return Bodies(response=Payload(part="response", body=failure.body, media_type=media_type))


def bodies_of_stream(transcript: Transcript) -> Bodies:
    """What a stream had brought when it broke or was left."""
    if not transcript.body:
        return Bodies()
    response = Payload(part="response", body=transcript.body, media_type=transcript.media_type)
    return Bodies(response=response, completion=_completion(transcript.completion))


def vector_block(vectors: NDArray[np.float32]) -> VectorBlock:
    """What the event holds of the vectors."""
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1).astype("<f4")
    return VectorBlock(count=vectors.shape[0], dimension=vectors.shape[1], norms=norms.tobytes())


def tokens_per_second(answer: ProviderAnswer) -> float | None:
    """How fast a stream's tokens came after the first one; None for fewer than two."""
    tokens = answer.tokens.completion
    if answer.first_token_ms is None or tokens is None or tokens < 2:
        return None
    streamed_ms = answer.latency_ms - answer.first_token_ms
    return (tokens - 1) * 1000 / streamed_ms if streamed_ms > 0 else None


def _completion(body: bytes | None) -> Payload | None:
    return None if body is None else Payload(part="completion", body=body, media_type="application/json", is_json=True)
