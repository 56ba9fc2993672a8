"""Ask a model, and get its answer once it is durable."""

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from msgspec import Struct, structs

from application.call_provider import AttemptPolicy, CallIntent
from application.flights import Given, MembersOf
from application.group_calls import GroupCalls, GroupPlace
from application.notebook import Context
from application.ports import NewEvent, ProviderDirectory, Tokenizers
from application.preprocess_messages import PreparedMessages, preprocessed
from application.providers import ChatRequest, PreparedRequest, Provider
from application.reuse_answers import ReuseAnswers
from application.share_calls import ShareCalls
from domain.calls import Tokens
from domain.errors import Rejected
from domain.events import Metadata
from domain.preprocessing import Preprocessing
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
    preprocessing: Preprocessing | None = None
    share: bool = True  # wait for the same call that is under way, instead of making another
    cache_seconds: float | None = None  # take an earlier answer to the same request that is at most so old


class Answer(Struct, frozen=True, kw_only=True):
    """An answer and what is known of it, as every interface shows it.

    shared_with: the call that was joined; it was paid for once. cached: the answer was given before, at no cost.
    cost: USD that this answer cost, 0 for one that another's call paid for; None where it is unknown
    saved: USD that the call which was paid for cost, where this answer is another's
    refused: the model declined to answer, and the text, if there is one, says so
    """

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
    shared_with: UUID | None = None
    cached: bool = False
    first_token_ms: float | None = None
    tokens_per_second: float | None = None
    cost: Decimal | None = None
    saved: Decimal | None = None
    refused: bool = False


class Intended(NamedTuple):
    """A question as it will be asked: of which provider, and in which words. Its hash is the request's identity."""

    provider: Provider
    call: CallIntent
    question: Question
    words: PreparedMessages


class AskModel:
    """Asks for one answer."""

    def __init__(
        self,
        share_calls: ShareCalls,
        reuse_answers: ReuseAnswers,
        providers: ProviderDirectory,
        groups: GroupCalls,
        policy: Callable[[], AttemptPolicy],
        tokenizers: Tokenizers,
    ) -> None:
        self._share_calls = share_calls
        self._reuse_answers = reuse_answers
        self._providers = providers
        self._groups = groups
        self._policy = policy
        self._tokenizers = tokenizers

    async def __call__(self, question: Question, context: Context) -> Answer:
        """Ask once. Raises Rejected, ProviderFailed, Unavailable."""
        return await self.ask(await self.intended(question), context)

    async def streamed(self, question: Question, context: Context, tell: Callable[[str], None]) -> Answer:
        """Ask once, and tell each piece of text as it comes. Raises Rejected, ProviderFailed, Unavailable."""
        if question.samples != 1:
            raise Rejected("Only one answer at a time can be streamed: leave away n, or stream", fields=("n", "stream"))
        return await self.ask(await self.intended(question, tell=tell), context)

    async def intended(
        self,
        question: Question,
        *,
        sample_index: int = 0,
        tell: Callable[[str], None] | None = None,
        words: PreparedMessages | None = None,
    ) -> Intended:
        """What would be asked, with its hash; nothing is recorded yet. Raises Rejected.

        words: the question's, where they have been prepared already
        """
        _check(question)
        provider = self._providers.create(question.provider)
        if tell is not None and not hasattr(provider, "stream"):
            raise Rejected(f"{provider.name} can't stream: ask it without stream", fields=("provider", "stream"))
        if words is None:
            words = await self._words(question, provider)
        parameters = {
            name: value
            for name in ("temperature", "max_tokens", "seed")
            if (value := getattr(question, name)) is not None
        }
        # Streaming is transport: the request's hash is that of the same request unstreamed.
        prepared = provider.prepare_chat(
            ChatRequest(model=question.model, messages=words.messages, parameters=parameters, stream=tell is not None)
        )
        call = CallIntent(
            prepared=prepared,
            modality="text",
            request_hash=chat_request_hash(
                provider=prepared.provider,
                endpoint=prepared.endpoint,
                model=prepared.model,
                messages=words.messages,
                parameters=parameters,
                sample_index=sample_index,
            ),
            policy=_policy_for(question, self._policy()),
            sample_index=sample_index,
            metadata=question.metadata,
            tell=tell,
            preprocessing=words.preprocessing,
            original=words.original,
        )
        return Intended(provider, call, question, words)

    async def words(self, question: Question) -> PreparedMessages:
        """A question's messages as they would be sent, and what is kept of how they came about. Raises Rejected."""
        return await self._words(question, self._providers.create(question.provider))

    async def _words(self, question: Question, provider: Provider) -> PreparedMessages:
        messages, wanted = messages_of(question), question.preprocessing
        if wanted is None:
            return PreparedMessages(messages=messages)
        tokenizer = None
        if wanted.truncate_tokens is not None:
            model = provider.prepare_chat(ChatRequest(model=question.model, messages=messages)).model
            tokenizer = await asyncio.to_thread(self._tokenizers.for_model, model)
        return await preprocessed(messages, wanted, tokenizer)

    async def ask(self, intended: Intended, context: Context, *, also_in: GroupPlace | None = None) -> Answer:
        """Ask. The call joins the question's group, which is created if it isn't there, and `also_in`, which is there.

        Raises ProviderFailed, Unavailable.
        """
        provider, call, question, _ = intended
        if question.group is not None:
            await self._groups.ensure(question.group, context)
        members_of = partial(self._members, question.group, call.sample_index, also_in, context)
        given = await self._earlier(intended, context, members_of)
        if given is None:
            # A stream is a call of its own: who joined it would wait for its end, and break off with it.
            share = question.share and call.tell is None
            given = await self._share_calls(provider, call, context, share=share, members_of=members_of)
            self._reuse_answers.answered_at(given.position)
        elif call.tell is not None and given.source.answer.text:
            call.tell(given.source.answer.text)
        return _answer(given, call.prepared)

    async def _earlier(self, intended: Intended, context: Context, members_of: MembersOf) -> Given | None:
        longest_seconds = intended.question.cache_seconds
        if longest_seconds is None:
            return None
        return await self._reuse_answers(intended.call, context, longest_seconds=longest_seconds, members_of=members_of)

    def _members(
        self, group: GroupPlace | None, sample_index: int, also_in: GroupPlace | None, context: Context, call_id: UUID
    ) -> tuple[NewEvent, ...]:
        places = ((group, sample_index), (also_in, 0))
        return tuple(
            self._groups.member_entry(place, call_id, context, offset=offset)
            for place, offset in places
            if place is not None
        )


def _answer(given: Given, prepared: PreparedRequest) -> Answer:
    source = given.source
    return Answer(
        call_id=given.call_id,
        status="success",
        text=source.answer.text,
        provider=prepared.provider,
        model=prepared.model,
        tokens=source.answer.tokens,
        latency_ms=0.0 if given.cached else source.answer.latency_ms,
        attempts=source.attempts,
        position=given.position,
        finish_reason=source.answer.finish_reason,
        shared_with=source.call_id if given.shared else None,
        cached=given.cached,
        first_token_ms=source.answer.first_token_ms,
        tokens_per_second=source.tokens_per_second,
        cost=Decimal(0) if given.shared or given.cached else source.cost,
        saved=source.cost if given.shared or given.cached else None,
        refused=is_refusal(source.answer.text_path, source.answer.finish_reason),
    )


def is_refusal(text_path: Sequence[str] | None, finish_reason: str | None) -> bool:
    """Whether an answer is a refusal: its text lies where refusals do, or a filter of the provider's took it away."""
    return (text_path is not None and text_path[-1] == "refusal") or finish_reason == "content_filter"


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
    if question.cache_seconds is not None:
        if question.cache_seconds <= 0:
            raise Rejected(f"cache must be a time above 0 s, not {question.cache_seconds:g} s", fields=("cache",))
        if question.temperature != 0 and question.seed is None:
            raise Rejected(
                "Only a request that has one answer can be cached: set temperature to 0, or give a seed",
                fields=("cache", "temperature", "seed"),
            )


def messages_of(question: Question) -> tuple[dict[str, Any], ...]:
    """A question's messages, its system prompt first, before any preprocessing."""
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
