"""Texts that are being embedded are embedded once: who wants one of them too waits for the call that has it.

Each text has a claim of its own, `text:<request hash>`, taken in the append that makes a call durable and given up in
the one that ends it. A batch that is refused because others hold some of its texts is parted: theirs are waited for,
the rest is sent. Nobody waits with a claim of their own in hand that others wait for: a call never waits for another.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple
from uuid import UUID

from application.call_provider import CompletedCall, provider_failed
from application.notebook import Context, Notebook
from application.ports import Claim, EventPages, NewEvent
from application.providers import PreparedRequest
from application.share_calls import CLAIM_SECONDS, FIRST_LOOK_SECONDS, LONGEST_LOOK_SECONDS
from application.stored_answers import end_of, stored_answer
from application.text_batches import Text
from domain.calls import CallAnswered, CallFailed, CallJoined, CallRequested
from domain.errors import ProviderFailed, Unavailable
from domain.events import Metadata, RecordedEvent
from domain.identity import sha256_hex

TAIL_PAGE = 1_000

Outcome = CompletedCall | ProviderFailed | None


class OthersCall(NamedTuple):
    """A call that embeds texts which we want too."""

    call_id: UUID
    keys: tuple[str, ...]  # of all its texts, in the order of its vectors


class Joiner:
    """Who waits for others' calls, one after the other: a stream of its own, and until when it would wait."""

    __slots__ = ("joiner_id", "until", "version", "waits_for")

    def __init__(self, joiner_id: UUID, until: float) -> None:
        self.joiner_id = joiner_id
        self.until = until
        self.version = 0
        self.waits_for: UUID | None = None


class SharedTexts:
    """Who embeds what just now, in this process and in others. Instances are shared by all tasks."""

    def __init__(self, notebook: Notebook, pages: EventPages) -> None:
        self._notebook = notebook
        self._pages = pages
        self._under_way: dict[UUID, asyncio.Future[Outcome]] = {}

    def begun(self, call_id: UUID) -> None:
        """A call of this process is about to be made: who waits for it here needs no look at the store."""
        self._under_way[call_id] = asyncio.get_running_loop().create_future()

    def ended(self, call_id: UUID, outcome: Outcome) -> None:
        """It came to this; nothing, if whoever made it left."""
        self._under_way.pop(call_id).set_result(outcome)

    async def call_of(self, holder: UUID) -> OthersCall:
        """What the holder of a claim is embedding. Raises Unavailable."""
        return _others_call(holder, await self._notebook.store.read_stream(holder))

    async def free(self, texts: Sequence[Text], call: OthersCall) -> None:
        """Give up a call's claims on these texts, which it has no right to any more. Raises Unavailable."""
        await self._notebook.free(*claims_of(texts, call.call_id))

    async def answered_between(self, after: int, until: int, keys: set[str], ours: set[UUID]) -> list[OthersCall]:
        """The calls whose answers, stored in between, hold a vector for one of these texts. Raises Unavailable.

        ours: calls that have none of these texts
        """
        found: list[OthersCall] = []
        while after < until:
            page = await asyncio.to_thread(self._pages.page, after=after, limit=TAIL_PAGE, until=until)
            for event in page:
                fact = event.fact
                if isinstance(fact, CallAnswered) and fact.vectors is not None and event.stream_id not in ours:
                    call = await self.call_of(event.stream_id)
                    if not keys.isdisjoint(call.keys):
                        found.append(call)
            after = until if len(page) < TAIL_PAGE else page[-1].position
        return found

    def joiner(self, *, seconds: float = 0.0, until: float | None = None) -> Joiner:
        """One who waits for at most so long, or as long as another one."""
        return Joiner(self._notebook.ids.new(), until or self._notebook.clock.monotonic() + seconds)

    async def wait(
        self,
        joiner: Joiner,
        call: OthersCall,
        texts: Sequence[Text],
        prepared: PreparedRequest,
        metadata: Metadata,
        context: Context,
    ) -> Outcome:
        """What a call came to; None if that is nothing, or nothing yet: then the texts are there to be claimed.

        Raises Unavailable, and ProviderFailed when it lasts longer than the joiner would wait.
        """
        local = self._under_way.get(call.call_id)
        ended = None if local is not None else await end_of(self._notebook.store, call.call_id)
        if joiner.waits_for != call.call_id:
            await self._notebook.write(self.joining(joiner, call.call_id, texts, prepared, metadata, context))
            self.joined(joiner, call.call_id)
        if ended is not None:
            # It ended while the store was away, or gave its claims up just now.
            await self.free(texts, call)
            return await self._told(ended, prepared)
        if local is not None:
            return await self._wait_here(joiner, call, local)
        return await self._look_for_a_while(joiner, call, prepared)

    def joining(
        self,
        joiner: Joiner,
        call_id: UUID,
        texts: Sequence[Text],
        prepared: PreparedRequest,
        metadata: Metadata,
        context: Context,
        *,
        took_over: bool = False,
    ) -> NewEvent:
        """The event that says which call the joiner waits for, or makes itself. `joined` notes that it is durable."""
        fact = CallJoined(
            call_id=call_id,
            modality="embedding",
            provider=prepared.provider,
            model=prepared.model,
            request_hash=batch_hash(texts),
            metadata=metadata,
            took_over=took_over,
            input_hashes=hashes_of(texts),
        )
        return self._notebook.entry(context, joiner.joiner_id, joiner.version + 1, fact, because_of=call_id)

    def joined(self, joiner: Joiner, call_id: UUID) -> None:
        """The joiner's last event is durable."""
        joiner.version += 1
        joiner.waits_for = call_id

    async def _wait_here(self, joiner: Joiner, call: OthersCall, local: "asyncio.Future[Outcome]") -> Outcome:
        try:
            async with asyncio.timeout(joiner.until - self._notebook.clock.monotonic()):
                return await asyncio.shield(local)
        except TimeoutError:
            raise _overdue(call) from None

    async def _look_for_a_while(self, joiner: Joiner, call: OthersCall, prepared: PreparedRequest) -> Outcome:
        store, clock = self._notebook.store, self._notebook.clock
        until, pause = clock.monotonic() + CLAIM_SECONDS, FIRST_LOOK_SECONDS
        while clock.monotonic() < until:
            with suppress(Unavailable):
                event = await end_of(store, call.call_id)
                if event is not None:
                    return await self._told(event, prepared)
            if clock.monotonic() >= joiner.until:
                raise _overdue(call)
            await clock.sleep(pause)
            pause = min(pause * 2, LONGEST_LOOK_SECONDS)
        return None

    async def _told(self, event: RecordedEvent, prepared: PreparedRequest) -> Outcome:
        match event.fact:
            case CallAnswered() as fact:
                return await stored_answer(self._notebook.store, event, fact)
            case CallFailed(attempts=attempts, error=error):
                return provider_failed(prepared.provider, event.stream_id, attempts, error)
        return None


def claims_of(texts: Sequence[Text], holder: UUID) -> tuple[Claim, ...]:
    """One claim a text."""
    return tuple(Claim(key=f"text:{each.key}", holder=holder) for each in texts)


def hashes_of(texts: Sequence[Text]) -> bytes:
    """n_texts x 32 bytes."""
    return bytes.fromhex("".join(each.key for each in texts))


def batch_hash(texts: Sequence[Text]) -> str:
    """The request hash of a batch: that of its texts' hashes, in order."""
    return sha256_hex("".join(each.key for each in texts).encode())


def _others_call(call_id: UUID, stream: Sequence[RecordedEvent]) -> OthersCall:
    hashes = next((event.fact.input_hashes for event in stream if isinstance(event.fact, CallRequested)), b"")
    return OthersCall(call_id, tuple(hashes[at : at + 32].hex() for at in range(0, len(hashes), 32)))


def _overdue(call: OthersCall) -> ProviderFailed:
    return ProviderFailed(
        f"Call {call.call_id}, which embeds the same text and was joined, has not ended within the time that a call "
        "may take; ask again",
        call_id=str(call.call_id),
        kind="timeout",
    )
