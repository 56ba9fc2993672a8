"""What was asked in each minute, hour or day, as people in a time zone count them.

It comes from sums that lie ready, and where they don't know what is asked, from rollups and calls.
"""

from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from msgspec import structs, to_builtins

from domain.errors import Rejected
from domain.time_buckets import USUAL, Bucket, bucket_named, bucket_starts, zone_named
from projections.analytics_sources import (
    NO_MODEL,
    as_records,
    checked,
    newest_of,
    points_source,
    records_of,
    source_of,
)
from projections.call_queries import EVERY_CALL, CallFilter
from projections.reading import Reader, Row
from projections.series import Counts, SeriesPoint, filled, points_of, series_of
from projections.spans import EARLIEST, span_within
from projections.totals import NOTHING, POINT_TOTALS, TOTALS, flat

MOST_POINTS = 20_000
KEYS: dict[str, tuple[str, ...]] = {"provider": ("provider",), "model": ("provider", "model")}


class _Chart(NamedTuple):
    """What a series is asked for, with everything that follows from it."""

    wanted: CallFilter
    starts: list[datetime]  # (n_buckets + 1,) when each bucket begins, and when the last one ends
    seconds: Counts  # (n_buckets + 1,) the same, since 1970
    shown: list[str]  # (n_buckets,) how that is told
    by: str
    fill: bool
    as_of: int | None

    @property
    def of_models(self) -> bool:
        return self.by == "model"

    def check(self, n_points: int, n_keys: int) -> None:
        """Raise Rejected if there are more items than a chart can show."""
        if max(n_points, n_keys * len(self.shown) * self.fill) > MOST_POINTS:
            raise Rejected(
                f"That is more than {MOST_POINTS:,} items, one for each bucket and {self.by}; take longer buckets, "
                f"a later since, or a single {self.by}",
                fields=("bucket", "since", self.by),
            )


class SeriesQueries:
    """Asks the points, the rollups and the calls."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def timeseries(
        self,
        wanted: CallFilter = EVERY_CALL,
        *,
        bucket: str = "hour",
        timezone: str = "UTC",
        by: str = "provider",
        fill: bool = False,
        detail: bool = False,
        now: datetime | None = None,
        as_of: int | None = None,
    ) -> Row:
        """What was asked in each minute, hour or day, as people in a time zone count them: `items`, the oldest first.

        Without `until`, up to the newest call (that is not later than `now`); without `since`, as many buckets before
        that as fit on a chart: 3 hours of minutes, 7 days of hours, 90 days of days.
        by: an item for each bucket and provider, or model
        fill: an item also for a bucket in which there was nothing, of each provider or model that there is at all
        detail: also percentiles, first tokens, attempts, every outcome and kind of tokens
        Items are a SeriesPoint each, as thousands of dicts would take most of the time; with `detail`, dicts.
        Raises Rejected for an unknown bucket or zone, for more than 10,000 buckets, and as the summary does.
        """
        checked(wanted)
        length, zone = bucket_named(bucket), zone_named(timezone)
        if by not in KEYS:
            raise Rejected(f"{by[:60]!r} is nothing to tell apart by; use provider or model", fields=("by",))
        wanted = await self._dated(wanted, length, zone, now, as_of)
        asked = {"bucket": length, "timezone": timezone, "since": wanted.since, "until": wanted.until}
        answer: Row = {**to_builtins(asked), "items": [], "next_cursor": None}
        if wanted.since is None or wanted.until is None or wanted.since >= wanted.until:
            return answer
        starts = bucket_starts(length, zone, wanted.since, wanted.until)
        shown: list[str] = to_builtins([start.astimezone(zone) for start in starts[:-1]])
        seconds = np.array([start.timestamp() for start in starts]).astype(np.int64)
        chart = _Chart(wanted, starts, seconds, shown, by, fill, as_of)
        return {**answer, "items": await (self._details(chart) if detail else self._points(chart))}

    async def _points(self, chart: "_Chart") -> list[SeriesPoint]:
        series = series_of(await self._records(chart), chart.seconds)
        chart.check(len(series.places), len(series.keys))
        if chart.fill:
            series = filled(series, len(chart.shown))
        # An answer that was given without a call is in no group: the call that it came from is.
        given = chart.wanted.group_id is None
        return points_of(series, chart.shown, of_models=chart.of_models, given=given)

    async def _records(self, chart: "_Chart") -> list[Row]:
        """What a series is made of: out of points, or of rollups and calls where points don't know it."""
        wanted, starts, longest = chart.wanted, chart.starts, span_within(chart.seconds)
        if chart.as_of is None:
            known = points_source(wanted, POINT_TOTALS, longest_span=longest, of_models=chart.of_models)
            if known is not None:
                return await self._reader.rows(known.sql, known.parameters, binary=True, planned="once")
        source = source_of(wanted, as_of=chart.as_of, longest_span=longest)
        bucketed = (
            "SELECT (%(starts)s::timestamptz[])[width_bucket(at, %(starts)s::timestamptz[])] AS at, provider, "  # noqa: S608
            f"{'model' if chart.of_models else NO_MODEL} AS model, {POINT_TOTALS} FROM {source.sql} AS s "
            f"GROUP BY 1, 2, 3 LIMIT {MOST_POINTS + 1}"
        )
        found = records_of([as_records(bucketed)], {**source.parameters, "starts": starts[:-1]})
        return await self._reader.rows(found.sql, found.parameters, binary=True)

    async def _details(self, chart: "_Chart") -> list[Row]:
        """The same with all that is known of each."""
        wanted, starts, shown, keys = chart.wanted, chart.starts, chart.shown, KEYS[chart.by]
        source = source_of(wanted, as_of=chart.as_of, longest_span=span_within(chart.seconds))
        named = ", ".join(keys)
        rows = await self._reader.rows(
            f"SELECT width_bucket(at, %(starts)s::timestamptz[]) - 1 AS at, {named}, {TOTALS} "  # noqa: S608
            f"FROM {source.sql} AS s GROUP BY 1, {named} ORDER BY 1, {named} LIMIT {MOST_POINTS + 1}",
            {**source.parameters, "starts": starts[:-1]},
            binary=True,
        )
        # Until they are told, points have the numbers of buckets: in its zone, an hour that comes twice would be equal
        # to itself.
        points = [
            {**{name: row[name] for name in ("at", *keys)}, **each}
            for row, each in zip(rows, flat(rows, wanted), strict=True)
        ]
        known = sorted({tuple(point[key] for key in keys) for point in points}) if chart.fill else []
        chart.check(len(points), len(known))
        if chart.fill:
            points = _filled(points, len(shown), keys, known, flat([NOTHING], wanted)[0])
        for point in points:
            point["at"] = shown[point["at"]]
        return points

    async def _dated(
        self, wanted: CallFilter, bucket: Bucket, zone: ZoneInfo, now: datetime | None, as_of: int | None
    ) -> CallFilter:
        """The filter with a beginning and an end, unless there is nothing."""
        if wanted.until is None:
            newest = newest_of(wanted, now=now, as_of=as_of)
            row = await self._reader.row(newest.sql, newest.parameters)
            if row is None or row["at"] is None:
                return wanted
            wanted = structs.replace(wanted, until=row["at"] + timedelta(minutes=1))
        if wanted.since is None and wanted.until is not None:
            earliest = max(wanted.until - USUAL[bucket], EARLIEST)
            wanted = structs.replace(wanted, since=bucket_starts(bucket, zone, earliest, wanted.until)[0])
        return wanted


def _filled(
    points: list[Row], buckets: int, keys: tuple[str, ...], known: list[tuple[str, ...]], nothing: Row
) -> list[Row]:
    """A point for every bucket and known key."""
    there = {(point["at"], *(point[key] for key in keys)): point for point in points}
    return [
        there.get((at, *key)) or {"at": at, **dict(zip(keys, key, strict=True)), **nothing}
        for at in range(buckets)
        for key in known
    ]
