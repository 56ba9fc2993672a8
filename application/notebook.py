"""Where use cases write facts down: each gets its envelope here, and lands together with its companions."""

import asyncio
from datetime import datetime
from uuid import UUID

from msgspec import Struct

from application.ports import Append, Claim, Clock, EventStore, Ids, NewEvent, Payload
from domain.events import Envelope, Fact


class Context(Struct, frozen=True):
    """On whose behalf a command runs, and the command itself."""

    actor: str
    correlation_id: UUID


class Notebook:
    """Stamps facts with who, when and why, and appends them."""

    def __init__(self, store: EventStore, *, clock: Clock, ids: Ids, process: str) -> None:
        self.store = store
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

    async def write(self, *entries: NewEvent, take: Claim | None = None, free: tuple[Claim, ...] = ()) -> int:
        """Make entries durable together and return the last one's position; see EventStore.append."""
        return await self.store.append(Append(events=entries, take=take, free=free))

    async def write_whoever_leaves(self, *entries: NewEvent) -> int:
        """The same, and they land even if the caller is cancelled meanwhile.

        The very same bytes again are recognised by the store, so they land once, however far the first append had come.
        """
        try:
            return await self.write(*entries)
        except asyncio.CancelledError:
            await asyncio.shield(self.write(*entries))
            raise
