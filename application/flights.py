"""What those wait for who ask the same: a call of this process, or another's that they joined."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID

from msgspec import Struct

from application.call_provider import CallIntent, CompletedCall
from application.notebook import Context, Notebook, last_of
from application.ports import NewEvent
from application.providers import Sender
from domain.calls import CallJoined
from domain.errors import ProviderFailed, Unavailable

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


class Flight:
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


class Joined(NamedTuple):
    """Which call is waited for, in whose name, and where that is recorded."""

    owner: UUID
    joiner_id: UUID
    version: int
    position: int


class Asker:
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
        self.joined: Joined | None = None
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

    async def join(self, owner: UUID) -> Joined:
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
            self.joined = Joined(owner, joiner_id, version, position)
        return self.joined

    async def given(self, joined: Joined, outcome: CompletedCall | ProviderFailed) -> Given:
        """Another's answer as ours. Raises the other's failure; either way its call gets our places in groups."""
        positions: list[int | None] = [joined.position, outcome.position if isinstance(outcome, CompletedCall) else 0]
        for member in self._members_of(joined.owner):
            positions.append(await self._notebook.write_or_keep(member))  # noqa: PERF401 - streams of their own
        if isinstance(outcome, ProviderFailed):
            raise ProviderFailed(
                str(outcome), call_id=outcome.call_id, kind=outcome.kind, http_status=outcome.http_status
            )
        return Given(call_id=joined.joiner_id, source=outcome, position=last_of(positions), shared=True)

    def overdue(self, owner: UUID) -> "Overdue":
        """What a caller is told who has waited for as long as a call of their own might have taken."""
        return Overdue(
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


class Overdue(ProviderFailed):
    """Whoever waits for a call has waited as long as a call of their own might have taken."""
