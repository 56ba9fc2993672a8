"""The port to model providers: prepare a request, then send exactly those bytes."""

from collections.abc import Callable, Mapping, Sequence
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
    stream: bool = False


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

    completion: of a stream, what the provider would have answered in one piece, as JSON; None when `body` is that.
    text_path: where the text lies in that JSON, e.g. ("choices", "0", "message", "content"); None for embeddings.
    vectors: (n_texts, n_dimensions) float32, in the order of the request's texts; None for chats.
    latency_ms: this attempt alone, send to last byte.
    first_token_ms: of a stream, send to the first piece of text, of reasoning or of a tool call.
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
    completion: bytes | None = None
    first_token_ms: float | None = None


class Transcript:
    """What a streamed attempt brings. Whoever asked is told each piece of text at once.

    The rest is written by the provider when the attempt ends in any way: what came until then, without secrets.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self.told = False
        self.body = b""  # as it was received, to the last byte
        self.media_type = "text/event-stream"
        self.completion: bytes | None = None  # the same as JSON, see ProviderAnswer
        self.latency_ms = 0.0
        self.first_token_ms: float | None = None

    def tell(self, text: str) -> None:
        """Pass a piece of text on."""
        self.told = True
        self._tell(text)


class ClientsRequest(Struct, frozen=True, kw_only=True):
    """A request in OpenAI's shape as somebody's own client wrote it, to be passed on byte for byte.

    members: what the body says, decoded; headers: those that concern the provider
    pass_on: streams the answer: is called with pieces of it, which are cut anywhere between two lines
    """

    operation: Operation
    model: str  # as the provider calls it
    body: bytes
    members: dict[str, Any]
    headers: Mapping[str, str] = {}
    pass_on: Callable[[bytes], None] | None = None


class Reply(Struct, frozen=True, kw_only=True):
    """What a provider replied, as it came but for our own key; the body is empty where it was passed on in pieces."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes = b""


class Passage(Protocol):
    """A client's request on its way to a provider and its reply on the way back: one call's, however often tried."""

    prepared: PreparedRequest
    reply: Reply | None  # to the last attempt, as soon as it has begun to come; None where there was none to pass on

    @property
    def ended(self) -> bool:
        """Whether the reply came to an end of its own, and not by a broken connection."""

    @property
    def provider_ms(self) -> float:
        """Milliseconds that were spent waiting for the provider."""

    async def send(self, prepared: PreparedRequest, *, timeout_seconds: float) -> ProviderAnswer:
        """As a provider's."""

    async def stream(
        self, prepared: PreparedRequest, *, timeout_seconds: float, transcript: Transcript
    ) -> ProviderAnswer:
        """As a provider's. The end of the stream, from [DONE] on, is kept back."""

    def rest(self) -> bytes:
        """What was kept back: to be passed on once the answer is durable."""

    def again(self, answer: ProviderAnswer) -> Reply:
        """An answer that another call got, as this request wants it: whole, in one piece or as a whole stream."""


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


class Sender(Protocol):
    """What makes the attempts of one call."""

    async def send(self, prepared: PreparedRequest, *, timeout_seconds: float) -> ProviderAnswer:
        """See Provider."""

    async def stream(
        self, prepared: PreparedRequest, *, timeout_seconds: float, transcript: Transcript
    ) -> ProviderAnswer:
        """See Provider."""


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

    async def stream(
        self, prepared: PreparedRequest, *, timeout_seconds: float, transcript: Transcript
    ) -> ProviderAnswer:
        """The same for a chat that was prepared as a stream.

        timeout_seconds: until the first chunk, and from each to the next. Raises AttemptFailed.
        """

    async def models(self) -> list[str]:
        """Models or deployments on offer, sorted. Raises AttemptFailed."""

    async def aclose(self) -> None:
        """Close pooled connections."""
