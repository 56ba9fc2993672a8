"""Identical requests in flight share one call: the first one's, whose answer all of them get.

Within a process they wait for each other; between processes the claim on the request decides who calls. It is taken in
the append that makes the request durable and given up in the one that ends the call, or stolen from a dead process.
"""

import asyncio
from contextlib import suppress
from uuid import UUID

from application.call_provider import CallIntent, CallProvider, CompletedCall, provider_failed
from application.flights import Asker, Flight, Given, Joined, MembersOf, Outcome, Overdue
from application.notebook import Context, Notebook
from application.ports import Claim, ClaimHeld
from application.providers import Sender
from application.stored_answers import end_of, stored_answer
from domain.calls import CallAnswered, CallFailed
from domain.errors import ProviderFailed, Unavailable
from domain.events import RecordedEvent

FIRST_LOOK_SECONDS = 0.01
LONGEST_LOOK_SECONDS = 0.2
CLAIM_SECONDS = 1.0  # how often who waits for another process's call tries to take it over


class ShareCalls:
    """Makes calls, each once however many ask for it at the same time. Instances are shared by all tasks."""

    def __init__(self, notebook: Notebook, call_provider: CallProvider) -> None:
        self._notebook = notebook
        self._call_provider = call_provider
        self._flights: dict[str, Flight] = {}
        self._left: list[Claim] = []  # that could not be given up, since the store was away

    async def __call__(
        self,
        provider: Sender,
        intent: CallIntent,
        context: Context,
        *,
        share: bool = True,
        members_of: MembersOf = lambda _call_id: (),
    ) -> Given:
        """Call the provider, or wait for the same call that is under way. Raises ProviderFailed, Unavailable.

        members_of: the events that put the call that answers into groups.
        """
        asker = Asker(self._notebook, provider, intent, context, members_of)
        if not share:
            return await self._call(asker, None)
        while True:
            flight = self._flights.get(intent.request_hash)
            given = await (self._lead(asker) if flight is None else self._follow(asker, flight))
            if given is not None:
                return given

    async def _call(self, asker: Asker, claim: Claim | None) -> Given:
        call_id = self._notebook.ids.new() if claim is None else claim.holder
        done = await self._call_provider(
            asker.provider,
            asker.intent,
            asker.context,
            call_id=call_id,
            companions=asker.companions(call_id),
            claims=() if claim is None else (claim,),
            requested=None if claim is None else lambda: self._is_ours(asker, call_id),
        )
        return Given(call_id=call_id, source=done, position=done.position)

    async def _lead(self, asker: Asker) -> Given:
        """Ask for all that come meanwhile. If we leave, one of them takes over: that is our affair alone."""
        key = asker.intent.request_hash
        self._flights[key] = Flight()
        outcome: Outcome = None
        try:
            given = await self._call_or_wait(asker)
            outcome = given.source
            return given
        except Overdue:
            raise
        except (ProviderFailed, Unavailable) as error:
            outcome = error
            raise
        finally:
            self._flights.pop(key).land(outcome)

    async def _call_or_wait(self, asker: Asker) -> Given:
        """Call, unless another process does already: then wait for its answer, and take over if none comes."""
        while True:
            if asker.joined is not None:
                outcome = await self._look_for_a_while(asker, asker.joined.owner)
                if outcome is not None:
                    return await asker.given(asker.joined, outcome)
            claim = Claim(key=f"call:{asker.intent.request_hash}", holder=self._notebook.ids.new())
            try:
                if asker.joined is None:
                    return await self._call(asker, claim)
                return await self._take_over(asker, asker.joined, claim)
            except ClaimHeld as held:
                claim = Claim(key=claim.key, holder=held.holder)
            except Unavailable:
                if asker.joined is None:
                    raise
                continue  # what we wait for goes on without the store, and is told when it is back
            await self._wait_for(asker, claim)

    async def _take_over(self, asker: Asker, joined: Joined, claim: Claim) -> Given:
        """Call in place of a call that is gone. Raises ClaimHeld while it isn't.

        A call gives its claim up in the append that ends it: whoever has the claim sees that end, which may have come
        between our last look and now.
        """
        await self.give_up()
        try:
            await self._notebook.take(claim)
            outcome = await self._outcome(asker, joined.owner)
            if outcome is None:
                return await self._call(asker, claim)
        except (asyncio.CancelledError, Unavailable):
            await asyncio.shield(self.give_up(claim))
            raise
        await self.give_up(claim)
        return await asker.given(joined, outcome)

    async def give_up(self, *claims: Claim) -> None:
        """Free claims under which nothing was asked; those for which the store is away, the next time.

        To be called again and again, also without any: nobody else could free them, since our process lives.
        """
        freeing, self._left = [*self._left, *claims], []
        try:
            if freeing:
                await self._notebook.free(*freeing)
        except Unavailable:
            self._left += freeing

    async def _wait_for(self, asker: Asker, held: Claim) -> None:
        if await end_of(self._notebook.store, held.holder) is not None:
            await self._notebook.free(held)  # it ended while the store was away, or gave the claim up just now
        elif asker.joined is None or asker.joined.owner != held.holder:
            await asker.join(held.holder)
            self._tell(asker, held.holder)

    async def _look_for_a_while(self, asker: Asker, owner: UUID) -> CompletedCall | ProviderFailed | None:
        """What a call came to; None if that is nothing, or nothing yet."""
        store, clock = self._notebook.store, self._notebook.clock
        until, pause = clock.monotonic() + CLAIM_SECONDS, FIRST_LOOK_SECONDS
        while True:
            with suppress(Unavailable):
                event = await end_of(store, owner)
                if event is not None:
                    return await self._came_to(asker, event)
            if asker.seconds_left <= 0:
                raise asker.overdue(owner)
            if clock.monotonic() >= until:
                return None
            await clock.sleep(pause)
            pause = min(pause * 2, LONGEST_LOOK_SECONDS)

    async def _outcome(self, asker: Asker, owner: UUID) -> CompletedCall | ProviderFailed | None:
        """What a call came to, by what is stored now. Raises Unavailable."""
        event = await end_of(self._notebook.store, owner)
        return None if event is None else await self._came_to(asker, event)

    async def _came_to(self, asker: Asker, end: RecordedEvent) -> CompletedCall | ProviderFailed | None:
        """What a call's end means for who joined it; None for one that was cancelled."""
        match end.fact:
            case CallAnswered() as answered:
                return await stored_answer(self._notebook.store, end, answered)
            case CallFailed(attempts=attempts, error=error):
                return provider_failed(asker.intent.prepared.provider, end.stream_id, attempts, error)
        return None

    async def _follow(self, asker: Asker, flight: Flight) -> Given | None:
        """Wait for what another task leads; None if it left."""
        while flight.owner is None and not flight.landed:
            await flight.change()
        if flight.owner is not None:
            await asker.join(flight.owner)
            try:
                async with asyncio.timeout(asker.seconds_left):
                    while not flight.landed:
                        await flight.change()
            except TimeoutError:
                raise asker.overdue(flight.owner) from None
        outcome = flight.outcome
        if isinstance(outcome, Unavailable):
            raise Unavailable(str(outcome))
        return None if outcome is None or asker.joined is None else await asker.given(asker.joined, outcome)

    def _is_ours(self, asker: Asker, call_id: UUID) -> None:
        asker.joined = None
        self._tell(asker, call_id)

    def _tell(self, asker: Asker, owner: UUID) -> None:
        """Tell who follows us whose call it is. Those that waited for another call come again, and join this one."""
        flight = self._flights[asker.intent.request_hash]
        if flight.owner is not None:
            flight.land(None)
            flight = self._flights[asker.intent.request_hash] = Flight()
        flight.belong_to(owner)
