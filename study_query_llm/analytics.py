"""Many calls at once: answers that become data frames."""

from functools import partial
from typing import TYPE_CHECKING, Any

from anyio.from_thread import BlockingPortal

from interfaces.study import Json
from interfaces.study.analytics import Analytics as Room
from interfaces.study.analytics import analytics_wanted
from study_query_llm.questions import moment_and_page
from study_query_llm.results import Rows

if TYPE_CHECKING:
    from pandas import DataFrame

AMOUNTS = ("cost", "saved")
MOMENTS = ("at", "last_at", "created_at", "ended_at")


class AnalyticsRows(Rows):
    """A list of rows of numbers."""

    def to_frame(self) -> "DataFrame":
        """A pandas data frame: latency_ms_p95 and the like are columns of their own, amounts floats, times times."""
        import pandas as pd

        frame = pd.json_normalize(list(self), sep="_")
        for name in AMOUNTS:
            if name in frame:
                frame[name] = pd.to_numeric(frame[name])
        for name in MOMENTS:
            if name in frame:
                frame[name] = pd.to_datetime(frame[name], format="ISO8601", utc=True)
        return frame


class AsyncAnalytics:
    """Calls added up. Percentiles are within 1 %; means, counts and sums are exact.

    filters, each optional: provider, model, modality, status, group (TYPE/NAME), actor, since, until (times), as_of (a
    time or a position), at_least (a position to wait for). Raises Rejected for what makes no sense.
    """

    def __init__(self, room: Room) -> None:
        self._room = room

    async def summary(self, **filters: Any) -> Json:
        """How many calls, what became of them, tokens, times in milliseconds and costs in USD, in one row."""
        moment, _ = moment_and_page(filters)
        return await self._room.summary(analytics_wanted(**filters), moment)

    async def providers(self, **filters: Any) -> AnalyticsRows:
        """The same of each model of each provider, the one with the most calls first."""
        moment, _ = moment_and_page(filters)
        return AnalyticsRows((await self._room.providers(analytics_wanted(**filters), moment))["items"])

    async def timeseries(
        self,
        bucket: str = "hour",
        *,
        timezone: str = "UTC",
        by: str = "provider",
        fill: bool = False,
        detail: bool = False,
        **filters: Any,
    ) -> AnalyticsRows:
        """The same of each minute, hour or day of a time zone, by provider or model.

        fill: also for buckets in which there was nothing
        detail: also percentiles, every outcome, and kinds of tokens
        A data frame has `at` in UTC.
        """
        moment, _ = moment_and_page(filters)
        found = await self._room.timeseries(
            analytics_wanted(**filters), moment, bucket=bucket, timezone=timezone, by=by, fill=fill, detail=detail
        )
        return AnalyticsRows(found["items"])

    async def errors(self, **filters: Any) -> AnalyticsRows:
        """What went wrong by its kind and model: attempts that failed so, and calls that did for good."""
        moment, _ = moment_and_page(filters)
        return AnalyticsRows((await self._room.errors(analytics_wanted(**filters), moment))["items"])

    async def recent(self, limit: int = 50, **filters: Any) -> AnalyticsRows:
        """The calls themselves, newest first."""
        filters["limit"] = limit
        moment, page = moment_and_page(filters)
        return AnalyticsRows((await self._room.recent(analytics_wanted(**filters), moment, page))["items"])


class Analytics:
    """Calls added up, for ordinary code: each method is AsyncAnalytics', run in a background loop."""

    def __init__(self, portal: BlockingPortal, analytics: AsyncAnalytics) -> None:
        self._portal = portal
        self._analytics = analytics

    def summary(self, **filters: Any) -> Json:
        """See AsyncAnalytics.summary."""
        return self._portal.call(partial(self._analytics.summary, **filters))

    def providers(self, **filters: Any) -> AnalyticsRows:
        """See AsyncAnalytics.providers."""
        return self._portal.call(partial(self._analytics.providers, **filters))

    def timeseries(self, bucket: str = "hour", **options: Any) -> AnalyticsRows:
        """See AsyncAnalytics.timeseries."""
        return self._portal.call(partial(self._analytics.timeseries, bucket, **options))

    def errors(self, **filters: Any) -> AnalyticsRows:
        """See AsyncAnalytics.errors."""
        return self._portal.call(partial(self._analytics.errors, **filters))

    def recent(self, limit: int = 50, **filters: Any) -> AnalyticsRows:
        """See AsyncAnalytics.recent."""
        return self._portal.call(partial(self._analytics.recent, limit, **filters))
