"""Points of a series out of sums that lie one behind the other: added up by bucket, and made ready for a chart."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from projections.points import DIGITS, SUMS
from projections.reading import Row

Sums = NDArray[np.int64]  # (n_points, len(SUMS))
Counts = NDArray[np.int64]  # (n_points,)

_POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # from which it counts microseconds
_RECORDS = np.dtype([("at_us", ">i8"), ("sums", ">i8", (len(SUMS),))])
_WHOLE = 10**DIGITS


def points_of(rows: Sequence[Row], starts: Sequence[datetime], keys: tuple[str, ...]) -> list[Row]:
    """A point for each bucket and key in which there was something, in their order; `at` is the bucket's number.

    rows: one for each key, with `records`: for each of any times, the time and SUMS, as Postgres sends them
    starts: (n_buckets + 1,) when each bucket begins, and when the last one ends
    """
    begins = np.array([(start - _POSTGRES_EPOCH) // timedelta(microseconds=1) for start in starts], np.int64)
    points: list[Row] = []
    for row in sorted(rows, key=itemgetter(*keys)):
        records = np.frombuffer(row["records"], dtype=_RECORDS)
        bucket = np.searchsorted(begins, records["at_us"], side="right") - 1
        order = np.argsort(bucket, kind="stable")
        there, first = np.unique(bucket[order], return_index=True)
        sums = np.add.reduceat(records["sums"][order].astype(np.int64), first, axis=0)
        points += _ready(there.tolist(), {key: row[key] for key in keys}, sums)
    points.sort(key=itemgetter("at"))
    return points


def _ready(buckets: list[int], key: Row, sums: Sums) -> list[Row]:
    """The points of one key."""
    named = dict(zip(SUMS, sums.T, strict=True))
    calls, success, failed, joined, cached = (
        named[each] for each in ("calls", "success", "failed", "joined", "cached")
    )
    columns = (  # in the order below
        *(calls.tolist(), success.tolist(), failed.tolist(), named["tokens_total"].tolist()),
        _thousandths(1000 * named["tokens_total"], named["tokens_calls"]),
        _thousandths(named["latency_us"], named["latency_calls"]),
        *_amounts(named, "cost", success),
        *(joined.tolist(), cached.tolist()),
        *_amounts(named, "saved", joined + cached),
    )
    # Written out, since it takes half as long as names that are zipped, and there are thousands.
    return [
        {
            "at": at,
            **key,
            "calls": calls,
            "success": success,
            "failed": failed,
            "tokens_sum": tokens_sum,
            "tokens_mean": tokens_mean,
            "latency_ms_mean": latency_ms_mean,
            "cost": cost,
            "cost_unknown": cost_unknown,
            "joined": joined,
            "cached": cached,
            "saved": saved,
            "saved_unknown": saved_unknown,
        }
        for (
            at,
            calls,
            success,
            failed,
            tokens_sum,
            tokens_mean,
            latency_ms_mean,
            cost,
            cost_unknown,
            joined,
            cached,
            saved,
            saved_unknown,
        ) in zip(buckets, *columns, strict=True)
    ]


def _thousandths(parts: Counts, wholes: Counts) -> list[Any]:
    """The quotients rounded half up, a thousandth of that; None where there is nothing to divide by."""
    rounded = ((2 * parts + wholes) // np.maximum(2 * wholes, 1)) / 1000
    return [value if whole else None for value, whole in zip(rounded.tolist(), wholes.tolist(), strict=True)]


def _amounts(named: dict[str, Counts], name: str, calls: Counts) -> tuple[list[Any], list[int]]:
    """USD as text, None where there are calls and of none it is known; and of how many it is not."""
    unknown = named[f"{name}_unknown"]
    carried, rests = np.divmod(named[f"{name}_rest"], _WHOLE)
    wholes, known = named[f"{name}_whole"] + carried, (unknown == 0) | (unknown < calls)
    amounts = zip(wholes.tolist(), rests.tolist(), known.tolist(), strict=True)
    return [
        (f"{whole}.{rest:0{DIGITS}d}".rstrip("0") if rest else f"{whole}") if is_known else None
        for whole, rest, is_known in amounts
    ], unknown.tolist()
