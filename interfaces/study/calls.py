"""Looking at calls."""

from datetime import datetime
from uuid import UUID

from domain.groups import group_id_of
from interfaces.as_of import AsOf
from interfaces.study.moments import Moments
from interfaces.study.words import Json, id_of
from projections.group_links import GROUP_LINKS
from projections.queries import Queries
from projections.raw_calls import RAW_CALLS
from projections.shared_calls import SHARED_CALLS

CALLS = (RAW_CALLS.name,)
ANSWERS = (RAW_CALLS.name, SHARED_CALLS.name)
GROUPED_CALLS = (RAW_CALLS.name, GROUP_LINKS.name)


class Calls:
    """Calls as they stood at a moment."""

    def __init__(self, queries: Queries, moments: Moments) -> None:
        self._queries = queries
        self._moments = moments

    async def get(self, call_id: UUID | str, *, as_of: AsOf | None = None, at_least: int | None = None) -> Json:
        """One call with its request, answer and attempts. Raises NotFound."""
        return await self._queries.call(id_of(call_id), as_of=await self._moments.shown(as_of, at_least, reads=ANSWERS))

    async def attempts(self, call_id: UUID | str, *, as_of: AsOf | None = None, at_least: int | None = None) -> Json:
        """The attempts of one call, in order. Raises NotFound."""
        return await self._queries.attempts(
            id_of(call_id), as_of=await self._moments.shown(as_of, at_least, reads=ANSWERS)
        )

    async def list(
        self,
        *,
        provider: str | None = None,
        model: str | None = None,
        modality: str | None = None,
        status: str | None = None,
        group: str | None = None,
        group_id: UUID | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        search: str | None = None,
        as_of: AsOf | None = None,
        at_least: int | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Json:
        """Calls, newest first."""
        if group is not None:
            group_type, _, name = group.partition("/")
            group_id = group_id_of(group_type, name)
        return await self._queries.list_calls(
            provider=provider,
            model=model,
            modality=modality,
            status=status,
            group_id=group_id,
            since=since,
            until=until,
            search=search,
            as_of=await self._moments.shown(
                as_of, at_least, cursor, reads=CALLS if group_id is None else GROUPED_CALLS
            ),
            limit=limit,
            cursor=cursor,
        )
