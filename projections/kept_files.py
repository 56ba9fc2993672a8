"""Which files artifacts have, in all that is stored."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from projections.catalogue import CATALOGUE
from projections.catalogue_queries import CatalogueQueries
from projections.follow import Follower

READ_SECONDS = 30.0
AT_ONCE = 1000


class KeptByArtifacts:
    """Implements the port KeptFiles on the read models, once they show what is stored when they are asked."""

    def __init__(self, catalogue: CatalogueQueries, follower: Follower) -> None:
        self._catalogue = catalogue
        self._follower = follower

    async def among(self, sha256s: Sequence[str]) -> set[str]:
        """See the port. Raises Unavailable when the read model doesn't get there in time."""
        await self._all_shown()
        return await self._catalogue.kept_among(sha256s)

    async def all(self) -> AsyncIterator[Sequence[tuple[str, str]]]:
        """See the port. Raises Unavailable when the read model doesn't get there in time."""
        await self._all_shown()
        position = 0
        while rows := await self._catalogue.kept_after(position, AT_ONCE):
            yield [(row["sha256"], row["name"]) for row in rows]
            position = rows[-1]["position"]

    async def _all_shown(self) -> None:
        last = await asyncio.to_thread(self._follower.pages.last_position)
        await self._follower.wait_until(last, READ_SECONDS, (CATALOGUE.name,))
