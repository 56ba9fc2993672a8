"""OpenAI, and every endpoint that speaks its protocol, through the `openai` SDK with its own retries off.

The SDK takes 40 MB, so that it is loaded by the first call that it makes: what only passes through needs none of it.
"""

from functools import cached_property
from typing import TYPE_CHECKING

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
from infrastructure.providers.attempt import address, attempt, checked_key, listed
from infrastructure.providers.failures import Redactor
from infrastructure.providers.streamed_attempt import streamed_attempt
from infrastructure.providers.wire_format import chat_body, embeddings_body

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from infrastructure.providers.passage import Upstream

PATHS = {"chat": "/chat/completions", "embeddings": "/embeddings"}
OPENAI_URL = "https://api.openai.com/v1"


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
    def client(self) -> "AsyncOpenAI":
        """Made when first needed, in the loop that runs then: what is cached needs no connection."""
        from openai import AsyncOpenAI

        from infrastructure.providers.openai_sdk import pooled_client

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
        from infrastructure.providers.openai_sdk import BROKEN, post

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
        from infrastructure.providers.openai_sdk import BROKEN, streamed_post

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
        from infrastructure.providers.openai_sdk import BROKEN, get

        return await listed(lambda: get(self.client, "/models"), redact=self.redact, broken=BROKEN)

    async def aclose(self) -> None:
        """See the port."""
        if "client" in vars(self):
            await self.client.close()
        if "upstream" in vars(self):
            await self.upstream.aclose()

    def _prepared(self, operation: Operation, model: str, body: bytes) -> PreparedRequest:
        return PreparedRequest(provider=self.name, endpoint=self.endpoint, operation=operation, model=model, body=body)


def chosen(asked: str | None, default: str | None, setting: str) -> str:
    """The model to use. Raises Rejected naming the setting when there is none."""
    model = asked or default
    if not model:
        raise Rejected(f"Name a model, or set {setting}", fields=("model", setting))
    return model
