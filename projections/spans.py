"""Which spans of time a period is made of, so that as few sums as can be are added up."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from projections.points import SPANS as SPANS_OF_POINTS
from projections.rollups import SPANS
from projections.series import Counts

EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)  # from which spans are counted


def cover(
    since: datetime | None, until: datetime | None, spans: Sequence[int] = SPANS
) -> Iterator[tuple[int, datetime | None, datetime | None]]:
    """Spans, in minutes, that make up [since, until), the longest in the middle; 0 for what is no whole minute."""
    if since is not None and until is not None and since >= until:
        return
    if not spans:
        yield 0, since, until
        return
    span, shorter = timedelta(minutes=spans[-1]), spans[:-1]
    begin = None if since is None else EARLIEST - (EARLIEST - since) // span * span
    end = None if until is None else EARLIEST + (until - EARLIEST) // span * span
    if begin is not None and end is not None and begin >= end:
        yield from cover(since, until, shorter)
        return
    if begin is not None:
        yield from cover(since, begin, shorter)
    yield spans[-1], begin, end
    if end is not None:
        yield from cover(end, until, shorter)


def span_within(starts: Counts) -> int:
    """The longest span, in minutes, that lies in one bucket always; 0 where buckets don't begin with a minute.

    starts: (n_buckets + 1,) in seconds since 1970
    """
    seconds = int(np.gcd.reduce(starts))
    return max((span for span in (*SPANS, *SPANS_OF_POINTS) if seconds % (span * 60) == 0), default=0)
