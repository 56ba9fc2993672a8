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
GROUPS_AT_ONCE = 500  # of which a table of all buckets is made
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
    slices = [slice(at, at + GROUPS_AT_ONCE) for at in range(0, len(histograms), GROUPS_AT_ONCE)]
    parts = [_percentiles(histograms[some], shortest_us[some], longest_us[some]) for some in slices]
    return np.concatenate(parts) if parts else np.empty((0, len(PERCENTILES)))


def _percentiles(
    histograms: Sequence[bytes | None], shortest_us: Sequence[int | None], longest_us: Sequence[int | None]
) -> NDArray[np.float64]:
    groups, buckets = len(histograms), len(_MIDDLES)
    records = np.frombuffer(b"".join(each or b"" for each in histograms), dtype=_RECORDS)
    group = np.repeat(np.arange(groups), [len(each or b"") // _RECORD.size for each in histograms])
    held = np.bincount(group * buckets + records["bucket"], records["count"], groups * buckets)
    reached = held.reshape(groups, buckets).cumsum(axis=1)
    totals = reached[:, -1]
    ranks = np.ceil(totals[:, None] * np.array(PERCENTILES) / 100)
    at = np.stack([(reached < ranks[:, [place]]).sum(axis=1) for place in range(len(PERCENTILES))], axis=1)
    least, most = (np.array([[each or 0] for each in bounds], dtype=np.float64) for bounds in (shortest_us, longest_us))
    found = np.clip(_MIDDLES[at], least, most) / 1000
    found[totals == 0] = np.nan
    return np.asarray(found.round(3))
