"""Identical requests in flight share one call: the first one's, whose answer all of them get.

Within a process they wait for each other; between processes the claim on the request decides who calls. It is taken in
the append that makes the request durable and given up in the one that ends the call, or stolen from a dead process.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple
from uuid import UUID

from msgspec import Struct

from application.call_provider import CallIntent, CallProvider, CompletedCall, provider_failed
from application.notebook import Context, Notebook, last_of
from application.ports import Claim, ClaimHeld, NewEvent
from application.providers import Sender
from application.stored_answers import end_of, stored_answer
from domain.calls import CallAnswered, CallFailed, CallJoined
from domain.errors import ProviderFailed, Unavailable
from domain.events import RecordedEvent

FIRST_LOOK_SECONDS = 0.01
LONGEST_LOOK_SECONDS = 0.2
CLAIM_SECONDS = 1.0  # how often who waits for another process's call tries to take it over

MembersOf = Callable[[UUID], tuple[NewEvent, ...]]
Outcome = CompletedCall | ProviderFailed | Unavailable | None


class Given(Struct, frozen=True, kw_only=True, gc=False):
    """An answer as it is given to one who asked: from a call of its own, a shared one, or an earlier one.

    call_id: of the one who asked; `source` is the call that was paid for.
    position: where all that concerns this answer is stored, None while some of it waits in the journal.
    """

    call_id: UUID
    source: CompletedCall
    position: int | None
    shared: bool = False
    cached: bool = False


class ShareCalls:
    """Makes calls, each once however many ask for it at the same time. Instances are shared by all tasks."""

    def __init__(self, notebook: Notebook, call_provider: CallProvider) -> None:
        self._notebook = notebook
        self._call_provider = call_provider
        self._flights: dict[str, _Flight] = {}
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
        request = _Request(self._notebook, provider, intent, context, members_of)
        if not share:
            return await self._call(request, None)
        while True:
            flight = self._flights.get(intent.request_hash)
            given = await (self._lead(request) if flight is None else self._follow(request, flight))
            if given is not None:
                return given

    async def _call(self, request: "_Request", claim: Claim | None) -> Given:
        call_id = self._notebook.ids.new() if claim is None else claim.holder
        done = await self._call_provider(
            request.provider,
            request.intent,
            request.context,
            call_id=call_id,
            companions=request.companions(call_id),
            claims=() if claim is None else (claim,),
            requested=None if claim is None else lambda: self._is_ours(request, call_id),
        )
        return Given(call_id=call_id, source=done, position=done.position)

    async def _lead(self, request: "_Request") -> Given:
        """Ask for all that come meanwhile. If we leave, one of them takes over: that is our affair alone."""
        key = request.intent.request_hash
        self._flights[key] = _Flight()
        outcome: Outcome = None
        try:
            given = await self._call_or_wait(request)
            outcome = given.source
            return given
        except _Overdue:
            raise
        except (ProviderFailed, Unavailable) as error:
            outcome = error
            raise
        finally:
            self._flights.pop(key).land(outcome)

    async def _call_or_wait(self, request: "_Request") -> Given:
        """Call, unless another process does already: then wait for its answer, and take over if none comes."""
        while True:
            if request.joined is not None:
                outcome = await self._look_for_a_while(request, request.joined.owner)
                if outcome is not None:
                    return await request.given(request.joined, outcome)
            claim = Claim(key=f"call:{request.intent.request_hash}", holder=self._notebook.ids.new())
            try:
                if request.joined is None:
                    return await self._call(request, claim)
                return await self._take_over(request, request.joined, claim)
            except ClaimHeld as held:
                claim = Claim(key=claim.key, holder=held.holder)
            except Unavailable:
                if request.joined is None:
                    raise
                continue  # what we wait for goes on without the store, and is told when it is back
            await self._wait_for(request, claim)

    async def _take_over(self, request: "_Request", joined: "_Joined", claim: Claim) -> Given:
        """Call in place of a call that is gone. Raises ClaimHeld while it isn't.

        A call gives its claim up in the append that ends it: whoever has the claim sees that end, which may have come
        between our last look and now.
        """
        await self._give_up()
        try:
            await self._notebook.take(claim)
            outcome = await self._outcome(request, joined.owner)
            if outcome is None:
                return await self._call(request, claim)
        except (asyncio.CancelledError, Unavailable):
            await asyncio.shield(self._give_up(claim))
            raise
        await self._give_up(claim)
        return await request.given(joined, outcome)

    async def _give_up(self, *claims: Claim) -> None:
        """Free claims under which nothing was asked; those for which the store is away, the next time."""
        freeing, self._left = [*self._left, *claims], []
        try:
            if freeing:
                await self._notebook.free(*freeing)
        except Unavailable:
            self._left += freeing

    async def _wait_for(self, request: "_Request", held: Claim) -> None:
        if await end_of(self._notebook.store, held.holder) is not None:
            await self._notebook.free(held)  # it ended while the store was away, or gave the claim up just now
        elif request.joined is None or request.joined.owner != held.holder:
            await request.join(held.holder)
            self._tell(request, held.holder)

    async def _look_for_a_while(self, request: "_Request", owner: UUID) -> CompletedCall | ProviderFailed | None:
        """What a call came to; None if that is nothing, or nothing yet."""
        store, clock = self._notebook.store, self._notebook.clock
        until, pause = clock.monotonic() + CLAIM_SECONDS, FIRST_LOOK_SECONDS
        while True:
            with suppress(Unavailable):
                event = await end_of(store, owner)
                if event is not None:
                    return await self._came_to(request, event)
            if request.seconds_left <= 0:
                raise request.overdue(owner)
            if clock.monotonic() >= until:
                return None
            await clock.sleep(pause)
            pause = min(pause * 2, LONGEST_LOOK_SECONDS)

    async def _outcome(self, request: "_Request", owner: UUID) -> CompletedCall | ProviderFailed | None:
        """What a call came to, by what is stored now. Raises Unavailable."""
        event = await end_of(self._notebook.store, owner)
        return None if event is None else await self._came_to(request, event)

    async def _came_to(self, request: "_Request", end: RecordedEvent) -> CompletedCall | ProviderFailed | None:
        """What a call's end means for who joined it; None for one that was cancelled."""
        match end.fact:
            case CallAnswered() as answered:
                return await stored_answer(self._notebook.store, end, answered)
            case CallFailed(attempts=attempts, error=error):
                return provider_failed(request.intent.prepared.provider, end.stream_id, attempts, error)
        return None

    async def _follow(self, request: "_Request", flight: "_Flight") -> Given | None:
        """Wait for what another task leads; None if it left."""
        while flight.owner is None and not flight.landed:
            await flight.change()
        if flight.owner is not None:
            await request.join(flight.owner)
            try:
                async with asyncio.timeout(request.seconds_left):
                    while not flight.landed:
                        await flight.change()
            except TimeoutError:
                raise request.overdue(flight.owner) from None
        outcome = flight.outcome
        if isinstance(outcome, Unavailable):
            raise Unavailable(str(outcome))
        return None if outcome is None or request.joined is None else await request.given(request.joined, outcome)

    def _is_ours(self, request: "_Request", call_id: UUID) -> None:
        request.joined = None
        self._tell(request, call_id)

    def _tell(self, request: "_Request", owner: UUID) -> None:
        """Tell who follows us whose call it is. Those that waited for another call come again, and join this one."""
        flight = self._flights[request.intent.request_hash]
        if flight.owner is not None:
            flight.land(None)
            flight = self._flights[request.intent.request_hash] = _Flight()
        flight.belong_to(owner)


class _Flight:
    """What the tasks of this process that ask the same wait for: whose call it is, and what it comes to.

    Most calls are followed by nobody, so that a future is made only by who waits.
    """

    __slots__ = ("_waiting", "landed", "outcome", "owner")

    def __init__(self) -> None:
        self.owner: UUID | None = None
        self.landed = False
        self.outcome: Outcome = None
        self._waiting: list[asyncio.Future[None]] = []

    async def change(self) -> None:
        """Until something is known that was not."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        await waiting

    def belong_to(self, owner: UUID) -> None:
        """The call is durable, or another process's was joined."""
        self.owner = owner
        self._wake()

    def land(self, outcome: Outcome) -> None:
        """It is over; without an outcome if whoever led it left."""
        self.landed = True
        self.outcome = outcome
        self._wake()

    def _wake(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting = []


class _Joined(NamedTuple):
    """Which call is waited for, in whose name, and where that is recorded."""

    owner: UUID
    joiner_id: UUID
    version: int
    position: int


class _Request:
    """One who asks: what, for whom, which call they wait for if any, and how long they still would."""

    __slots__ = ("_members_of", "_notebook", "_until", "context", "intent", "joined", "provider")

    def __init__(
        self,
        notebook: Notebook,
        provider: Sender,
        intent: CallIntent,
        context: Context,
        members_of: MembersOf,
    ) -> None:
        self.provider = provider
        self.intent = intent
        self.context = context
        self.joined: _Joined | None = None
        self._notebook = notebook
        self._members_of = members_of
        self._until = 0.0

    @property
    def seconds_left(self) -> float:
        """Of the time that a call of our own might have taken since we joined the first one."""
        return self._until - self._notebook.clock.monotonic()

    def companions(self, call_id: UUID) -> tuple[NewEvent, ...]:
        """What lands with a call of our own: its places in groups, and that it takes over what we waited for."""
        members = self._members_of(call_id)
        if self.joined is None:
            return members
        taking_over = self._joining(self.joined.joiner_id, self.joined.version + 1, call_id, took_over=True)
        return (*members, taking_over)

    async def join(self, owner: UUID) -> _Joined:
        """Record that we wait for a call, unless it is recorded already."""
        if self.joined is None or self.joined.owner != owner:
            joiner_id, version = (
                (self._notebook.ids.new(), 1)
                if self.joined is None
                else (self.joined.joiner_id, self.joined.version + 1)
            )
            position = await self._notebook.write(self._joining(joiner_id, version, owner))
            if self.joined is None:
                self._until = self._notebook.clock.monotonic() + self.intent.policy.call_timeout_seconds
            self.joined = _Joined(owner, joiner_id, version, position)
        return self.joined

    async def given(self, joined: _Joined, outcome: CompletedCall | ProviderFailed) -> Given:
        """Another's answer as ours. Raises the other's failure; either way its call gets our places in groups."""
        positions: list[int | None] = [joined.position, outcome.position if isinstance(outcome, CompletedCall) else 0]
        for member in self._members_of(joined.owner):
            positions.append(await self._notebook.write_or_keep(member))  # noqa: PERF401 - streams of their own
        if isinstance(outcome, ProviderFailed):
            raise ProviderFailed(
                str(outcome), call_id=outcome.call_id, kind=outcome.kind, http_status=outcome.http_status
            )
        return Given(call_id=joined.joiner_id, source=outcome, position=last_of(positions), shared=True)

    def overdue(self, owner: UUID) -> "_Overdue":
        """What a caller is told who has waited for as long as a call of their own might have taken."""
        return _Overdue(
            f"Call {owner}, which asks the same and was joined, has not ended within the "
            f"{self.intent.policy.call_timeout_seconds:g} s that a call may take; ask again, or without sharing",
            call_id=str(owner),
        )

    def _joining(self, joiner_id: UUID, version: int, owner: UUID, *, took_over: bool = False) -> NewEvent:
        prepared = self.intent.prepared
        fact = CallJoined(
            call_id=owner,
            modality=self.intent.modality,
            provider=prepared.provider,
            model=prepared.model,
            request_hash=self.intent.request_hash,
            metadata=self.intent.metadata,
            took_over=took_over,
            preprocessing=self.intent.preprocessing if version == 1 else None,
        )
        originals = self.intent.originals if version == 1 else ()
        return self._notebook.entry(self.context, joiner_id, version, fact, *originals, because_of=owner)


class _Overdue(ProviderFailed):
    """Whoever waits for a call has waited as long as a call of their own might have taken."""
