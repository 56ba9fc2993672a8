"""Looking at calls."""

from typing import Any
from uuid import UUID

from domain.groups import group_id_of
from interfaces.as_of import NOW, Moment
from interfaces.study.moments import Moments
from interfaces.study.words import Json, id_of
from projections.call_queries import EVERY_CALL, CallFilter
from projections.group_links import GROUP_LINKS
from projections.paging import FIRST_PAGE, Paging
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

    async def get(self, call_id: UUID | str, moment: Moment = NOW) -> Json:
        """One call with its request, answer and attempts. Raises NotFound."""
        position = await self._moments.shown(moment, reads=ANSWERS)
        return await self._queries.calls.call(id_of(call_id), as_of=position)

    async def attempts(self, call_id: UUID | str, moment: Moment = NOW) -> Json:
        """The attempts of one call, in order. Raises NotFound."""
        position = await self._moments.shown(moment, reads=ANSWERS)
        return await self._queries.calls.attempts(id_of(call_id), as_of=position)

    async def list(self, wanted: CallFilter = EVERY_CALL, moment: Moment = NOW, page: Paging = FIRST_PAGE) -> Json:
        """Calls, newest first."""
        reads = CALLS if wanted.group_id is None else GROUPED_CALLS
        position = await self._moments.shown(moment, page, reads=reads)
        return await self._queries.calls.calls(wanted, as_of=position, page=page)


def calls_wanted(*, group: str | None = None, **filters: Any) -> CallFilter:
    """A filter as people write it; `group` is TYPE/NAME."""
    if group is not None:
        group_type, _, name = group.partition("/")
        filters["group_id"] = group_id_of(group_type, name)
    return CallFilter(**filters)
