"""Questions about many calls at once: how many, how fast, how many tokens, how much, and what went wrong.

They are answered from rollups, however many calls there are; what rollups don't know, such as groups, actors and the
past, from the calls.
"""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from msgspec import structs, to_builtins

from domain.errors import Rejected
from domain.latency import PERCENTILES, percentiles
from domain.pricing import plain
from domain.time_buckets import USUAL, Bucket, bucket_named, bucket_starts, zone_named
from projections.analytics_sources import (
    EARLIEST,
    NO_MODEL,
    as_records,
    checked,
    failures_of,
    newest_of,
    points_source,
    records_of,
    source_of,
)
from projections.call_queries import EVERY_CALL, CallFilter
from projections.paging import Page
from projections.reading import Reader, Row, in_json
from projections.rollups import SPANS
from projections.series import SeriesPoint, filled, points_of, series_of

MOST_ITEMS = 1000
MOST_POINTS = 20_000
KEYS: dict[str, tuple[str, ...]] = {"provider": ("provider",), "model": ("provider", "model")}

_A_CALL = "outcome NOT IN ('joined', 'cached')"
_ENDS = ("success", "failed", "cancelled", "in_doubt", "requested")


def _counts(*outcomes: str) -> str:
    return ", ".join(
        f"coalesce(sum(calls) FILTER (WHERE outcome = '{name}'), 0)::bigint AS {name}" for name in outcomes
    )


def _sums(*columns: str) -> str:
    return ", ".join(f"coalesce(sum({name}), 0)::bigint AS {name}" for name in columns)


_TIMES = ", ".join(
    f"{_sums(f'{name}_calls', f'{name}_us')}, "
    f"min({name}_shortest_us) AS {name}_shortest_us, max({name}_longest_us) AS {name}_longest_us, "
    f"string_agg({name}, ''::bytea) AS {name}"
    for name in ("latency", "first_token")
)
_BASICS = f"""
    coalesce(sum(calls) FILTER (WHERE {_A_CALL}), 0)::bigint AS calls,
    {_counts("success", "failed", "joined", "cached")}, {_sums("tokens_total", "tokens_calls")},
    coalesce(sum(cost) FILTER (WHERE {_A_CALL}), 0) AS cost,
    coalesce(sum(cost_unknown) FILTER (WHERE {_A_CALL}), 0)::bigint AS cost_unknown,
    coalesce(sum(cost) FILTER (WHERE NOT {_A_CALL}), 0) AS saved,
    coalesce(sum(cost_unknown) FILTER (WHERE NOT {_A_CALL}), 0)::bigint AS saved_unknown
"""
POINT_TOTALS = f"{_BASICS}, {_sums('latency_calls', 'latency_us')}"
NOT_GIVEN: Row = dict.fromkeys(("joined", "cached", "saved", "saved_unknown"))
TOTALS = f"""
    {_BASICS}, {_counts("cancelled", "in_doubt", "requested")},
    {_sums("attempts", "tokens_prompt", "tokens_completion", "tokens_cached")}, {_TIMES}
"""
_PLAIN = ("calls", *_ENDS, "attempts", "tokens_total", "tokens_prompt", "tokens_completion", "tokens_cached")
NOTHING: Row = {
    **dict.fromkeys((*_PLAIN, "tokens_calls", "joined", "cached", "cost", "cost_unknown", "saved", "saved_unknown"), 0),
    **{f"{name}_{each}": 0 for name in ("latency", "first_token") for each in ("calls", "us")},
    **{f"{name}{each}": None for name in ("latency", "first_token") for each in ("", "_shortest_us", "_longest_us")},
}


class AnalyticsQueries:
    """Asks the rollups, and the calls."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    @in_json
    async def summary(self, wanted: CallFilter = EVERY_CALL, *, as_of: int | None = None) -> Row:
        """All of it in one row: how many calls, what became of them, tokens, times in milliseconds, costs in USD.

        success_rate: of the calls that succeeded or failed; None without any
        cost, saved: USD that are known; cost_unknown, saved_unknown: for how many calls they are not
        Raises Rejected for a filter that makes no sense.
        """
        checked(wanted)
        source = source_of(wanted, as_of=as_of)
        rows = await self._reader.rows(
            f"SELECT {TOTALS}, array_agg(DISTINCT provider) FILTER (WHERE {_A_CALL}) AS providers, "  # noqa: S608
            f"array_agg(DISTINCT model) FILTER (WHERE {_A_CALL}) AS models FROM {source.sql} AS s",
            source.parameters,
            binary=True,
        )
        (told,) = _told(rows, wanted)
        tokens = {name: told.pop(f"tokens_{name}") for name in ("prompt", "completion", "total", "cached", "mean")}
        names = {name: sorted(rows[0][name] or []) for name in ("providers", "models")}
        return {**told, **names, "tokens": tokens}

    @in_json
    async def providers(self, wanted: CallFilter = EVERY_CALL, *, as_of: int | None = None) -> Page[Row]:
        """Each model of each provider, the one with the most calls first; at most 1,000. Raises Rejected.

        count: its calls; the rest as in the summary
        """
        checked(wanted)
        source = source_of(wanted, as_of=as_of)
        rows = await self._reader.rows(
            f"SELECT provider, model, {TOTALS} FROM {source.sql} AS s GROUP BY provider, model "  # noqa: S608
            f"ORDER BY calls DESC, provider, model LIMIT {MOST_ITEMS}",
            source.parameters,
            binary=True,
        )
        told = _told(rows, wanted)
        return Page(
            [
                {"provider": row["provider"], "model": row["model"], "count": each.pop("calls"), **each}
                for row, each in zip(rows, told, strict=True)
            ]
        )

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
        drawn = self._details if detail else self._points
        return {**answer, "items": await drawn(wanted, starts, shown, by=by, fill=fill, as_of=as_of)}

    async def _points(
        self,
        wanted: CallFilter,
        starts: list[datetime],
        shown: list[str],
        *,
        by: str,
        fill: bool,
        as_of: int | None,
    ) -> list[SeriesPoint]:
        """A point for each bucket and key in which there was something, or for each; in their order."""
        of_models = by == "model"
        series = series_of(await self._records(wanted, starts, of_models=of_models, as_of=as_of), starts)
        _check_points(max(len(series.places), len(series.keys) * len(shown) * fill), by)
        if fill:
            series = filled(series, len(shown))
        # An answer that was given without a call is in no group: the call that it came from is.
        return points_of(series, shown, of_models=of_models, given=wanted.group_id is None)

    async def _records(
        self, wanted: CallFilter, starts: list[datetime], *, of_models: bool, as_of: int | None
    ) -> list[Row]:
        """What a series is made of: out of points, or of rollups and calls where points don't know it."""
        longest = _span_within(starts)
        if as_of is None:
            known = points_source(wanted, POINT_TOTALS, longest_span=longest, of_models=of_models)
            if known is not None:
                return await self._reader.rows(known.sql, known.parameters, binary=True, planned="once")
        source = source_of(wanted, as_of=as_of, longest_span=longest)
        bucketed = (
            "SELECT (%(starts)s::timestamptz[])[width_bucket(at, %(starts)s::timestamptz[])] AS at, provider, "  # noqa: S608
            f"{'model' if of_models else NO_MODEL} AS model, {POINT_TOTALS} FROM {source.sql} AS s "
            f"GROUP BY 1, 2, 3 LIMIT {MOST_POINTS + 1}"
        )
        found = records_of([as_records(bucketed)], {**source.parameters, "starts": starts[:-1]})
        return await self._reader.rows(found.sql, found.parameters, binary=True)

    async def _details(
        self,
        wanted: CallFilter,
        starts: list[datetime],
        shown: list[str],
        *,
        by: str,
        fill: bool,
        as_of: int | None,
    ) -> list[Row]:
        """The same with all that is known of each."""
        keys = KEYS[by]
        source, named = source_of(wanted, as_of=as_of, longest_span=_span_within(starts)), ", ".join(keys)
        rows = await self._reader.rows(
            f"SELECT width_bucket(at, %(starts)s::timestamptz[]) - 1 AS at, {named}, {TOTALS} "  # noqa: S608
            f"FROM {source.sql} AS s GROUP BY 1, {named} ORDER BY 1, {named} LIMIT {MOST_POINTS + 1}",
            {**source.parameters, "starts": starts[:-1]},
            binary=True,
        )
        told = _flat(rows, wanted)
        # Until they are told, points have the numbers of buckets: in its zone, an hour that comes twice would be equal
        # to itself.
        points = [{**{name: row[name] for name in ("at", *keys)}, **each} for row, each in zip(rows, told, strict=True)]
        known = sorted({tuple(point[key] for key in keys) for point in points}) if fill else []
        _check_points(max(len(points), len(known) * len(shown)), by)
        if fill:
            points = _filled(points, len(shown), keys, known, _flat([NOTHING], wanted)[0])
        for point in points:
            point["at"] = shown[point["at"]]
        return points

    @in_json
    async def errors(self, wanted: CallFilter = EVERY_CALL, *, as_of: int | None = None) -> Page[Row]:
        """What went wrong by its kind and model, the most frequent first; at most 1,000. Raises Rejected.

        attempts: that failed so, also of calls that succeeded in the end; calls: that failed so for good
        last_at: when it was seen last
        """
        checked(wanted)
        source = failures_of(wanted, as_of=as_of)
        rows = await self._reader.rows(
            "SELECT kind, provider, model, sum(attempts)::bigint AS attempts, sum(calls)::bigint AS calls, "  # noqa: S608
            f"max(last_at) AS last_at FROM {source.sql} AS s GROUP BY kind, provider, model "
            f"ORDER BY attempts DESC, calls DESC, kind, provider, model LIMIT {MOST_ITEMS}",
            source.parameters,
            binary=True,
        )
        return Page(rows)

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


def _check_points(count: int, by: str) -> None:
    if count > MOST_POINTS:
        raise Rejected(
            f"That is more than {MOST_POINTS:,} items, one for each bucket and {by}; take longer buckets, "
            f"a later since, or a single {by}",
            fields=("bucket", "since", by),
        )


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


def _told(rows: Sequence[Row], wanted: CallFilter) -> list[Row]:
    """Each row's totals as people read them."""
    times = {
        name: percentiles(
            *([row[each] for row in rows] for each in (name, f"{name}_shortest_us", f"{name}_longest_us"))
        ).tolist()
        for name in ("latency", "first_token")
    }
    return [
        {
            **{name: row[name] for name in _PLAIN},
            "success_rate": _share(row["success"], row["success"] + row["failed"]),
            "attempts_per_call": _share(row["attempts"], row["success"] + row["failed"] + row["cancelled"]),
            "tokens_mean": _share(row["tokens_total"], row["tokens_calls"], digits=3),
            "latency_ms": _measured(row, "latency", times["latency"][place]),
            "first_token_ms": _measured(row, "first_token", times["first_token"][place]),
            "cost": _known(row["cost"], row["success"], row["cost_unknown"]),
            "cost_unknown": row["cost_unknown"],
            **_saved(row, wanted),
        }
        for place, row in enumerate(rows)
    ]


def _saved(row: Row, wanted: CallFilter) -> Row:
    if wanted.group_id is not None:
        return NOT_GIVEN
    given = row["joined"] + row["cached"]
    return {
        "joined": row["joined"],
        "cached": row["cached"],
        "saved": _known(row["saved"], given, row["saved_unknown"]),
        "saved_unknown": row["saved_unknown"],
    }


def _share(part: int, whole: int, *, digits: int = 6) -> float | None:
    return round(part / whole, digits) if whole else None


def _known(amount: Decimal, calls: int, unknown: int) -> str | None:
    """USD; None where there are calls, and of none it is known."""
    return None if unknown and unknown >= calls else plain(Decimal(amount))


def _measured(row: Row, name: str, found: Sequence[float]) -> Row:
    """In milliseconds: the exact mean, percentiles within 1 %; None without a measurement."""
    calls = row[f"{name}_calls"]
    if not calls:
        return dict.fromkeys(("mean", *(f"p{each}" for each in PERCENTILES)))
    mean = round(row[f"{name}_us"] / calls / 1000, 3)
    return {"mean": mean, **{f"p{each}": value for each, value in zip(PERCENTILES, found, strict=True)}}


def _flat(rows: Sequence[Row], wanted: CallFilter) -> list[Row]:
    """Each row's totals on one level, as a chart takes them."""
    flat: list[Row] = []
    for told in _told(rows, wanted):
        told["tokens_sum"] = told.pop("tokens_total")
        for name in ("latency_ms", "first_token_ms"):
            told |= {f"{name}_{each}": number for each, number in told.pop(name).items()}
        flat.append(told)
    return flat


def _span_within(starts: Sequence[datetime]) -> int:
    """The longest span, in minutes, that lies in one bucket always; 0 where buckets don't begin with a minute."""
    seconds = math.gcd(*(int((start - EARLIEST).total_seconds()) for start in starts))
    return max((span for span in SPANS if seconds % (span * 60) == 0), default=0)
