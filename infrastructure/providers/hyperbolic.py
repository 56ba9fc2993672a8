"""Hyperbolic's chat completions, by plain HTTP."""

import httpx
import msgspec

from application.providers import ChatRequest, EmbeddingsRequest, PreparedRequest, ProviderAnswer
from domain.errors import Rejected
from infrastructure.providers.attempt import HttpAnswer, attempt, endpoint_identity
from infrastructure.providers.failures import Redactor, malformed, refused, unreachable
from infrastructure.providers.openai_compatible import CONNECTIONS, MODELS_TIMEOUT_SECONDS, chosen
from infrastructure.providers.wire_format import chat_body


class Hyperbolic:
    """Implements the port Provider, for chats."""

    name = "hyperbolic"

    def __init__(self, *, api_key: str, endpoint: str, chat_model: str | None) -> None:
        base = endpoint.rstrip("/")
        self._base = base if base.endswith("/v1") else f"{base}/v1"
        self.endpoint = endpoint_identity(self._base)
        self.chat_model = chat_model
        self.redact = Redactor(api_key)
        self.client = httpx.AsyncClient(
            headers={"authorization": f"Bearer {api_key}", "content-type": "application/json"},
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
        raise Rejected(
            f"hyperbolic has no embeddings, so {len(request.texts)} texts can't be embedded there; "
            "use --provider openai, azure or local",
            fields=("provider",),
        )

    async def send(self, prepared: PreparedRequest, *, timeout_seconds: float) -> ProviderAnswer:
        """See the port."""

        async def post() -> HttpAnswer:
            response = await self.client.post(f"{self._base}/chat/completions", content=prepared.body)
            return HttpAnswer(response.status_code, response.headers, response.content)

        return await attempt(
            post, prepared, timeout_seconds=timeout_seconds, redact=self.redact, broken=(httpx.HTTPError,)
        )

    async def models(self) -> list[str]:
        """See the port."""
        try:
            response = await self.client.get(f"{self._base}/models", timeout=MODELS_TIMEOUT_SECONDS)
        except httpx.HTTPError as error:
            raise unreachable(error, latency_ms=0.0, redact=self.redact) from None
        latency_ms = response.elapsed.total_seconds() * 1000
        if response.status_code != 200:
            raise refused(
                response.status_code, response.headers, response.content, latency_ms=latency_ms, redact=self.redact
            )
        try:
            return sorted(str(model["id"]) for model in msgspec.json.decode(response.content)["data"])
        except (msgspec.DecodeError, KeyError, TypeError):
            raise malformed(
                "the list of models is none", response.content, latency_ms=latency_ms, status=200, redact=self.redact
            ) from None

    async def aclose(self) -> None:
        """See the port."""
        await self.client.aclose()
