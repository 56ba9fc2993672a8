"""Azure OpenAI through the `openai` SDK: deployments in place of models, and an API version."""

from openai import AsyncAzureOpenAI

from application.providers import ChatRequest, EmbeddingsRequest, PreparedRequest, ProviderAnswer
from infrastructure.providers.attempt import attempt, endpoint_identity
from infrastructure.providers.failures import Redactor
from infrastructure.providers.openai_compatible import BROKEN, PATHS, chosen, listed, pooled_client, post
from infrastructure.providers.wire_format import chat_body, embeddings_body


class AzureOpenAI:
    """Implements the port Provider; a request's model is the name of a deployment."""

    name = "azure"

    def __init__(
        self,
        *,
        api_key: str,
        endpoint: str,
        api_version: str,
        chat_deployment: str | None,
        embedding_deployment: str | None,
    ) -> None:
        self.endpoint = endpoint_identity(endpoint)
        self.chat_deployment = chat_deployment
        self.embedding_deployment = embedding_deployment
        self.redact = Redactor(api_key)
        self.client = AsyncAzureOpenAI(
            api_key=api_key,
            azure_endpoint=endpoint,
            api_version=api_version,
            max_retries=0,
            timeout=None,
            http_client=pooled_client(),
        )

    def prepare_chat(self, request: ChatRequest) -> PreparedRequest:
        """See the port."""
        model = chosen(request.model, self.chat_deployment, "AZURE_OPENAI_DEPLOYMENT")
        return PreparedRequest(
            provider=self.name, endpoint=self.endpoint, operation="chat", model=model, body=chat_body(model, request)
        )

    def prepare_embeddings(self, request: EmbeddingsRequest) -> PreparedRequest:
        """See the port."""
        model = chosen(request.model, self.embedding_deployment, "AZURE_OPENAI_EMBEDDING_DEPLOYMENT")
        body = embeddings_body(model, request)
        return PreparedRequest(
            provider=self.name, endpoint=self.endpoint, operation="embeddings", model=model, body=body
        )

    async def send(self, prepared: PreparedRequest, *, timeout_seconds: float) -> ProviderAnswer:
        """See the port."""
        path = f"/deployments/{prepared.model}{PATHS[prepared.operation]}"
        return await attempt(
            lambda: post(self.client, path, prepared.body),
            prepared,
            timeout_seconds=timeout_seconds,
            redact=self.redact,
            broken=BROKEN,
        )

    async def models(self) -> list[str]:
        """See the port."""
        return await listed(self.client, self.redact)

    async def aclose(self) -> None:
        """See the port."""
        await self.client.close()
