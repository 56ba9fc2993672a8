"""Latencies as histograms that can be added up, and the percentiles that come out of them.

Buckets lie 2 % apart from 0.1 ms to an hour, so that a percentile is within 1 % of the exact one (the value of that
rank), however many histograms were added. What is shorter is within 0.05 ms; what is longer than an hour counts as the
longest there was. A histogram is bytes: for each bucket that holds something, in order, its number (2 bytes) and how
many it holds (4 bytes), big-endian. Added up, histograms may stand one behind the other.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from struct import Struct

import numpy as np
from numpy.typing import NDArray

WIDTH = 1.02
SHORTEST_US, LONGEST_US = 100, 3_600_000_000
PERCENTILES = (50, 95, 99)
LONGEST_MS = 1e9  # eleven days: what takes longer, or less than nothing, was not measured

# Where buckets begin, in microseconds; bucket 0 lies before the first. SQL's width_bucket counts the same way.
BEGINNINGS = tuple(
    round(SHORTEST_US * WIDTH**step) for step in range(math.ceil(math.log(LONGEST_US / SHORTEST_US, WIDTH)) + 1)
)
_MIDDLES = np.array(
    [SHORTEST_US / 2, *np.sqrt(np.array(BEGINNINGS[:-1], float) * np.array(BEGINNINGS[1:], float)), np.inf]
)
_RECORD = Struct(">HI")
_RECORDS = np.dtype([("bucket", ">u2"), ("count", ">u4")])


def microseconds(milliseconds: float | None) -> int | None:
    """A measured time to the microsecond, as whole numbers add up exactly; None for what can't have been measured."""
    if milliseconds is None or not 0 <= milliseconds <= LONGEST_MS:
        return None
    return round(milliseconds * 1000)


def bucket_of(time_us: int) -> int:
    """The number of the bucket that holds a time."""
    return bisect_right(BEGINNINGS, time_us)


def histogram(counts: Mapping[int, int]) -> bytes:
    """A histogram of how many each bucket holds."""
    return b"".join(_RECORD.pack(bucket, counts[bucket]) for bucket in sorted(counts))


def counts_in(found: bytes) -> dict[int, int]:
    """How many each bucket of one histogram holds."""
    return dict(_RECORD.iter_unpack(found))


def percentiles(
    histograms: Sequence[bytes | None], shortest_us: Sequence[int | None], longest_us: Sequence[int | None]
) -> NDArray[np.float64]:
    """(n_groups, 3) milliseconds: the 50th, 95th and 99th percentile of each group; NaN for one without times.

    histograms: of each group, one or several, one behind the other
    shortest_us, longest_us: the least and the greatest time in each group, which bound its percentiles
    """
    groups = len(histograms)
    lengths = [len(each or b"") // _RECORD.size for each in histograms]
    records = np.frombuffer(b"".join(each or b"" for each in histograms), dtype=_RECORDS)
    group = np.repeat(np.arange(groups), lengths)
    place = group * (len(_MIDDLES) + 1) + records["bucket"]
    order = np.argsort(place, kind="stable")
    reached = np.cumsum(records["count"][order].astype(np.int64))
    totals = np.bincount(group, weights=records["count"], minlength=groups).astype(np.int64)
    before = np.cumsum(totals) - totals
    ranks = np.ceil(totals[:, None] * (np.array(PERCENTILES) / 100)).astype(np.int64)
    found = np.full((groups, len(PERCENTILES)), np.nan)
    some = totals > 0
    at = np.searchsorted(reached, before[some, None] + np.maximum(ranks[some], 1))
    bounds = np.array([[each or 0 for each in shortest_us], [each or 0 for each in longest_us]], float)[:, some, None]
    middles = _MIDDLES[records["bucket"][order][at]]
    found[some] = np.clip(middles, bounds[0], bounds[1]) / 1000
    return np.asarray(found.round(3))
