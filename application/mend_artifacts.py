"""Find what doesn't fit between the files of artifacts and their events, and remove files that nobody tells of."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from msgspec import Struct

from application.ports import ArtifactFiles, Clock, StoredFile

ORPHANED_AFTER = timedelta(hours=24)
AT_ONCE = 1000


class KeptFiles(Protocol):
    """What the events say: all that are stored when it is asked."""

    async def among(self, sha256s: Sequence[str]) -> set[str]:
        """Those of these files that an event tells of."""

    def all(self) -> AsyncIterator[Sequence[tuple[str, str]]]:
        """The hash and the name of every artifact, some at a time."""


class ArtifactsState(Struct, frozen=True, kw_only=True):
    """files: how many there are. orphans: those older than a day that no event tells of, leftovers of writing
    included. missing: the names of artifacts whose file is gone."""

    files: int
    orphans: tuple[StoredFile, ...]
    missing: tuple[str, ...]


class MendArtifacts:
    """Looks at the files of artifacts, and mends what can be mended."""

    def __init__(self, files: ArtifactFiles, kept: KeptFiles, clock: Clock) -> None:
        self._files = files
        self._kept = kept
        self._clock = clock

    async def look(self) -> ArtifactsState:
        """Compare all files with all events. Raises Unavailable."""
        count, there = 0, set[str]()
        orphans: list[StoredFile] = []
        old_before = self._clock.now() - ORPHANED_AFTER
        async for page in self._files.all():
            count += len(page)
            there.update(file.sha256 for file in page if not file.is_leftover)
            orphans += await self._orphans(page, old_before)
        missing: list[str] = []
        async for kept in self._kept.all():
            # What isn't listed may still be there: kept since we looked, or where an earlier version kept it.
            missing += [name for sha256, name in kept if sha256 not in there and not await self._files.holds(sha256)]
        return ArtifactsState(files=count, orphans=tuple(orphans), missing=tuple(missing))

    async def mend(self) -> int:
        """Remove the orphans and return how many they were. Raises Unavailable.

        A process may be about to tell of a file that has lain here for long. So it is set aside first: whoever writes
        an event after that finds it gone and keeps it again, and an event that was written before that shows now.
        """
        removed = 0
        for orphan in (await self.look()).orphans:
            aside = await self._files.set_aside(orphan)
            if aside is None:
                continue  # somebody has removed it, or kept it once more, since we looked
            if await self._kept.among([orphan.sha256]):
                await self._files.put_back(aside)
            else:
                await self._files.remove(aside)
                removed += 1
        return removed

    async def _orphans(self, page: Sequence[StoredFile], old_before: datetime) -> list[StoredFile]:
        old = [file for file in page if file.modified_at < old_before]
        told: set[str] = set()
        for start in range(0, len(old), AT_ONCE):
            told |= await self._kept.among([file.sha256 for file in old[start : start + AT_ONCE]])
        return [file for file in old if file.is_leftover or file.sha256 not in told]
