"""Points of a series out of sums that lie one behind the other: added up by bucket, and made ready for a chart."""

from collections.abc import Sequence
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from msgspec import UNSET, Struct, UnsetType
from numpy.typing import NDArray

from projections.points import DIGITS, SUMS
from projections.reading import Row

Counts = NDArray[np.int64]  # (n_points,)

_POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # from which it counts microseconds
_RECORDS = np.dtype([(name, ">i8") for name in ("at_us", *SUMS)])
_WHOLE = 10**DIGITS


class SeriesPoint(Struct, gc=False):
    """What a chart shows of one bucket, and of one provider or model in it; there may be thousands.

    at: when the bucket begins, in its zone; model: only where models are told apart
    cost, saved: USD as text; None where there are calls, and of none it is known
    joined, cached, saved, saved_unknown: None where it isn't known what was given
    """

    at: str
    provider: str
    model: str | UnsetType
    calls: int
    success: int
    failed: int
    tokens_sum: int
    tokens_mean: float | None
    latency_ms_mean: float | None
    cost: str | None
    cost_unknown: int
    joined: int | None
    cached: int | None
    saved: str | None
    saved_unknown: int | None


class Series(NamedTuple):
    """Sums by bucket and key, in that order.

    keys: (n_keys,) provider and model; places: the number of a bucket * n_keys + that of a key; sums: each of SUMS
    """

    keys: list[tuple[str, str]]
    places: Counts
    sums: dict[str, Counts]


def series_of(rows: Sequence[Row], starts: Sequence[datetime]) -> Series:
    """What there was in each bucket, added up.

    rows: one for each provider and model, with `records`: for each of any times, the time and SUMS, as Postgres sends
        them
    starts: (n_buckets + 1,) when each bucket begins, at a whole second, and when the last one ends
    """
    if not rows:
        return Series([], np.empty(0, np.int64), {})
    rows = sorted(rows, key=itemgetter("provider", "model"))
    records = [np.frombuffer(row["records"], _RECORDS) for row in rows]

    # A column at a time: room for them all at once is asked of the system each time, which takes longer than adding.
    def column(name: str) -> Counts:
        return np.concatenate([each[name] for each in records], dtype=np.int64)

    seconds = np.array([start.timestamp() for start in starts]) - _POSTGRES_EPOCH.timestamp()
    bucket = np.searchsorted(seconds.astype(np.int64) * 10**6, column("at_us"), side="right") - 1
    place = bucket * len(rows) + np.repeat(np.arange(len(rows)), [len(each) for each in records])
    order = np.argsort(place, kind="stable")
    places, first = np.unique(place[order], return_index=True)
    sums = {name: np.add.reduceat(column(name)[order], first) for name in SUMS}
    return Series([(row["provider"], row["model"]) for row in rows], places, sums)


def filled(series: Series, buckets: int) -> Series:
    """The same with a point of nothing for each bucket and key that has none."""
    sums = {name: np.zeros(buckets * len(series.keys), np.int64) for name in SUMS}
    for name, there in series.sums.items():
        sums[name][series.places] = there
    return Series(series.keys, np.arange(buckets * len(series.keys)), sums)


def points_of(series: Series, shown: Sequence[str], *, of_models: bool, given: bool) -> list[SeriesPoint]:
    """The points of a series, in its order.

    shown: (n_buckets,) how it is told when each bucket begins
    given: whether it is known what was joined and cached
    """
    if not series.keys:
        return []
    buckets, numbers = (each.tolist() for each in np.divmod(series.places, len(series.keys)))
    keys = [series.keys[number] for number in numbers]
    named = series.sums
    success, joined, cached = (named[each] for each in ("success", "joined", "cached"))
    nothing = [None] * len(keys)
    columns: list[list[Any]] = [
        [shown[bucket] for bucket in buckets],
        [provider for provider, _ in keys],
        [model for _, model in keys] if of_models else [UNSET] * len(keys),
        *(named[each].tolist() for each in ("calls", "success", "failed", "tokens_total")),
        _thousandths(1000 * named["tokens_total"], named["tokens_calls"]),
        _thousandths(named["latency_us"], named["latency_calls"]),
        *_amounts(named, "cost", success),
        *((joined.tolist(), cached.tolist()) if given else (nothing, nothing)),
        *(_amounts(named, "saved", joined + cached) if given else (nothing, nothing)),
    ]
    return list(map(SeriesPoint, *columns))


def _thousandths(parts: Counts, wholes: Counts) -> list[Any]:
    """The quotients rounded half up, a thousandth of that; None where there is nothing to divide by."""
    rounded = ((2 * parts + wholes) // np.maximum(2 * wholes, 1)) / 1000
    return _without(rounded.tolist(), wholes == 0)


def _amounts(named: dict[str, Counts], name: str, calls: Counts) -> tuple[list[Any], list[int]]:
    """USD as text, None where there are calls and of none it is known; and of how many it is not."""
    unknown = named[f"{name}_unknown"]
    carried, rests = np.divmod(named[f"{name}_rest"], _WHOLE)
    wholes = named[f"{name}_whole"] + carried
    # The digit before a rest keeps its noughts, and is taken off: that takes half as long as a format.
    amounts = [
        f"{whole}.{str(rest)[1:]}".rstrip("0") if rest > _WHOLE else str(whole)
        for whole, rest in zip(wholes.tolist(), (rests + _WHOLE).tolist(), strict=True)
    ]
    return _without(amounts, (unknown > 0) & (unknown >= calls)), unknown.tolist()


def _without(values: list[Any], unknown: NDArray[np.bool_]) -> list[Any]:
    for place in np.flatnonzero(unknown).tolist():
        values[place] = None
    return values
