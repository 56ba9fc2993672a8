"""When a question is asked as of, and whether the read models show it yet."""

import asyncio
from contextlib import suppress
from datetime import datetime

from domain.errors import Rejected, Unavailable
from infrastructure.event_store.store import PostgresEventStore
from interfaces.as_of import AsOf, Moment, position_or_moment
from projections.follow import Follower
from projections.paging import FIRST_PAGE, Paging, as_of_in

READ_YOUR_WRITES_SECONDS = 5.0


class Moments:
    """Turns times into positions, and waits for the read models to get there."""

    def __init__(self, store: PostgresEventStore, follower: Follower) -> None:
        self._store = store
        self._follower = follower
        self._shown_once: set[str] = set()

    async def shown(self, moment: Moment, page: Paging = FIRST_PAGE, *, reads: tuple[str, ...]) -> int | None:
        """The position that a query is to answer as of, None for now, once the read models that it reads show it.

        A cursor goes on at the position where its list began: a time that was still to come then leads further now.
        Raises Rejected, Unavailable when the read models don't get there in time.
        """
        as_of, at_least = moment
        began = None if page.cursor is None else as_of_in(page.cursor)
        asked = began if as_of is None else position_or_moment(as_of)
        position = None if asked is None else await self.position_of(asked)
        if began is not None and position is not None and isinstance(asked, datetime):
            position = min(position, began)
        if at_least:
            await self._check_written(at_least)
        if position is not None or at_least is not None:
            await self.wait_until(max(position or 0, at_least or 0), *reads)
        return position

    async def position_of(self, as_of: AsOf) -> int:
        """The last position at a time, or a position that there is. A time that is still to come means the log's end.

        Raises Rejected for what is neither, and for a position after the end.
        """
        asked = position_or_moment(as_of)
        if isinstance(asked, datetime):
            return await self._store.position_at(asked)
        last = await asyncio.to_thread(self._store.last_position)
        if asked > last:
            raise Rejected(
                f"as_of: {str(asked)[:60]} is after the end of the log, which is at position {last}; "
                "a day is written 2026-03-01",
                fields=("as_of",),
            )
        return asked

    async def _check_written(self, at_least: int) -> None:
        last = await asyncio.to_thread(self._store.last_position)
        if at_least > last:
            raise Rejected(
                f"at_least: {str(at_least)[:60]} is after the end of the log, which is at position {last}; "
                "pass the position that a command returned",
                fields=("at_least",),
            )

    async def wait_until(self, position: int, *reads: str) -> None:
        """Until the read models show a position: the named ones, or all. Raises Unavailable when they don't in time."""
        await self._follower.wait_until(position, READ_YOUR_WRITES_SECONDS, reads)

    async def shown_once(self, name: str) -> None:
        """The first time, until a read model shows all that is stored now, if it does in time.

        A process that has just begun finds what is followed apart where an earlier process left it.
        """
        if name not in self._shown_once:
            with suppress(Unavailable):
                await self.wait_until(await asyncio.to_thread(self._store.last_position), name)
            self._shown_once.add(name)

    async def standing(self, name: str) -> tuple[int | None, int]:
        """Up to where a read model has read, None while it is only being built, and where the log ends."""
        last = await asyncio.to_thread(self._store.last_position)
        return (await asyncio.to_thread(self._follower.positions)).get(name), last

    async def all_shown(self) -> None:
        """Until the read models show all that is stored now."""
        await self.wait_until(await asyncio.to_thread(self._store.last_position))
