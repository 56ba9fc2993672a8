"""Hyperbolic's chat completions, by plain HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING

import httpx

from application.providers import (
    ChatRequest,
    ClientsRequest,
    EmbeddingsRequest,
    Passage,
    PreparedRequest,
    ProviderAnswer,
    Transcript,
)
from domain.errors import Rejected
from infrastructure.providers.attempt import HttpAnswer, address, attempt, checked_key, listed
from infrastructure.providers.failures import Redactor
from infrastructure.providers.openai_compatible import PATHS, chosen
from infrastructure.providers.settings import CONNECTIONS
from infrastructure.providers.streamed_attempt import HttpStream, streamed_attempt
from infrastructure.providers.wire_format import chat_body

if TYPE_CHECKING:
    from infrastructure.providers.passage import Upstream

BROKEN = (httpx.HTTPError,)


class Hyperbolic:
    """Implements the port Provider, for chats."""

    name = "hyperbolic"

    def __init__(self, *, api_key: str, endpoint: str, chat_model: str | None) -> None:
        base = address(endpoint, "HYPERBOLIC_ENDPOINT").url
        self._key = checked_key(api_key, "HYPERBOLIC_API_KEY")
        self.endpoint = base if base.endswith("/v1") else f"{base}/v1"
        self.chat_model = chat_model
        self.redact = Redactor(self._key)

    @cached_property
    def client(self) -> httpx.AsyncClient:
        """Made when first needed, in the loop that runs then."""
        return httpx.AsyncClient(
            headers={"authorization": f"Bearer {self._key}", "content-type": "application/json"},
            limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
            timeout=None,  # noqa: S113 - the attempt has a limit of its own
        )

    def prepare_chat(self, request: ChatRequest) -> PreparedRequest:
        """See the port."""
        model = chosen(request.model, self.chat_model, "HYPERBOLIC_MODEL")
        return PreparedRequest(
            provider=self.name, endpoint=self.endpoint, operation="chat", model=model, body=chat_body(model, request)
        )

    def prepare_embeddings(self, request: EmbeddingsRequest) -> PreparedRequest:
        """Raises Rejected: there is no such API."""
        raise _no_embeddings(f"{len(request.texts)} texts")

    async def send(self, prepared: PreparedRequest, *, timeout_seconds: float) -> ProviderAnswer:
        """See the port."""
        return await attempt(
            lambda: self._exchange("POST", PATHS["chat"], prepared.body),
            prepared,
            timeout_seconds=timeout_seconds,
            redact=self.redact,
            broken=BROKEN,
        )

    async def stream(
        self, prepared: PreparedRequest, *, timeout_seconds: float, transcript: Transcript
    ) -> ProviderAnswer:
        """See the port."""
        return await streamed_attempt(
            lambda: self._streamed(prepared.body),
            prepared,
            timeout_seconds=timeout_seconds,
            redact=self.redact,
            broken=BROKEN,
            transcript=transcript,
        )

    def pass_on(self, request: ClientsRequest) -> Passage:
        """A client's own bytes, as they are. Raises Rejected for embeddings."""
        from infrastructure.providers.passage import HttpPassage

        if request.operation == "embeddings":
            raise _no_embeddings("this input")
        prepared = PreparedRequest(
            provider=self.name, endpoint=self.endpoint, operation="chat", model=request.model, body=request.body
        )
        return HttpPassage(self.upstream, PATHS["chat"], prepared, request)

    @cached_property
    def upstream(self) -> "Upstream":
        """What such bytes are sent with."""
        from infrastructure.providers.passage import Upstream

        return Upstream(self.endpoint, headers={"authorization": f"Bearer {self._key}"}, redact=self.redact)

    async def models(self) -> list[str]:
        """See the port."""
        return await listed(lambda: self._exchange("GET", "/models"), redact=self.redact, broken=BROKEN)

    async def aclose(self) -> None:
        """See the port."""
        if "client" in vars(self):
            await self.client.aclose()
        if "upstream" in vars(self):
            await self.upstream.aclose()

    async def _exchange(self, method: str, path: str, body: bytes | None = None) -> HttpAnswer:
        response = await self.client.request(method, f"{self.endpoint}{path}", content=body)
        return HttpAnswer(response.status_code, response.headers, response.content)

    @asynccontextmanager
    async def _streamed(self, body: bytes) -> AsyncIterator[HttpStream]:
        async with self.client.stream("POST", f"{self.endpoint}{PATHS['chat']}", content=body) as response:
            yield HttpStream(response.status_code, response.headers, response.aiter_bytes())


def _no_embeddings(of_what: str) -> Rejected:
    return Rejected(
        f"hyperbolic has no embeddings, so {of_what} can't be embedded there; use --provider openai, azure or local",
        fields=("provider",),
    )
