"""Looking at calls."""

from typing import Any
from uuid import UUID

from domain.errors import Rejected
from domain.groups import group_id_of
from interfaces.as_of import NOW, Moment
from interfaces.study.moments import Moments
from interfaces.study.words import Json, id_of
from projections.call_queries import EVERY_CALL, CallFilter
from projections.group_links import GROUP_LINKS
from projections.paging import FIRST_PAGE, Paging
from projections.queries import Queries
from projections.raw_calls import RAW_CALLS
from projections.search import SEARCH
from projections.search_eras import CallSearch
from projections.search_queries import RANKED
from projections.search_substrings import SEARCH_SUBSTRINGS
from projections.shared_calls import SHARED_CALLS

CALLS = (RAW_CALLS.name,)
ANSWERS = (RAW_CALLS.name, SHARED_CALLS.name)
GROUPED_CALLS = (RAW_CALLS.name, GROUP_LINKS.name)


class Calls:
    """Calls as they stood at a moment."""

    def __init__(self, queries: Queries, moments: Moments) -> None:
        self._queries = queries
        self._moments = moments

    @property
    def finds_substrings(self) -> bool:
        """Whether parts of words can be searched for too: where the store's database has pg_trgm."""
        return self._queries.search.substrings

    async def get(self, call_id: UUID | str, moment: Moment = NOW) -> Json:
        """One call with its request, answer and attempts. Raises NotFound."""
        position = await self._moments.shown(moment, reads=ANSWERS)
        return await self._queries.calls.call(id_of(call_id), as_of=position)

    async def attempts(self, call_id: UUID | str, moment: Moment = NOW) -> Json:
        """The attempts of one call, in order. Raises NotFound."""
        position = await self._moments.shown(moment, reads=ANSWERS)
        return await self._queries.calls.attempts(id_of(call_id), as_of=position)

    async def list(self, wanted: CallFilter = EVERY_CALL, moment: Moment = NOW, page: Paging = FIRST_PAGE) -> Json:
        """Calls, newest first; those that are searched for with what they were found by, and `searched`.

        searched: {to_position, behind_events}, up to where in the log prompts and answers are in the index, and how
        much of it is not; with ranked_among, of how many of the newest texts that match the ranked are
        """
        reads = CALLS if wanted.group_id is None else GROUPED_CALLS
        if isinstance(wanted, CallSearch):
            self._queries.search.check(wanted)
            return await self._search(wanted, moment, page, (*reads, read_for(wanted)))
        position = await self._moments.shown(moment, page, reads=reads)
        return await self._queries.calls.calls(wanted, as_of=position, page=page)

    async def _search(self, wanted: CallSearch, moment: Moment, page: Paging, reads: tuple[str, ...]) -> Json:
        position = await self._moments.shown(moment, page, reads=reads)
        if position is None:
            await self._moments.shown_once(read_for(wanted))
        read_to, last = await self._moments.standing(read_for(wanted))
        found = await self._queries.search.calls(wanted, as_of=position, page=page)
        if position is None:
            found["searched"] = {"to_position": read_to, "behind_events": last - (read_to or 0)}
        else:
            found["searched"] = {"to_position": position, "behind_events": 0}
        if wanted.order == "rank":
            found["searched"]["ranked_among"] = RANKED
        return found


def read_for(wanted: CallSearch) -> str:
    """The read model that is searched."""
    return SEARCH.name if wanted.match == "words" else SEARCH_SUBSTRINGS.name


def calls_wanted(
    *,
    group: str | None = None,
    search: str | None = None,
    part: str | None = None,
    order: str | None = None,
    match: str | None = None,
    **filters: Any,
) -> CallFilter:
    """A filter as people write it; `group` is TYPE/NAME, and an empty search is none. Raises Rejected."""
    if group is not None:
        group_type, _, name = group.partition("/")
        filters["group_id"] = group_id_of(group_type, name)
    if search:
        asked: Any = {"part": part, "order": order or "newest", "match": match or "words"}
        return CallSearch(search=search, **asked, **filters)
    for name, value in (("part", part), ("order", order), ("match", match)):
        if value is not None:
            raise Rejected(f"{name} says how to search; give it what to search for too", fields=(name,))
    return CallFilter(**filters)
