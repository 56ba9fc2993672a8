"""Where use cases write facts down: each gets its envelope here, and lands together with its companions."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from msgspec import Struct, structs

from application.ports import Append, AppendConflict, Claim, Clock, EventStore, Ids, Journal, NewEvent, Payload
from domain.errors import NotFound, Unavailable
from domain.events import Envelope, Fact

P = TypeVar("P", int, int | None)


class Context(Struct, frozen=True):
    """On whose behalf a command runs, and the command itself."""

    actor: str
    correlation_id: UUID


class Notebook:
    """Stamps facts with who, when and why, and appends them."""

    def __init__(
        self,
        store: EventStore,
        journal: Journal,
        *,
        clock: Clock,
        ids: Ids,
        process: str,
        noticed: Callable[[NewEvent], None] = lambda _entry: None,
    ) -> None:
        """noticed: is told of each entry once it is durable, to measure by it"""
        self._noticed = noticed
        self.store = store
        self.journal = journal
        self.clock = clock
        self.ids = ids
        self.process = process

    def entry(
        self,
        context: Context,
        stream_id: UUID,
        version: int,
        fact: Fact,
        *payloads: Payload,
        because_of: UUID | None = None,
        occurred_at: datetime | None = None,
    ) -> NewEvent:
        """An event that happened now, or at `occurred_at` when it is imported."""
        return NewEvent(
            stream_id=stream_id,
            version=version,
            fact=fact,
            envelope=Envelope(
                occurred_at or self.clock.now(), context.actor, self.process, context.correlation_id, because_of
            ),
            payloads=payloads,
        )

    async def write(self, *entries: NewEvent, take: tuple[Claim, ...] = (), free: tuple[Claim, ...] = ()) -> int:
        """Make entries durable together and return the last one's position; see EventStore.append."""
        return self._told(entries, await self.store.append(Append(events=entries, take=take, free=free)))

    async def take(self, claim: Claim) -> int:
        """Take a claim before there is anything to write; returns a position that all earlier events are within.

        Raises ClaimHeld, Unavailable; after an Unavailable it may have been taken all the same.
        """
        return await self.store.append(Append(events=(), take=(claim,)))

    async def free(self, *claims: Claim) -> None:
        """Give up claims whose holder has ended without giving them up."""
        await self.store.append(Append(events=(), free=claims))

    async def write_whoever_leaves(self, *entries: NewEvent, take: tuple[Claim, ...] = ()) -> int:
        """The same, and they land even if the caller is cancelled meanwhile.

        The very same bytes again are recognised by the store, so they land once, however far the first append had come.
        """
        try:
            return await self.write(*entries, take=take)
        except asyncio.CancelledError:
            writing = asyncio.ensure_future(self.write(*entries, take=take))
            while not writing.done():  # or a caller who is cancelled twice would not know whether they landed
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([writing])
            writing.result()
            raise

    async def write_or_keep(self, *entries: NewEvent, free: tuple[Claim, ...] = ()) -> int | None:
        """Make durable what nobody could tell again: events of one stream, at its end, whoever leaves meanwhile.

        Returns the position, or None for what waits in the journal because the store is away.
        """
        try:
            return await self._write_or_keep(entries, free)
        except asyncio.CancelledError:
            await asyncio.shield(self._write_or_keep(entries, free))
            raise

    async def _write_or_keep(self, entries: tuple[NewEvent, ...], free: tuple[Claim, ...]) -> int | None:
        if not self.journal.holds(entries[0].stream_id):
            try:
                return self._told(entries, await write_at_the_end(self.store, entries, free=free))
            except Unavailable:
                pass  # it may have landed all the same; the replay looks
        await self.journal.keep(entries)
        return self._told(entries, None)

    def _told(self, entries: tuple[NewEvent, ...], position: P) -> P:
        for entry in entries:
            self._noticed(entry)
        return position


async def write_at_the_end(
    store: EventStore, entries: tuple[NewEvent, ...], *, free: tuple[Claim, ...] = (), look: bool = False
) -> int:
    """Append events of one stream once: those that stand there already, at whatever version, are left.

    They go to the versions they name, or behind what others wrote there meanwhile, such as a doubt.
    look: read the stream first. Raises NotFound for events that go on a stream of which nothing was ever stored.
    """
    while True:
        if look:
            standing = await store.read_stream(entries[0].stream_id)
            for event in standing:
                if (event.envelope, event.fact) == (entries[-1].envelope, entries[-1].fact):
                    return event.position
            if not standing and entries[0].version > 1:
                raise NotFound(f"Nothing of {entries[0].stream_id} is stored, so that its later events have no place")
            last = standing[-1].version if standing else 0
            entries = tuple(structs.replace(entry, version=last + n) for n, entry in enumerate(entries, start=1))
        try:
            return await store.append(Append(events=entries, free=free))
        except AppendConflict:
            look = True


def last_of(positions: Iterable[int | None]) -> int | None:
    """Where all of it is stored; None while some of it waits in the journal."""
    known = list(positions)
    stored = [position for position in known if position is not None]
    return max(stored, default=0) if len(stored) == len(known) else None
