"""Ask a model, and get its answer once it is durable."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

from msgspec import Struct, structs

from application.call_provider import AttemptPolicy, CallIntent, CallProvider
from application.group_calls import GroupCalls, GroupPlace
from application.notebook import Context
from application.ports import NewEvent, ProviderDirectory
from application.providers import ChatRequest
from domain.calls import Tokens
from domain.errors import Rejected
from domain.events import Metadata
from domain.request_identity import chat_request_hash

MOST_SAMPLES = 100
MOST_PROMPT_CHARACTERS = 10_000_000
LONGEST_CALL_SECONDS = 86_400


class Question(Struct, frozen=True, kw_only=True):
    """What to ask. Give a prompt, or messages in OpenAI's shape; no parameter is sent that is not set."""

    prompt: str | None = None
    messages: tuple[dict[str, Any], ...] = ()
    system: str | None = None
    provider: str | None = None
    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    samples: int = 1
    group: GroupPlace | None = None
    metadata: Metadata = {}
    attempts: int | None = None
    attempt_timeout_seconds: float | None = None
    call_timeout_seconds: float | None = None


class Answer(Struct, frozen=True, kw_only=True):
    """An answer and what is known of it, as every interface shows it."""

    call_id: UUID
    status: str
    text: str | None
    provider: str
    model: str
    tokens: Tokens
    latency_ms: float
    attempts: int
    position: int | None
    finish_reason: str | None = None


class AskModel:
    """Asks; `answers` makes as many calls as samples are wanted, all at once."""

    def __init__(
        self,
        call_provider: CallProvider,
        providers: ProviderDirectory,
        groups: GroupCalls,
        policy: Callable[[], AttemptPolicy],
    ) -> None:
        self._call_provider = call_provider
        self._providers = providers
        self._groups = groups
        self._policy = policy

    async def __call__(self, question: Question, context: Context) -> Answer:
        """Ask once. Raises Rejected, ProviderFailed, Unavailable."""
        return (await self.answers(structs.replace(question, samples=1), context))[0]

    async def answers(self, question: Question, context: Context) -> list[Answer]:
        """Ask for `samples` answers. Raises the first failure after all have ended."""
        _check(question)
        if question.group is not None:
            await self._groups.ensure(question.group, context)
        asked = (self._ask(question, sample, context) for sample in range(question.samples))
        results = await asyncio.gather(*asked, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return [result for result in results if isinstance(result, Answer)]

    async def _ask(self, question: Question, sample_index: int, context: Context) -> Answer:
        provider = self._providers.create(question.provider)
        messages = _messages(question)
        parameters = {
            name: value
            for name in ("temperature", "max_tokens", "seed")
            if (value := getattr(question, name)) is not None
        }
        prepared = provider.prepare_chat(ChatRequest(model=question.model, messages=messages, parameters=parameters))
        intent = CallIntent(
            prepared=prepared,
            modality="text",
            request_hash=chat_request_hash(
                provider=prepared.provider,
                endpoint=prepared.endpoint,
                model=prepared.model,
                messages=messages,
                parameters=parameters,
                sample_index=sample_index,
            ),
            policy=_policy_for(question, self._policy()),
            sample_index=sample_index,
            metadata=question.metadata,
        )
        call_id = self._groups.notebook.ids.new()
        companions: tuple[NewEvent, ...] = ()
        if question.group is not None:
            companions = (self._groups.member_entry(question.group, call_id, context, sample_index),)
        done = await self._call_provider(provider, intent, context, call_id=call_id, companions=companions)
        return Answer(
            call_id=done.call_id,
            status="success",
            text=done.answer.text,
            provider=prepared.provider,
            model=prepared.model,
            tokens=done.answer.tokens,
            latency_ms=done.answer.latency_ms,
            attempts=done.attempts,
            position=done.position,
            finish_reason=done.answer.finish_reason,
        )


def _check(question: Question) -> None:
    if (question.prompt is None) == (not question.messages):
        raise Rejected("Give either a prompt or messages", fields=("prompt", "messages"))
    if question.prompt is not None and not question.prompt.strip():
        raise Rejected("The prompt is empty", fields=("prompt",))
    if question.prompt is not None and len(question.prompt) > MOST_PROMPT_CHARACTERS:
        raise Rejected(f"The prompt is longer than {MOST_PROMPT_CHARACTERS:,} characters", fields=("prompt",))
    if not 1 <= question.samples <= MOST_SAMPLES:
        raise Rejected(f"n must lie between 1 and {MOST_SAMPLES}, not {question.samples}", fields=("n",))
    if question.temperature is not None and not 0 <= question.temperature <= 2:
        raise Rejected(f"temperature must lie between 0 and 2, not {question.temperature}", fields=("temperature",))
    if question.max_tokens is not None and question.max_tokens < 1:
        raise Rejected(f"max_tokens must be at least 1, not {question.max_tokens}", fields=("max_tokens",))
    if question.attempts is not None and not 1 <= question.attempts <= 20:
        raise Rejected(f"attempts must lie between 1 and 20, not {question.attempts}", fields=("attempts",))
    for name in ("attempt_timeout", "call_timeout"):
        seconds = getattr(question, f"{name}_seconds")
        if seconds is not None and not 0 < seconds <= LONGEST_CALL_SECONDS:
            raise Rejected(
                f"{name}_s must lie above 0 and at most at {LONGEST_CALL_SECONDS}, not {seconds:g}",
                fields=(f"{name}_s",),
            )


def _messages(question: Question) -> tuple[dict[str, Any], ...]:
    messages = question.messages or ({"role": "user", "content": question.prompt},)
    return ({"role": "system", "content": question.system}, *messages) if question.system else tuple(messages)


def _policy_for(question: Question, policy: AttemptPolicy) -> AttemptPolicy:
    if question.attempts is not None:
        policy = structs.replace(policy, attempts=question.attempts)
    if question.attempt_timeout_seconds is not None:
        policy = structs.replace(policy, attempt_timeout_seconds=question.attempt_timeout_seconds)
    if question.call_timeout_seconds is not None:
        policy = structs.replace(policy, call_timeout_seconds=question.call_timeout_seconds)
    return policy
