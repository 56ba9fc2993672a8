"""Looking at many calls at once."""

from datetime import UTC, datetime
from typing import Any

from msgspec import to_builtins

from application.ports import Clock
from domain.errors import Rejected
from domain.groups import group_id_of
from interfaces.as_of import NOW, Moment
from interfaces.study.moments import Moments
from interfaces.study.words import Json
from projections.analytics import ANALYTICS
from projections.call_queries import EVERY_CALL, CallFilter
from projections.group_links import GROUP_LINKS
from projections.paging import FIRST_PAGE, Paging
from projections.queries import Queries
from projections.raw_calls import RAW_CALLS
from projections.shared_calls import SHARED_CALLS

# Rollups know most of it; who waits for another's answer, and calls at the edges of what is asked, lie elsewhere.
ADDED_UP = (ANALYTICS.name, RAW_CALLS.name, SHARED_CALLS.name)


class Analytics:
    """Calls added up, as they stood at a moment. Percentiles are within 1 %; means, counts and sums are exact."""

    def __init__(self, queries: Queries, moments: Moments, clock: Clock) -> None:
        self._queries = queries
        self._moments = moments
        self._clock = clock

    async def summary(self, wanted: CallFilter = EVERY_CALL, moment: Moment = NOW) -> Json:
        """How many calls, what became of them, tokens, times and costs, in one row."""
        position = await self._shown(wanted, moment)
        return await self._queries.analytics.summary(wanted, as_of=position)

    async def providers(self, wanted: CallFilter = EVERY_CALL, moment: Moment = NOW) -> Json:
        """The same of each model of each provider, the one with the most calls first."""
        position = await self._shown(wanted, moment)
        return await self._queries.analytics.providers(wanted, as_of=position)

    async def timeseries(self, wanted: CallFilter = EVERY_CALL, moment: Moment = NOW, **options: Any) -> Json:
        """The same of each minute, hour or day in a time zone, and of each provider or model in it; see `series`."""
        series: Json = to_builtins(await self.series(wanted, moment, **options))
        return series

    async def series(
        self,
        wanted: CallFilter = EVERY_CALL,
        moment: Moment = NOW,
        *,
        bucket: str = "hour",
        timezone: str = "UTC",
        by: str = "provider",
        fill: bool = False,
        detail: bool = False,
    ) -> Json:
        """The same, with points that are not made dicts yet: for those who encode it.

        Without `until` it ends with the newest call, leaving out those that a wrong clock put into the future.
        """
        position = await self._shown(wanted, moment)
        return await self._queries.series.timeseries(
            wanted,
            bucket=bucket,
            timezone=timezone,
            by=by,
            fill=fill,
            detail=detail,
            now=self._clock.now(),
            as_of=position,
        )

    async def errors(self, wanted: CallFilter = EVERY_CALL, moment: Moment = NOW) -> Json:
        """What went wrong by its kind and model, the most frequent first."""
        position = await self._shown(wanted, moment)
        return await self._queries.analytics.errors(wanted, as_of=position)

    async def recent(self, wanted: CallFilter = EVERY_CALL, moment: Moment = NOW, page: Paging = FIRST_PAGE) -> Json:
        """The calls themselves, newest first."""
        position = await self._shown(wanted, moment, page)
        return await self._queries.calls.calls(wanted, as_of=position, page=page)

    async def _shown(self, wanted: CallFilter, moment: Moment, page: Paging = FIRST_PAGE) -> int | None:
        grouped = () if wanted.group_id is None else (GROUP_LINKS.name,)
        return await self._moments.shown(moment, page, reads=(*ADDED_UP, *grouped))


def analytics_wanted(*, group: str | None = None, **filters: Any) -> CallFilter:
    """A filter as people write it; `group` is TYPE/NAME, and times are texts or in UTC unless they say otherwise.

    Raises Rejected for what is no time.
    """
    for name in ("since", "until"):
        filters[name] = _time(filters.get(name), name)
    if group is not None:
        group_type, _, name = group.partition("/")
        filters["group_id"] = group_id_of(group_type, name)
    return CallFilter(**filters)


def _time(given: datetime | str | None, name: str) -> datetime | None:
    if given is None:
        return None
    try:
        found = datetime.fromisoformat(given) if isinstance(given, str) else given
    except ValueError:
        raise Rejected(f"{name}: {str(given)[:60]!r} is no time such as 2026-03-01T12:00:00Z", fields=(name,)) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
