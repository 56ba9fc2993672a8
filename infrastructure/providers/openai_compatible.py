"""OpenAI, and every endpoint that speaks its protocol, through the `openai` SDK with its own retries off."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING

import httpx2
import openai
from openai import AsyncOpenAI

from application.providers import (
    ChatRequest,
    ClientsRequest,
    EmbeddingsRequest,
    Operation,
    Passage,
    PreparedRequest,
    ProviderAnswer,
    Transcript,
)
from domain.errors import Rejected
from infrastructure.providers.attempt import HttpAnswer, address, attempt, checked_key, listed
from infrastructure.providers.failures import Redactor
from infrastructure.providers.settings import CONNECTIONS
from infrastructure.providers.streamed_attempt import HttpStream, streamed_attempt
from infrastructure.providers.wire_format import chat_body, embeddings_body

if TYPE_CHECKING:
    from infrastructure.providers.passage import Upstream

PATHS = {"chat": "/chat/completions", "embeddings": "/embeddings"}
OPENAI_URL = "https://api.openai.com/v1"
BROKEN = (openai.APIConnectionError, httpx2.HTTPError)


class OpenAICompatible:
    """Implements the port Provider. The bytes that were prepared are the bytes that are sent."""

    name = "openai"

    def __init__(
        self, *, api_key: str | None, base_url: str | None, chat_model: str | None, embedding_model: str | None
    ) -> None:
        self._address = address(base_url or OPENAI_URL, "OPENAI_BASE_URL")
        self._key = checked_key(api_key or "", "OPENAI_API_KEY")
        self.endpoint = self._address.url
        self.chat_model = chat_model
        self.embedding_model = embedding_model
        self.redact = Redactor(self._key, *self._address.secrets())

    @cached_property
    def client(self) -> AsyncOpenAI:
        """Made when first needed, in the loop that runs then: what is cached needs no connection."""
        return AsyncOpenAI(
            api_key=self._key or "none",  # servers of one's own often want no key, but the SDK insists on one
            base_url=self._address.url,
            default_query=self._address.query,
            max_retries=0,
            timeout=None,
            http_client=pooled_client(self._address.login),
        )

    def prepare_chat(self, request: ChatRequest) -> PreparedRequest:
        """See the port."""
        model = chosen(request.model, self.chat_model, "OPENAI_MODEL")
        return self._prepared("chat", model, chat_body(model, request))

    def prepare_embeddings(self, request: EmbeddingsRequest) -> PreparedRequest:
        """See the port."""
        model = chosen(request.model, self.embedding_model, "OPENAI_EMBEDDING_MODEL")
        return self._prepared("embeddings", model, embeddings_body(model, request))

    async def send(self, prepared: PreparedRequest, *, timeout_seconds: float) -> ProviderAnswer:
        """See the port."""
        return await attempt(
            lambda: post(self.client, PATHS[prepared.operation], prepared.body),
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
            lambda: streamed_post(self.client, PATHS[prepared.operation], prepared.body),
            prepared,
            timeout_seconds=timeout_seconds,
            redact=self.redact,
            broken=BROKEN,
            transcript=transcript,
        )

    def pass_on(self, request: ClientsRequest) -> Passage:
        """A client's own bytes, as they are."""
        from infrastructure.providers.passage import HttpPassage

        prepared = self._prepared(request.operation, request.model, request.body)
        return HttpPassage(self.upstream, PATHS[request.operation], prepared, request)

    @cached_property
    def upstream(self) -> "Upstream":
        """What such bytes are sent with."""
        from infrastructure.providers.passage import Upstream

        return Upstream(
            self._address.url,
            headers={"authorization": f"Bearer {self._key or 'none'}"},
            redact=self.redact,
            query=self._address.query,
            login=self._address.login,
        )

    async def models(self) -> list[str]:
        """See the port."""
        return await listed(lambda: get(self.client, "/models"), redact=self.redact, broken=BROKEN)

    async def aclose(self) -> None:
        """See the port."""
        if "client" in vars(self):
            await self.client.close()
        if "upstream" in vars(self):
            await self.upstream.aclose()

    def _prepared(self, operation: Operation, model: str, body: bytes) -> PreparedRequest:
        return PreparedRequest(provider=self.name, endpoint=self.endpoint, operation=operation, model=model, body=body)


def pooled_client(login: tuple[str, str] | None = None) -> httpx2.AsyncClient:
    """Connections that are kept and never wait for each other; time limits are the attempt's.

    login: user and password, which take the place of a key
    """
    limits = httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    return httpx2.AsyncClient(limits=limits, timeout=None, follow_redirects=False, auth=login)


async def post(client: AsyncOpenAI, path: str, body: bytes) -> HttpAnswer:
    """Post bytes as they are and read the answer whole, whatever its status."""
    response = await _posted(client, path, body, stream=False)
    return HttpAnswer(response.status_code, response.headers, await response.aread())


@asynccontextmanager
async def streamed_post(client: AsyncOpenAI, path: str, body: bytes) -> AsyncIterator[HttpStream]:
    """The same, and hand out the answer as it comes."""
    response = await _posted(client, path, body, stream=True)
    try:
        yield HttpStream(response.status_code, response.headers, response.aiter_bytes())
    finally:
        await response.aclose()


async def _posted(client: AsyncOpenAI, path: str, body: bytes, *, stream: bool) -> httpx2.Response:
    headers = {"content-type": "application/json"}
    try:
        return await client.post(
            path, cast_to=httpx2.Response, content=body, options={"headers": headers}, stream=stream
        )
    except openai.APIStatusError as error:
        return error.response


async def get(client: AsyncOpenAI, path: str, **query: str) -> HttpAnswer:
    """Get an answer whole, whatever its status."""
    try:
        response = await client.get(path, cast_to=httpx2.Response, options={"params": query})
    except openai.APIStatusError as error:
        response = error.response
    return HttpAnswer(response.status_code, response.headers, await response.aread())


def chosen(asked: str | None, default: str | None, setting: str) -> str:
    """The model to use. Raises Rejected naming the setting when there is none."""
    model = asked or default
    if not model:
        raise Rejected(f"Name a model, or set {setting}", fields=("model", setting))
    return model
