"""What happens to a call to a model provider, as facts.

A call is one stream: version 1 is the request, durable before the provider is contacted; then its failed attempts;
then how it ended. A call found in doubt may still be answered late.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from msgspec import Struct

from domain.events import Fact, Metadata, PayloadRef, stored_as
from domain.preprocessing import Preprocessed
from domain.pricing import Charge

Modality = Literal["text", "embedding", "image", "audio"]

ErrorKind = Literal[
    "rate_limited",
    "server_error",
    "timeout",
    "connection",
    "conflict",
    "malformed_response",
    "bad_request",
    "authentication",
    "permission",
    "not_found",
    "unprocessable",
    "content_filter",
    "unexpected",
]


class Tokens(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Token counts as the provider reported them; None where it did not."""

    prompt: int | None = None
    completion: int | None = None
    total: int | None = None
    cached: int | None = None


class AttemptError(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Why an attempt failed. `transient` says whether the same request may succeed later."""

    kind: ErrorKind
    message: str
    transient: bool
    http_status: int | None = None
    code: str | None = None
    retry_after_seconds: float | None = None


@stored_as("call.requested.v1")
class CallRequested(Fact, frozen=True, kw_only=True):
    """A provider is about to be called; the request's bytes lie in part `request`."""

    modality: Modality
    provider: str
    endpoint: str
    model: str
    operation: Literal["chat", "embeddings"]
    request: PayloadRef
    request_hash: str
    max_attempts: int
    attempt_timeout_seconds: float
    sample_index: int = 0
    input_hashes: bytes = b""  # embeddings: n_texts x 32 bytes, the cache key of each text in the request's order
    dimensions: int | None = None
    metadata: Metadata = {}
    preprocessing: Preprocessed | None = None


@stored_as("call.attempt_failed.v1")
class CallAttemptFailed(Fact, frozen=True, kw_only=True):
    """One attempt failed; what the provider sent, if anything, lies in part `response`.

    Of a stream that broke, part `completion` holds as much of the answer as had come.
    """

    attempt: int
    error: AttemptError
    latency_ms: float
    waits_seconds: float | None = None  # before the next attempt; None when there is none
    response: PayloadRef | None = None
    completion: PayloadRef | None = None
    first_token_ms: float | None = None


class VectorBlock(Struct, frozen=True, kw_only=True, gc=False):
    """The shape of an embedding answer's float32 block and the Euclidean norm of each row."""

    count: int
    dimension: int
    norms: bytes  # count x 4 bytes, little-endian float32


@stored_as("call.answered.v1")
class CallAnswered(Fact, frozen=True, kw_only=True):
    """The provider answered; its bytes lie in part `response`, the float32 block beside them.

    A stream lies there as it was received, and in part `completion` as the JSON that the provider would have answered
    in one piece.
    """

    attempt: int
    latency_ms: float | None  # of the successful attempt alone; None where an import does not know it
    total_ms: float  # from the request to the answer, failed attempts and waits included
    tokens: Tokens
    response: PayloadRef
    served_model: str | None = None
    http_status: int | None = None
    headers: dict[str, str] = {}
    finish_reason: str | None = None
    text_path: tuple[str, ...] | None = None
    vectors: VectorBlock | None = None
    completion: PayloadRef | None = None
    first_token_ms: float | None = None  # of a stream, from the send to the first text, reasoning or tool call
    tokens_per_second: float | None = None  # of a stream, from the first token to the end
    # With the price that was used, so that no rebuild depends on what a price file says later; None without a price.
    charge: Charge | None = None

    @property
    def cost(self) -> Decimal | None:
        """USD; None where it is unknown."""
        return None if self.charge is None else self.charge.cost


@stored_as("call.failed.v1")
class CallFailed(Fact, frozen=True, kw_only=True):
    """No attempt succeeded and no further one will be made."""

    attempts: int
    error: AttemptError
    total_ms: float


@stored_as("call.cancelled.v1")
class CallCancelled(Fact, frozen=True, kw_only=True):
    """The caller left before an answer came; what a stream had brought by then lies beside, as for a failed attempt."""

    attempts: int
    reason: str
    total_ms: float
    latency_ms: float | None = None  # of the stream that was left
    response: PayloadRef | None = None
    completion: PayloadRef | None = None
    first_token_ms: float | None = None


@stored_as("call.found_in_doubt.v1")
class CallFoundInDoubt(Fact, frozen=True, kw_only=True):
    """The process that made the call died: whether the provider answered, and charged, is unknown."""

    dead_process: str
    first_seen_dead_at: datetime


@stored_as("call.joined.v1")
class CallJoined(Fact, frozen=True, kw_only=True):
    """The same request as one in flight: it waits for that call's answer, and no provider is called.

    A joiner is a stream of its own. If the call it waits for comes to nothing, it joins the one of whoever takes over.
    """

    call_id: UUID  # that it waits for
    modality: Modality
    provider: str
    model: str
    request_hash: str
    metadata: Metadata = {}
    took_over: bool = False  # it is the joiner itself who makes that call
    preprocessing: Preprocessed | None = None  # of what the joiner asked: it may come to the same from other words
    input_hashes: bytes = b""  # embeddings: n_texts x 32 bytes, the texts that are waited for


@stored_as("call.served_from_cache.v1")
class CallServedFromCache(Fact, frozen=True, kw_only=True):
    """What was asked had been answered before: `call_ids` paid for the answer, or for the texts' vectors.

    No provider was called.
    """

    modality: Modality
    provider: str
    model: str
    hits: int
    call_ids: tuple[UUID, ...]
    preprocessing: Preprocessed | None = None
    saved: Decimal | None = None  # USD that the answers given again had cost; None where it is unknown
    metadata: Metadata = {}


CALL_FACTS = (
    CallRequested,
    CallAttemptFailed,
    CallAnswered,
    CallFailed,
    CallCancelled,
    CallFoundInDoubt,
)


def text_at(response: Any, path: Sequence[str]) -> str | None:
    """The text at a path of member names and list indexes; None where there is none."""
    for step in path:
        if isinstance(response, dict):
            response = response.get(step)
        elif isinstance(response, list) and step.isdecimal() and int(step) < len(response):
            response = response[int(step)]
        else:
            return None
    return response if isinstance(response, str) else None
