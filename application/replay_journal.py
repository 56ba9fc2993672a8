"""Append what the journal holds, exactly once: this process's own, and what dead processes left."""

import asyncio
from collections.abc import Iterable, Iterator
from itertools import islice
from uuid import UUID

from msgspec import Struct

from application.notebook import write_at_the_end
from application.ports import EventStore, Journal, JournalFile, NewEvent
from domain.calls import CallCancelled
from domain.errors import NotFound

ENTRIES_AT_ONCE = 200


class Replayed(Struct, frozen=True):
    """What a replay did; `set_aside` counts files of which something could not be read or placed."""

    entries: int
    set_aside: int


class ReplayJournal:
    """Replays. An entry is forgotten only once it is durable, so that a replay may die anywhere and be begun again."""

    def __init__(self, store: EventStore, journal: Journal) -> None:
        self._store = store
        self._journal = journal
        self._alone = asyncio.Lock()

    async def __call__(self) -> Replayed:
        """Append all that waits. Raises Unavailable when the store is away; the rest goes on waiting."""
        entries = set_aside = 0
        async with self._alone:
            for file in self._journal.files():
                placed, unplaced = await self._replay(file)
                entries += placed
                set_aside += file.close(unplaced=unplaced)
        return Replayed(entries, set_aside)

    async def _replay(self, file: JournalFile) -> tuple[int, int]:
        placed = unplaced = 0
        entries = file.entries()
        while some := list(islice(entries, ENTRIES_AT_ONCE)):
            streams = await asyncio.gather(*(self._append(stream) for stream in _by_stream(some)))
            unplaced += sum(streams)
            placed += len(some)
        return placed - unplaced, unplaced

    async def _append(self, stream: list[tuple[NewEvent, ...]]) -> int:
        """Append one stream's entries in order; returns how many have no place."""
        unplaced = 0
        for entry in stream:
            try:
                await write_at_the_end(self._store, entry, look=True)
            except NotFound:
                unplaced += not _is_void(entry)
        return unplaced


def _by_stream(entries: Iterable[tuple[NewEvent, ...]]) -> Iterator[list[tuple[NewEvent, ...]]]:
    found: dict[UUID, list[tuple[NewEvent, ...]]] = {}
    for entry in entries:
        found.setdefault(entry[0].stream_id, []).append(entry)
    yield from found.values()


def _is_void(entry: tuple[NewEvent, ...]) -> bool:
    """Whether it ends a call that was never made, and whose request, as it turns out, was never stored."""
    return all(isinstance(event.fact, CallCancelled) and event.fact.attempts == 0 for event in entry)
