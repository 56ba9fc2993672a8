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

_POSTGRES_EPOCH = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp())  # from which it counts microseconds
_RECORDS = np.dtype([(name, ">i8") for name in ("at_us", *SUMS)])


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


def series_of(rows: Sequence[Row], starts: Counts) -> Series:
    """What there was in each bucket, added up.

    rows: one for each provider and model, with `records`: for each of any times, the time and SUMS, as Postgres sends
        them
    starts: (n_buckets + 1,) when each bucket begins, in seconds since 1970, and when the last one ends
    """
    if not rows:
        return Series([], np.empty(0, np.int64), {})
    rows = sorted(rows, key=itemgetter("provider", "model"))
    records = [np.frombuffer(row["records"], _RECORDS) for row in rows]

    # A column at a time: room for them all at once is asked of the system each time, which takes longer than adding.
    def column(name: str) -> Counts:
        return np.concatenate([each[name] for each in records], dtype=np.int64)

    begins = (starts - _POSTGRES_EPOCH) * 10**6
    bucket = np.searchsorted(begins, column("at_us"), side="right") - 1
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
    buckets, numbers = np.divmod(series.places, len(series.keys))
    providers, models = (np.array(each, object)[numbers].tolist() for each in zip(*series.keys, strict=True))
    named = series.sums
    success, joined, cached = (named[each] for each in ("success", "joined", "cached"))
    nothing = [None] * len(numbers)
    columns: list[list[Any]] = [
        np.array(shown, object)[buckets].tolist(),
        providers,
        models if of_models else [UNSET] * len(numbers),
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
    carried, rests = np.divmod(named[f"{name}_rest"], 10**DIGITS)
    amounts = decimals(named[f"{name}_whole"] + carried, rests)
    return _without(amounts, (unknown > 0) & (unknown >= calls)), unknown.tolist()


def decimals(wholes: Counts, rests: Counts) -> list[str]:
    """Whole numbers and what follows the point, in units of the last of DIGITS, as text without noughts at the end.

    All are written at once, a digit at a time, in the way that numpy keeps text: it ends where there are only NULs.
    """
    if not (wholes.any() or rests.any()):  # where nobody joins a call, nothing is saved
        return ["0"] * len(wholes)
    longest = len(str(wholes.max()))
    chars = np.zeros((len(wholes), longest + 1 + DIGITS), np.uint32)
    more = np.zeros(len(wholes), np.bool_)
    for place in range(longest + DIGITS, longest, -1):
        rests, digit = _last_digit(rests)
        more |= digit > 0
        chars[:, place] = more * (digit + ord("0"))
    chars[:, longest] = more * ord(".")
    left = wholes
    for place in range(longest - 1, -1, -1):
        left, digit = _last_digit(left)
        chars[:, place] = digit + ord("0")
    texts: list[str] = chars.view(f"U{chars.shape[1]}").ravel().tolist()
    if longest == 1:
        return texts
    noughts = longest - 1 - np.searchsorted(10 ** np.arange(1, longest), wholes, side="right")
    return [text[before:] for text, before in zip(texts, noughts.tolist(), strict=True)]


def _last_digit(numbers: Counts) -> tuple[Counts, Counts]:
    """What stands before the last digit, and that digit."""
    before = numbers // 10
    return before, numbers - 10 * before


def _without(values: list[Any], unknown: NDArray[np.bool_]) -> list[Any]:
    for place in np.flatnonzero(unknown).tolist():
        values[place] = None
    return values
