"""Find out which of a provider's deployments (or models) there are: each is asked once for next to nothing.

The answer is remembered for a time; so is that there is no such deployment. Trouble that may pass is not: such a
deployment's outcome is `unknown`, and it is asked again next time.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

import structlog
from msgspec import Struct

from application.call_provider import AttemptPolicy, CallIntent, CallProvider
from application.notebook import Context, Notebook
from application.ports import AppendConflict, ProviderDirectory
from application.providers import ChatRequest, EmbeddingsRequest, PreparedRequest, Provider
from application.stored_vectors import FOR_VALIDATION
from domain.deployments import DeploymentProbed, ProbedOperation, ProbeOutcome, deployment_id
from domain.errors import ProviderFailed, Rejected
from domain.events import RecordedEvent
from domain.request_identity import chat_request_hash, embedding_request_hashes

PING = "ping"
OPERATIONS: tuple[ProbedOperation, ...] = ("chat", "embeddings")
MOST_DEPLOYMENTS = 100  # at a time
PROBES_IN_FLIGHT = 4

log = structlog.get_logger(__name__)


class ProbePolicy(Struct, frozen=True, kw_only=True):
    """How a deployment is asked, and for how long its answer holds.

    before_embedding: whether a provider's deployment is looked at before texts, or a batch to summarise, are sent to it
    """

    attempts: AttemptPolicy
    remembered_seconds: float
    before_embedding: Callable[[str], bool]


class Validated(Struct, frozen=True, kw_only=True):
    """What is known of a deployment. `reason` says why it is unknown; remembered: nothing was asked just now."""

    provider: str
    model: str
    operation: ProbedOperation
    outcome: ProbeOutcome | Literal["unknown"]
    remembered: bool
    probed_at: datetime
    call_id: UUID
    http_status: int | None = None
    reason: str | None = None


class ValidateDeployments:
    """Asks deployments, and remembers. Instances are shared by all tasks."""

    def __init__(
        self,
        notebook: Notebook,
        call_provider: CallProvider,
        providers: ProviderDirectory,
        policy: Callable[[], ProbePolicy],
    ) -> None:
        self._notebook = notebook
        self._call_provider = call_provider
        self._providers = providers
        self._policy = policy
        self._told: set[UUID] = set()

    async def __call__(
        self,
        provider_name: str | None,
        models: Sequence[str],
        context: Context,
        *,
        operation: ProbedOperation = "embeddings",
        again: bool = False,
    ) -> list[Validated]:
        """What is known of each, in order; asks for those of which nothing is remembered, or for all `again`.

        Raises Rejected, Unavailable.
        """
        if not models or not all(model.strip() for model in models):
            raise Rejected("Name the deployments or models to validate", fields=("models",))
        if len(models) > MOST_DEPLOYMENTS:
            raise Rejected(f"{len(models)} deployments are more than {MOST_DEPLOYMENTS} at a time", fields=("models",))
        provider = self._providers.create(provider_name)
        places = asyncio.Semaphore(PROBES_IN_FLIGHT)

        async def validate(model: str) -> Validated:
            async with places:
                return await self._validate(_prepared(provider, model, operation), provider, context, again=again)

        different = list(dict.fromkeys(models))
        results = await asyncio.gather(*map(validate, different), return_exceptions=True)
        found: dict[str, Validated] = {}
        for model, result in zip(different, results, strict=True):
            if isinstance(result, BaseException):
                raise result
            found[model] = result
        return [found[model] for model in models]

    async def defaults(self, provider_name: str, context: Context, *, again: bool = False) -> list[Validated]:
        """The same for what is asked when no model is named, in chats and for embeddings, as far as there are any."""
        provider = self._providers.create(provider_name)
        found: list[Validated] = []
        for operation in OPERATIONS:
            try:
                prepared = _prepared(provider, None, operation)
            except Rejected:
                continue  # the provider does no such thing, or no model is set for it
            found.append(await self._validate(prepared, provider, context, again=again))
        return found

    async def check_before_embedding(self, provider: Provider, prepared: PreparedRequest, context: Context) -> None:
        """Raises Rejected where the provider's deployments are looked at first and there is none of that name."""
        await self._check(provider, prepared.model, "embeddings", context)

    async def check_before_asking(self, provider_name: str | None, model: str | None, context: Context) -> None:
        """The same before a batch of chats is begun, of which each would fail alone."""
        await self._check(self._providers.create(provider_name), model, "chat", context)

    async def _check(self, provider: Provider, model: str | None, operation: ProbedOperation, context: Context) -> None:
        if not self._policy().before_embedding(provider.name):
            return
        found = await self._validate(_prepared(provider, model, operation), provider, context, again=False)
        if found.outcome == "missing":
            raise Rejected(
                f"{found.provider} has no deployment {found.model!r} for {operation}, as it said at "
                f"{found.probed_at:%Y-%m-%d %H:%M:%S} UTC to call {found.call_id}: name another one, or have it asked "
                "again with `study providers --validate --again`",
                fields=("model",),
            )

    async def _validate(
        self, prepared: PreparedRequest, provider: Provider, context: Context, *, again: bool
    ) -> Validated:
        stream_id = deployment_id(
            provider=prepared.provider,
            endpoint=prepared.endpoint,
            model=prepared.model,
            operation=prepared.operation,
        )
        events = await self._notebook.store.read_stream(stream_id)
        remembered = None if again else self._remembered(events)
        found = remembered or await self._probe(prepared, provider, context, stream_id, len(events))
        if found.outcome != "available" and stream_id not in self._told:
            self._told.add(stream_id)
            log.info(
                "deployment not available",
                provider=found.provider,
                model=found.model,
                operation=found.operation,
                outcome=found.outcome,
                reason=found.reason,
            )
        return found

    def _remembered(self, events: Sequence[RecordedEvent]) -> Validated | None:
        """The last answer, if it is not too old."""
        if not events or not isinstance(events[-1].fact, DeploymentProbed):
            return None
        age = self._notebook.clock.now() - events[-1].recorded_at
        if age > timedelta(seconds=self._policy().remembered_seconds):
            return None
        return _validated(events[-1].fact, events[-1].envelope.occurred_at, remembered=True)

    async def _probe(
        self, prepared: PreparedRequest, provider: Provider, context: Context, stream_id: UUID, version: int
    ) -> Validated:
        call_id = self._notebook.ids.new()
        outcome, status, reason = await self._asked(prepared, provider, context, call_id)
        if outcome == "unknown":
            return Validated(
                provider=prepared.provider,
                model=prepared.model,
                operation=prepared.operation,
                outcome=outcome,
                remembered=False,
                probed_at=self._notebook.clock.now(),
                call_id=call_id,
                http_status=status,
                reason=reason,
            )
        fact = DeploymentProbed(
            provider=prepared.provider,
            endpoint=prepared.endpoint,
            model=prepared.model,
            operation=prepared.operation,
            outcome=outcome,
            call_id=call_id,
            http_status=status,
        )
        while True:
            entry = self._notebook.entry(context, stream_id, version + 1, fact, because_of=call_id)
            try:
                await self._notebook.write(entry)
            except AppendConflict:
                version = len(await self._notebook.store.read_stream(stream_id))  # somebody else asked meanwhile
            else:
                return _validated(fact, entry.envelope.occurred_at, remembered=False)

    async def _asked(
        self, prepared: PreparedRequest, provider: Provider, context: Context, call_id: UUID
    ) -> tuple[ProbeOutcome | Literal["unknown"], int | None, str | None]:
        embeds = prepared.operation == "embeddings"
        intent = CallIntent(
            prepared=prepared,
            modality="embedding" if embeds else "text",
            request_hash=_request_hash(prepared),
            policy=self._policy().attempts,
            input_hashes=bytes.fromhex(_request_hash(prepared)) if embeds else b"",
            metadata=FOR_VALIDATION,
        )
        try:
            done = await self._call_provider(provider, intent, context, call_id=call_id)
        except ProviderFailed as failure:
            return ("missing" if failure.kind == "not_found" else "unknown"), failure.http_status, str(failure)
        return "available", done.answer.http_status, None


def _prepared(provider: Provider, model: str | None, operation: ProbedOperation) -> PreparedRequest:
    if operation == "embeddings":
        return provider.prepare_embeddings(EmbeddingsRequest(model=model, texts=(PING,)))
    return provider.prepare_chat(ChatRequest(model=model, messages=_messages()))


def _messages() -> tuple[dict[str, str], ...]:
    return ({"role": "user", "content": PING},)


def _request_hash(prepared: PreparedRequest) -> str:
    circumstances = {"provider": prepared.provider, "endpoint": prepared.endpoint, "model": prepared.model}
    if prepared.operation == "embeddings":
        return embedding_request_hashes([PING], **circumstances, dimensions=None)[0]
    return chat_request_hash(**circumstances, messages=_messages(), parameters={}, sample_index=0)


def _validated(fact: DeploymentProbed, probed_at: datetime, *, remembered: bool) -> Validated:
    return Validated(
        provider=fact.provider,
        model=fact.model,
        operation=fact.operation,
        outcome=fact.outcome,
        remembered=remembered,
        probed_at=probed_at,
        call_id=fact.call_id,
        http_status=fact.http_status,
    )
