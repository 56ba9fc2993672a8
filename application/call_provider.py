"""The life of one call: request durable, attempts, answer durable. Chats, streamed or not, and embeddings share it."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from decimal import Decimal
from uuid import UUID

from msgspec import Struct, structs
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from application.call_bodies import (
    Bodies,
    bodies_of_answer,
    bodies_of_failure,
    bodies_of_stream,
    tokens_per_second,
    vector_block,
)
from application.notebook import Context, Notebook
from application.ports import Claim, ClaimHeld, NewEvent, Payload, Unacknowledged
from application.providers import AttemptFailed, PreparedRequest, ProviderAnswer, Sender, Transcript
from domain.calls import (
    AttemptError,
    CallAnswered,
    CallAttemptFailed,
    CallCancelled,
    CallFailed,
    CallRequested,
    Modality,
)
from domain.errors import ProviderFailed, Unavailable
from domain.events import Fact, Metadata
from domain.preprocessing import Preprocessed
from domain.pricing import NO_PRICES, Charge, PriceTable, Usage


class AttemptPolicy(Struct, frozen=True, kw_only=True):
    """How often to try, how long to wait between tries, and how long a try and all of them may take."""

    attempts: int
    attempt_timeout_seconds: float = 60.0
    first_wait_seconds: float = 1.0
    longest_wait_seconds: float = 10.0
    call_timeout_seconds: float = 600.0  # from the first attempt on: attempts and waits


class Stopping:
    """Why calls are cancelled, which they say; told more exactly once the process is about to stop."""

    reason = "the caller left or the process was stopped"

    @property
    def has_begun(self) -> bool:
        """Whether the process is about to stop."""
        return self.reason != Stopping.reason


class CallIntent(Struct, frozen=True, kw_only=True):
    """A call that is about to be made.

    tell: streams the answer: is called with each piece of text. What has been told is never asked for again.
    """

    prepared: PreparedRequest
    modality: Modality
    request_hash: str
    policy: AttemptPolicy
    sample_index: int = 0
    input_hashes: bytes = b""
    dimensions: int | None = None
    metadata: Metadata = {}
    tell: Callable[[str], None] | None = None
    preprocessing: Preprocessed | None = None
    original: Payload | None = None

    @property
    def originals(self) -> tuple[Payload, ...]:
        """What lies beside the event of who asked: the prompt before it was preprocessed, where it is kept."""
        return () if self.original is None else (self.original,)


class CompletedCall(Struct, frozen=True, kw_only=True):
    """A call with its answer, which is durable: at `position`, or in the journal while that is None."""

    call_id: UUID
    answer: ProviderAnswer
    attempts: int
    total_ms: float
    position: int | None
    tokens_per_second: float | None = None
    cost: Decimal | None = None  # USD


class AnsweredMeanwhile(Exception):
    """What a call was to ask had been answered by other calls before it was made durable; the text says which."""

    def __init__(self, call_ids: tuple[UUID, ...]) -> None:
        super().__init__(f"{', '.join(map(str, call_ids))} answered meanwhile; the provider was not asked")
        self.call_ids = call_ids


Places = Callable[[str], AbstractAsyncContextManager[object]]
StillNeeded = Callable[[int], Awaitable[None]]


class CallProvider:
    """Makes calls and records all that happens to them. Instances are shared by all tasks.

    places: where a call waits until a provider, by its name, may be asked
    prices: what an answer costs, by what is known when it comes
    """

    def __init__(
        self,
        notebook: Notebook,
        *,
        chance: random.Random,
        places: Places = lambda _provider: nullcontext(),
        stopping: Stopping | None = None,
        prices: PriceTable = NO_PRICES,
    ) -> None:
        self._notebook = notebook
        self._prices = prices
        self._chance = chance
        self._places = places
        self._stopping = stopping or Stopping()

    async def __call__(
        self,
        provider: Sender,
        intent: CallIntent,
        context: Context,
        *,
        call_id: UUID | None = None,
        companions: tuple[NewEvent, ...] = (),
        claims: tuple[Claim, ...] = (),
        requested: Callable[[], None] | None = None,
        still_needed: StillNeeded | None = None,
    ) -> CompletedCall:
        """Call the provider once the request is durable. Raises ProviderFailed when no attempt succeeds.

        companions: events that must land together with the request, such as a group's new member.
        claims: taken with the request, all or none, and given up with the call's end. Raises ClaimHeld, and asks
        nothing, if one is held.
        requested: told once the request is durable.
        still_needed: looks at what was stored before the request was. If it raises, the call ends unmade.
        """
        call_id = call_id or self._notebook.ids.new()
        async with self._places(intent.prepared.provider):
            call = _Call(self._notebook, self._chance, provider, intent, context, call_id, claims, self._prices)
            try:
                position = await call.request(companions)
                if requested is not None:
                    requested()
                if still_needed is not None:
                    await _looked(call, still_needed, position)
                return await call.attempt_until_answered()
            except asyncio.CancelledError:
                await asyncio.shield(call.cancelled(self._stopping.reason))
                raise


class _Call:
    """One call under way: knows its next version, its attempts and when it began."""

    def __init__(
        self,
        notebook: Notebook,
        chance: random.Random,
        provider: Sender,
        intent: CallIntent,
        context: Context,
        call_id: UUID,
        claims: tuple[Claim, ...],
        prices: PriceTable,
    ) -> None:
        self.notebook = notebook
        self.prices = prices
        self.chance = chance
        self.provider = provider
        self.intent = intent
        self.context = context
        self.call_id = call_id
        self.claims = claims
        self.transcript: Transcript | None = None  # of the stream under way
        self.version = 0
        self.attempts = 0
        self.ended = False
        self.began = self.first_attempt_at = notebook.clock.monotonic()
        self.why_no_more = ""

    async def request(self, companions: tuple[NewEvent, ...]) -> int:
        intent, prepared = self.intent, self.intent.prepared
        body = Payload(part="request", body=prepared.body, media_type=prepared.media_type, is_json=True)
        requested = CallRequested(
            modality=intent.modality,
            provider=prepared.provider,
            endpoint=prepared.endpoint,
            model=prepared.model,
            operation=prepared.operation,
            request=body.ref(),
            request_hash=intent.request_hash,
            max_attempts=intent.policy.attempts,
            attempt_timeout_seconds=intent.policy.attempt_timeout_seconds,
            sample_index=intent.sample_index,
            input_hashes=intent.input_hashes,
            dimensions=intent.dimensions,
            metadata=intent.metadata,
            preprocessing=intent.preprocessing,
        )
        entry = self.notebook.entry(self.context, self.call_id, 1, requested, body, *intent.originals)
        self.version = 1  # also if the caller leaves now: what was requested must be seen to end
        try:
            return await self.notebook.write_whoever_leaves(entry, *companions, take=self.claims)
        except ClaimHeld:
            self.ended = True  # it never began
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise asyncio.CancelledError from None
            raise
        except Unacknowledged:
            reason = "the store went away before it confirmed the request; the provider was not asked"
            never_made = CallCancelled(attempts=0, reason=reason, total_ms=self._elapsed_ms())
            await self.notebook.journal.keep((self.notebook.entry(self.context, self.call_id, 2, never_made),))
            raise

    async def attempt_until_answered(self) -> CompletedCall:
        self.first_attempt_at = self.notebook.clock.monotonic()
        try:
            answer = await self._attempt()
        except AttemptFailed as failure:
            answer = await self._attempts_after(failure)
        return await self._answered(answer)

    async def _attempts_after(self, first: AttemptFailed) -> ProviderAnswer:
        """Try on after a first failure. Most calls have none, and are spared what setting up the retries costs."""
        outcomes = iter([first])
        retrying = AsyncRetrying(
            stop=self._no_more,
            retry=retry_if_exception(self._may_retry),
            wait=self._wait_seconds,
            sleep=self.notebook.clock.sleep,
            before_sleep=self._attempt_failed,
            reraise=True,
        )

        async def attempt() -> ProviderAnswer:
            for failure in outcomes:
                raise failure
            return await self._attempt()

        try:
            return await retrying(attempt)
        except AttemptFailed as failure:
            error = structs.replace(failure.error, message=failure.error.message + self.why_no_more)
            position = await self._failed(failure, error)
            provider_name = self.intent.prepared.provider
            raise provider_failed(provider_name, self.call_id, self.attempts, error, position=position) from failure

    async def cancelled(self, reason: str) -> None:
        if not self.ended:
            self.ended = True
            left = self.transcript
            bodies = Bodies() if left is None else bodies_of_stream(left)
            fact = CallCancelled(
                attempts=self.attempts,
                reason=reason,
                total_ms=self._elapsed_ms(),
                latency_ms=None if left is None else left.latency_ms,
                response=bodies.response_ref,
                completion=bodies.completion_ref,
                first_token_ms=None if left is None else left.first_token_ms,
            )
            await self._record(fact, *bodies.payloads)

    async def _attempt(self) -> ProviderAnswer:
        self.attempts += 1
        began = self.notebook.clock.monotonic()
        seconds = min(self.intent.policy.attempt_timeout_seconds, self._left_seconds())
        try:
            if self.intent.tell is None:
                return await self.provider.send(self.intent.prepared, timeout_seconds=seconds)
            return await self._stream(self.intent.tell, timeout_seconds=seconds)
        except AttemptFailed:
            raise
        except Exception as error:
            # Its text may hold anything, also a key; whoever wrote the provider finds it in the traceback.
            message = f"the provider's own code failed with {type(error).__name__}"
            latency_ms = (self.notebook.clock.monotonic() - began) * 1000
            defect = AttemptError(kind="unexpected", message=message, transient=False)
            raise AttemptFailed(defect, latency_ms=latency_ms) from error

    async def _stream(self, tell: Callable[[str], None], *, timeout_seconds: float) -> ProviderAnswer:
        """Each piece has the time of an attempt, and all of them together the call's."""
        self.transcript = Transcript(tell)
        try:
            async with asyncio.timeout(self._left_seconds()):
                return await self.provider.stream(
                    self.intent.prepared, timeout_seconds=timeout_seconds, transcript=self.transcript
                )
        except TimeoutError:
            message = (
                f"the stream had not ended when the call's {self.intent.policy.call_timeout_seconds:g} s were over"
            )
            error = AttemptError(kind="timeout", message=message, transient=True)
            raise AttemptFailed(error, latency_ms=self.transcript.latency_ms) from None

    def _left_seconds(self) -> float:
        """What is left of the time that the whole call may take."""
        return self.first_attempt_at + self.intent.policy.call_timeout_seconds - self.notebook.clock.monotonic()

    def _no_more(self, state: RetryCallState) -> bool:
        """Whether all attempts were made, or the call's time would be over before the next."""
        if self.attempts >= self.intent.policy.attempts:
            return True
        if state.upcoming_sleep < self._left_seconds():
            return False
        self.why_no_more = (
            f"; not tried again, since the wait of {state.upcoming_sleep:.1f} s is longer than what is left of the "
            f"call's {self.intent.policy.call_timeout_seconds:g} s"
        )
        return True

    def _may_retry(self, error: BaseException) -> bool:
        """Whoever has seen a part of an answer would otherwise see two answers."""
        told = self.transcript is not None and self.transcript.told
        return isinstance(error, AttemptFailed) and error.error.transient and not told

    def _wait_seconds(self, state: RetryCallState) -> float:
        """Exponential with jitter, or what the provider asked for if that is longer."""
        policy = self.intent.policy
        longest = min(policy.longest_wait_seconds, policy.first_wait_seconds * 2 ** (state.attempt_number - 1))
        wait: float = longest * (0.5 + 0.5 * self.chance.random())
        failure = state.outcome.exception() if state.outcome else None
        asked = failure.error.retry_after_seconds if isinstance(failure, AttemptFailed) else None
        return max(wait, asked) if asked is not None else wait

    async def _attempt_failed(self, state: RetryCallState) -> None:
        failure = state.outcome.exception() if state.outcome else None
        if isinstance(failure, AttemptFailed):
            fact, payloads = self._failure_fact(failure, waits_seconds=state.upcoming_sleep)
            self.transcript = None  # it is recorded here, also if the caller leaves meanwhile
            await self._record(fact, *payloads)

    def _failure_fact(
        self, failure: AttemptFailed, *, waits_seconds: float | None
    ) -> tuple[CallAttemptFailed, tuple[Payload, ...]]:
        streamed = self.transcript
        bodies = bodies_of_stream(streamed) if streamed and streamed.body else bodies_of_failure(failure)
        fact = CallAttemptFailed(
            attempt=self.attempts,
            error=failure.error,
            latency_ms=failure.latency_ms,
            waits_seconds=waits_seconds,
            response=bodies.response_ref,
            completion=bodies.completion_ref,
            first_token_ms=None if streamed is None else streamed.first_token_ms,
        )
        return fact, bodies.payloads

    async def _failed(self, failure: AttemptFailed, error: AttemptError) -> int | None:
        last_attempt, payloads = self._failure_fact(failure, waits_seconds=None)
        failed = CallFailed(attempts=self.attempts, error=error, total_ms=self._elapsed_ms())
        self.ended = True
        return await self._record_all((last_attempt, payloads), (failed, ()))

    async def _answered(self, answer: ProviderAnswer) -> CompletedCall:
        total_ms = self._elapsed_ms()
        bodies, rate, charge = bodies_of_answer(answer), tokens_per_second(answer), self._charge(answer)
        fact = CallAnswered(
            attempt=self.attempts,
            latency_ms=answer.latency_ms,
            total_ms=total_ms,
            tokens=answer.tokens,
            response=bodies.payloads[0].ref(),
            served_model=answer.model,
            http_status=answer.http_status,
            headers=answer.headers,
            finish_reason=answer.finish_reason,
            text_path=answer.text_path,
            vectors=None if answer.vectors is None else vector_block(answer.vectors),
            completion=bodies.completion_ref,
            first_token_ms=answer.first_token_ms,
            tokens_per_second=rate,
            charge=charge,
        )
        self.ended = True
        position = await self._record(fact, *bodies.payloads)
        return CompletedCall(
            call_id=self.call_id,
            answer=answer,
            attempts=self.attempts,
            total_ms=total_ms,
            position=position,
            tokens_per_second=rate,
            cost=fact.cost,
        )

    def _charge(self, answer: ProviderAnswer) -> Charge | None:
        prepared, tokens = self.intent.prepared, answer.tokens
        usage = Usage(
            operation=prepared.operation, prompt=tokens.prompt, completion=tokens.completion, cached=tokens.cached
        )
        return self.prices.charge(
            usage,
            provider=prepared.provider,
            endpoint=prepared.endpoint,
            models=(answer.model, prepared.model),
            at=self.notebook.clock.now(),
        )

    async def _record(self, fact: Fact, *payloads: Payload) -> int | None:
        return await self._record_all((fact, payloads))

    async def _record_all(self, *facts: tuple[Fact, tuple[Payload, ...]]) -> int | None:
        """Record facts that land together; None if they wait in the journal.

        Recovery may have come between, because we were thought dead: then they stand behind its doubt.
        """
        entries = [
            self.notebook.entry(self.context, self.call_id, self.version + step, fact, *payloads)
            for step, (fact, payloads) in enumerate(facts, start=1)
        ]
        self.version += len(facts)
        return await self.notebook.write_or_keep(*entries, free=self.claims if self.ended else ())

    def _elapsed_ms(self) -> float:
        return (self.notebook.clock.monotonic() - self.began) * 1000


async def _looked(call: _Call, still_needed: StillNeeded, position: int) -> None:
    try:
        await still_needed(position)
    except (AnsweredMeanwhile, Unavailable) as reason:
        await call.cancelled(str(reason))
        raise


def provider_failed(
    provider: str, call_id: UUID, attempts: int, error: AttemptError, *, position: int | None = None
) -> ProviderFailed:
    """A call's final failure, in words."""
    tries = f"{attempts} attempt{'s' if attempts > 1 else ''}"
    return ProviderFailed(
        f"{provider} failed after {tries}: {error.message}",
        call_id=str(call_id),
        kind=error.kind,
        http_status=error.http_status,
        position=position,
    )
