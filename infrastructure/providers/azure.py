"""Azure OpenAI through the `openai` SDK: deployments in place of models, and an API version."""

import asyncio
import re
import time
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import quote

from msgspec import structs

from application.providers import (
    AttemptFailed,
    ChatRequest,
    ClientsRequest,
    EmbeddingsRequest,
    Operation,
    Passage,
    PreparedRequest,
    ProviderAnswer,
    Transcript,
)
from infrastructure.providers.attempt import address, attempt, checked_key, listed
from infrastructure.providers.failures import Redactor
from infrastructure.providers.openai_compatible import PATHS, chosen
from infrastructure.providers.streamed_attempt import streamed_attempt
from infrastructure.providers.wire_format import chat_body, embeddings_body

if TYPE_CHECKING:
    from openai import AsyncAzureOpenAI

    from infrastructure.providers.passage import Upstream

# The portal shows addresses that go on to a certain API; what we need is the resource's own.
BEYOND_THE_RESOURCE = re.compile(r"(?<!/)/openai(/.*)?$")
# Later versions no longer list a resource's deployments, and some resources never do.
LISTING_API_VERSION = "2023-03-15-preview"
LOOK_SECONDS = 3.0  # for the deployments there are, when one is missing
LOOKED_FOR_SECONDS = 30.0  # so long a look is good: a whole file of prompts may name the missing one


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
        self.endpoint = BEYOND_THE_RESOURCE.sub("", address(endpoint, "AZURE_OPENAI_ENDPOINT").url)
        self._key = checked_key(api_key, "AZURE_OPENAI_API_KEY")
        self._api_version = api_version
        self.chat_deployment = chat_deployment
        self.embedding_deployment = embedding_deployment
        self.redact = Redactor(self._key)
        self._looked: tuple[float, str] | None = None

    @cached_property
    def client(self) -> "AsyncAzureOpenAI":
        """Made when first needed, in the loop that runs then."""
        from openai import AsyncAzureOpenAI

        from infrastructure.providers.openai_sdk import pooled_client

        return AsyncAzureOpenAI(
            api_key=self._key,
            azure_endpoint=self.endpoint,
            api_version=self._api_version,
            max_retries=0,
            timeout=None,
            http_client=pooled_client(),
        )

    def prepare_chat(self, request: ChatRequest) -> PreparedRequest:
        """See the port."""
        model = chosen(request.model, self.chat_deployment, "AZURE_OPENAI_DEPLOYMENT")
        return self._prepared("chat", model, chat_body(model, request))

    def prepare_embeddings(self, request: EmbeddingsRequest) -> PreparedRequest:
        """See the port."""
        model = chosen(request.model, self.embedding_deployment, "AZURE_OPENAI_EMBEDDING_DEPLOYMENT")
        return self._prepared("embeddings", model, embeddings_body(model, request))

    async def send(self, prepared: PreparedRequest, *, timeout_seconds: float) -> ProviderAnswer:
        """See the port."""
        from infrastructure.providers.openai_sdk import BROKEN, post

        try:
            return await attempt(
                lambda: post(self.client, _path(prepared), prepared.body),
                prepared,
                timeout_seconds=timeout_seconds,
                redact=self.redact,
                broken=BROKEN,
            )
        except AttemptFailed as failure:
            raise await self._explained(failure) from None

    async def stream(
        self, prepared: PreparedRequest, *, timeout_seconds: float, transcript: Transcript
    ) -> ProviderAnswer:
        """See the port."""
        from infrastructure.providers.openai_sdk import BROKEN, streamed_post

        try:
            return await streamed_attempt(
                lambda: streamed_post(self.client, _path(prepared), prepared.body),
                prepared,
                timeout_seconds=timeout_seconds,
                redact=self.redact,
                broken=BROKEN,
                transcript=transcript,
            )
        except AttemptFailed as failure:
            raise await self._explained(failure) from None

    def pass_on(self, request: ClientsRequest) -> Passage:
        """A client's own bytes, as they are; the deployment stands in the address."""
        from infrastructure.providers.passage import HttpPassage

        prepared = self._prepared(request.operation, request.model, request.body)
        return HttpPassage(self.upstream, f"/openai{_path(prepared)}", prepared, request)

    @cached_property
    def upstream(self) -> "Upstream":
        """What such bytes are sent with."""
        from infrastructure.providers.passage import Upstream

        return Upstream(
            self.endpoint,
            headers={"api-key": self._key},
            redact=self.redact,
            query={"api-version": self._api_version},
        )

    async def models(self) -> list[str]:
        """The deployments: those in the settings, and the resource's others where it lists them."""
        configured = {name for name in (self.chat_deployment, self.embedding_deployment) if name}
        try:
            found = await self._deployments()
        except AttemptFailed as failure:
            if failure.error.kind not in {"not_found", "bad_request"}:
                raise
            found = []
        return sorted(configured.union(found))

    async def _deployments(self) -> list[str]:
        from infrastructure.providers.openai_sdk import BROKEN, get

        query = {"api-version": LISTING_API_VERSION}
        return await listed(lambda: get(self.client, "/deployments", **query), redact=self.redact, broken=BROKEN)

    async def _explained(self, failure: AttemptFailed) -> AttemptFailed:
        """The same failure; of a missing deployment it tells which ones there are, as far as that can be found out."""
        if failure.error.code != "DeploymentNotFound":
            return failure
        if self._looked is None or time.monotonic() - self._looked[0] > LOOKED_FOR_SECONDS:
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    found = f"there are {', '.join(await self._deployments()) or 'none'}"
            except (AttemptFailed, TimeoutError):
                found = "the resource does not list its deployments; the Azure portal does"
            self._looked = time.monotonic(), found
        message = self.redact.text(f"{failure.error.message}; {self._looked[1]}")
        return AttemptFailed(
            structs.replace(failure.error, message=message),
            latency_ms=failure.latency_ms,
            body=failure.body,
            media_type=failure.media_type,
        )

    async def aclose(self) -> None:
        """See the port."""
        if "client" in vars(self):
            await self.client.close()
        if "upstream" in vars(self):
            await self.upstream.aclose()

    def _prepared(self, operation: Operation, model: str, body: bytes) -> PreparedRequest:
        return PreparedRequest(provider=self.name, endpoint=self.endpoint, operation=operation, model=model, body=body)


def _path(prepared: PreparedRequest) -> str:
    return f"/deployments/{quote(prepared.model, safe='')}{PATHS[prepared.operation]}"
