"""Send the texts that have no vector yet: in batches, several at a time, until each has a vector or a failure.

A batch that is refused is split, so that a text that the provider does not take fails alone. What was answered is
stored at once, whatever becomes of the rest.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal
from uuid import UUID

import numpy as np
from msgspec import Struct

from application.call_provider import AnsweredMeanwhile, AttemptPolicy, CallIntent, CallProvider, CompletedCall
from application.find_vectors import EmbeddingCache, Vector
from application.notebook import Context
from application.ports import ClaimHeld, EventPages, NewEvent
from application.providers import EmbeddingsRequest, PreparedRequest, Provider
from application.share_texts import Joiner, OthersCall, SharedTexts, batch_hash, claims_of, hashes_of
from application.text_batches import REQUESTS_IN_FLIGHT, Place, Text, TextBatches, may_be_split
from domain.errors import ProviderFailed, StudyError
from domain.events import Metadata

MOST_BEHIND = 5_000  # events that a read model may be behind the log, which is read from there on
REFUSALS_IN_A_ROW = 8  # of single texts with nothing taken in between: then it is not the texts

NewId = Callable[[], UUID]


class Sending(Struct, frozen=True, kw_only=True):
    """With what texts are embedded, and for whom."""

    provider: Provider
    model: str  # as the provider calls it
    dimensions: int | None
    policy: AttemptPolicy
    metadata: Metadata
    context: Context

    def prepared(self, texts: Sequence[Text]) -> PreparedRequest:
        """The request for some texts."""
        return self.provider.prepare_embeddings(
            EmbeddingsRequest(model=self.model, texts=tuple(each.text for each in texts), dimensions=self.dimensions)
        )


class Sent(Struct, kw_only=True):
    """What became of the texts, by their hashes; `trouble` is what stopped the sending before its end."""

    vectors: dict[str, Vector]
    failures: dict[str, ProviderFailed]
    trouble: StudyError | None = None


class SendTexts:
    """Sends texts. Instances are shared by all tasks, as is what they learn of each other."""

    def __init__(
        self,
        call_provider: CallProvider,
        shared: SharedTexts,
        cache: EmbeddingCache,
        pages: EventPages,
        new_id: NewId,
        batches: TextBatches,
    ) -> None:
        self.call_provider = call_provider
        self.shared = shared
        self.cache = cache
        self.pages = pages
        self.new_id = new_id
        self.batches = batches

    async def __call__(self, sending: Sending, texts: Sequence[Text], told: Callable[[int], None]) -> Sent:
        """Send distinct texts; all that were begun are let end, whatever goes wrong with one.

        told: is called with the number of texts that are done with
        """
        run = _Run(self, sending, texts, told)
        try:
            async with asyncio.TaskGroup() as tasks:
                run.tasks = tasks
                for _ in range(min(REQUESTS_IN_FLIGHT, len(texts))):
                    tasks.create_task(run.work())
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return run.sent


class _Run:
    """One command's texts on their way."""

    tasks: asyncio.TaskGroup

    def __init__(self, by: SendTexts, sending: Sending, texts: Sequence[Text], told: Callable[[int], None]) -> None:
        self.by = by
        self.sending = sending
        self.texts = texts
        self.told = told
        self.sent = Sent(vectors={}, failures={})
        self._next = 0
        self._places = asyncio.Semaphore(REQUESTS_IN_FLIGHT)
        self._ours: set[UUID] = set()
        self._refused_in_a_row = 0

    async def work(self) -> None:
        """Take batch after batch until none is left, or there is trouble."""
        while self._next < len(self.texts) and self.sent.trouble is None:
            start = self._next
            self._next = self.by.batches.end_of_batch(self.texts, start, place=self._place())
            await self._embed(list(self.texts[start : self._next]), None)

    async def _embed(self, texts: list[Text], joiner: Joiner | None) -> None:
        """Send texts until each has a vector or a failure; those that others have are waited for beside this."""
        parts = [texts]
        while parts and self.sent.trouble is None:
            try:
                async with self._places:
                    parts += reversed(await self._send(parts.pop(), joiner))
            except StudyError as error:
                self.sent.trouble = self.sent.trouble or error
            self.told(len(self.sent.vectors) + len(self.sent.failures))

    async def _send(self, texts: list[Text], joiner: Joiner | None) -> list[list[Text]]:
        """One call for the texts that are nobody's and not answered yet; returns those that are to be sent next."""
        texts, looked_until = await self._not_answered(texts)
        if not texts:
            return []
        call = OthersCall(self.by.new_id(), tuple(each.key for each in texts))
        outcome: CompletedCall | ProviderFailed | None = None
        self.by.shared.begun(call.call_id)
        self._ours.add(call.call_id)
        try:
            outcome = await self._call(call.call_id, texts, joiner, looked_until)
        except ClaimHeld as held:
            return await self._part(texts, await self.by.shared.call_of(held.holder), joiner)
        except AnsweredMeanwhile as answered:
            joiner = self._joiner(joiner)
            for source in answered.call_ids:
                texts = await self._waited(texts, await self.by.shared.call_of(source), joiner)
            return [texts] if texts else []
        except ProviderFailed as failure:
            outcome = failure
            return self._after_failure(texts, failure)
        finally:
            self.by.shared.ended(call.call_id, outcome)
        self._take(texts, call, outcome, how="paid")
        return []

    async def _call(self, call_id: UUID, texts: list[Text], joiner: Joiner | None, looked_until: int) -> CompletedCall:
        sending, shared = self.sending, self.by.shared
        prepared = sending.prepared(texts)
        companions: tuple[NewEvent, ...] = ()
        if joiner is not None and joiner.waits_for is not None:
            companions = (
                shared.joining(joiner, call_id, texts, prepared, sending.metadata, sending.context, took_over=True),
            )

        async def still_needed(position: int) -> None:
            if companions and joiner is not None:
                shared.joined(joiner, call_id)
            keys = {each.key for each in texts}
            answered = await shared.answered_between(looked_until, position - 1, keys, self._ours)
            if answered:
                raise AnsweredMeanwhile(tuple(call.call_id for call in answered))

        intent = CallIntent(
            prepared=prepared,
            modality="embedding",
            request_hash=batch_hash(texts),
            policy=sending.policy,
            input_hashes=hashes_of(texts),
            dimensions=sending.dimensions,
            metadata=sending.metadata,
        )
        return await self.by.call_provider(
            sending.provider,
            intent,
            sending.context,
            call_id=call_id,
            companions=companions,
            claims=claims_of(texts, call_id),
            still_needed=still_needed,
        )

    async def _not_answered(self, texts: list[Text]) -> tuple[list[Text], int]:
        """Those that the cache does not show, and up to where in the log it was looked."""
        at_least = await asyncio.to_thread(self.by.pages.last_position) - MOST_BEHIND
        found = await self.by.cache.lookup([each.key for each in texts], at_least=at_least)
        if not found.places.size:
            return texts, found.position
        rows = np.empty((len(texts), found.dimension()), dtype=np.float32)
        await self.by.cache.read_into(found, rows)
        for place, number in zip(found.places.tolist(), found.call_numbers.tolist(), strict=True):
            call = found.calls[number]
            self.sent.vectors[texts[place].key] = Vector(
                call_id=call.call_id, row=rows[place], position=found.position, how="cached", found_in=call
            )
        return [each for each in texts if each.key not in self.sent.vectors], found.position

    async def _part(self, texts: list[Text], theirs: OthersCall, joiner: Joiner | None) -> list[list[Text]]:
        """Wait beside this for what others have, and go on with the rest."""
        keys = {*theirs.keys}
        rest = [each for each in texts if each.key not in keys]
        waited_for = [each for each in texts if each.key in keys]
        if not waited_for:
            await self.by.shared.free(texts, theirs)  # claims of a call that never was, or embeds none of these
            return [rest]
        if rest and joiner is not None:
            joiner = self.by.shared.joiner(until=joiner.until)  # a stream has one writer at a time
        self.tasks.create_task(self._wait(waited_for, theirs, self._joiner(joiner)))
        return [rest] if rest else []

    async def _wait(self, texts: list[Text], call: OthersCall, joiner: Joiner) -> None:
        try:
            left = await self._waited(texts, call, joiner)
        except StudyError as error:
            self.sent.trouble = self.sent.trouble or error
            return
        if left:
            await self._embed(left, joiner)
        else:
            self.told(len(self.sent.vectors) + len(self.sent.failures))

    async def _waited(self, texts: list[Text], call: OthersCall, joiner: Joiner) -> list[Text]:
        """Take what another's call came to; returns the texts that it gave nothing for."""
        sending = self.sending
        prepared = sending.prepared(texts)
        try:
            outcome = await self.by.shared.wait(joiner, call, texts, prepared, sending.metadata, sending.context)
        except ProviderFailed as overdue:
            self._fail(texts, overdue)
            return []
        if isinstance(outcome, CompletedCall):
            return self._take(texts, call, outcome, how="shared")
        # Nothing came of it; or it was refused, perhaps for other texts than ours, which are asked for again.
        if outcome is None or (may_be_split(outcome) and len(call.keys) > 1):
            return texts
        self._fail(texts, outcome)
        return []

    def _after_failure(self, texts: list[Text], failure: ProviderFailed) -> list[list[Text]]:
        """Split a refused batch, so that what is wrong with one text is that text's affair alone."""
        if may_be_split(failure):
            self.by.batches.refused(failure, len(texts), place=self._place())
        if may_be_split(failure) and len(texts) > 1:
            half = len(texts) // 2
            return [texts[:half], texts[half:]]
        self._fail(texts, failure)
        self._refused_in_a_row += 1
        if not may_be_split(failure) or self._refused_in_a_row >= REFUSALS_IN_A_ROW:
            self.sent.trouble = self.sent.trouble or failure  # others would fare no better: it is not the texts
        return []

    def _take(
        self, texts: list[Text], call: OthersCall, done: CompletedCall, *, how: Literal["paid", "shared"]
    ) -> list[Text]:
        """Keep the vectors that a call has for our texts; returns the texts that it has none for."""
        self._refused_in_a_row = 0
        rows, row_of = done.answer.vectors, {key: row for row, key in enumerate(call.keys)}
        if rows is None:
            return texts
        for each in texts:
            if each.key in row_of:
                self.sent.vectors[each.key] = Vector(
                    call_id=done.call_id,
                    row=rows[row_of[each.key]],
                    position=done.position,
                    how=how,
                    call_cost=done.cost,
                )
        return [each for each in texts if each.key not in row_of]

    def _fail(self, texts: list[Text], failure: ProviderFailed) -> None:
        self.sent.failures.update({each.key: failure for each in texts})

    def _joiner(self, joiner: Joiner | None) -> Joiner:
        return joiner or self.by.shared.joiner(seconds=self.sending.policy.call_timeout_seconds)

    def _place(self) -> Place:
        return self.sending.provider.endpoint, self.sending.model
