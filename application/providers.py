"""The port to model providers: prepare a request, then send exactly those bytes."""

from typing import Any, Literal, Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from domain.calls import AttemptError, Tokens

Operation = Literal["chat", "embeddings"]


class ChatRequest(Struct, frozen=True, kw_only=True):
    """A chat completion to ask for. `parameters` are OpenAI's names (temperature, max_tokens, seed …)."""

    model: str | None
    messages: tuple[dict[str, Any], ...]
    parameters: dict[str, Any] = {}


class EmbeddingsRequest(Struct, frozen=True, kw_only=True):
    """Texts to embed, in order; the answer's vectors come back in the same order."""

    model: str | None
    texts: tuple[str, ...]
    dimensions: int | None = None


class PreparedRequest(Struct, frozen=True, kw_only=True):
    """A request as it will be sent: it is recorded before it is sent, so it must hold no secret."""

    provider: str  # the registry's name: openai, azure, hyperbolic, local …
    endpoint: str  # identity of the endpoint without credentials, e.g. https://api.openai.com/v1
    operation: Operation
    model: str  # model or deployment, never empty
    body: bytes  # exactly the bytes that go over the wire
    media_type: str = "application/json"


class ProviderAnswer(Struct, frozen=True, kw_only=True):
    """One successful attempt.

    text_path: where the text lies in the JSON body, e.g. ("choices", "0", "message", "content"); None for embeddings.
    vectors: (n_texts, n_dimensions) float32, in the order of the request's texts; None for chats.
    latency_ms: this attempt alone, send to last byte.
    """

    body: bytes
    media_type: str
    http_status: int | None
    headers: dict[str, str]  # the useful ones: request id, rate limits, model version
    model: str | None  # what the provider says it served
    tokens: Tokens
    latency_ms: float
    text: str | None = None
    text_path: tuple[str, ...] | None = None
    finish_reason: str | None = None
    vectors: NDArray[np.float32] | None = None


class AttemptFailed(Exception):
    """One attempt failed; `error.transient` says whether another may succeed. Never holds a secret."""

    def __init__(
        self,
        error: AttemptError,
        *,
        latency_ms: float,
        body: bytes | None = None,
        media_type: str | None = None,
    ) -> None:
        super().__init__(error.message)
        self.error = error
        self.latency_ms = latency_ms
        self.body = body
        self.media_type = media_type


class Provider(Protocol):
    """A model provider. `prepare_*` raises Rejected naming the setting when something is missing."""

    name: str
    endpoint: str

    def prepare_chat(self, request: ChatRequest) -> PreparedRequest:
        """Fill in the default model, drop what was not asked for, encode once."""

    def prepare_embeddings(self, request: EmbeddingsRequest) -> PreparedRequest:
        """The same for embeddings."""

    async def send(self, prepared: PreparedRequest, *, timeout_seconds: float) -> ProviderAnswer:
        """Make one attempt. Raises AttemptFailed; never retries by itself."""

    async def models(self) -> list[str]:
        """Models or deployments on offer, sorted. Raises AttemptFailed."""

    async def aclose(self) -> None:
        """Close pooled connections."""
