"""Histograms of latencies: percentiles are near the exact ones, however the histograms came about."""

import math
import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.latency import BEGINNINGS, PERCENTILES, bucket_of, counts_in, histogram, microseconds, percentiles
from projections.tallies import Times

latencies = st.lists(st.floats(min_value=0, max_value=7_200_000), min_size=1, max_size=60)


def times_of(*milliseconds: float) -> Times:
    times = Times()
    for each in milliseconds:
        times.add(each)
    return times


def percentiles_of(*parts: Times) -> list[float]:
    known = [part for part in parts if part.calls]
    joined = b"".join(histogram(part.counts) for part in parts)
    shortest = min((part.shortest or 0 for part in known), default=None)
    longest = max((part.longest or 0 for part in known), default=None)
    found: list[float] = percentiles([joined], [shortest], [longest])[0].tolist()
    return found


def exact(milliseconds: list[float], percentile: int) -> float:
    return sorted(milliseconds)[math.ceil(len(milliseconds) * percentile / 100) - 1]


@settings(max_examples=200, deadline=None)
@given(latencies, st.integers(0, 60))
def test_percentiles_are_within_one_percent_of_the_exact_ones_however_the_times_are_parted(times, cut):
    found = percentiles_of(times_of(*times[:cut]), times_of(*times[cut:]))
    for place, percentile in enumerate(PERCENTILES):
        expected = exact(times, percentile)
        if expected <= BEGINNINGS[-1] / 1000:
            assert found[place] == pytest.approx(expected, rel=0.0101, abs=0.051)


@settings(max_examples=100, deadline=None)
@given(latencies, st.randoms(use_true_random=False))
def test_what_is_added_up_does_not_depend_on_the_order(times, chance):
    shuffled = chance.sample(times, len(times))
    merged = times_of()
    for each in shuffled:
        merged.merge(times_of(each))
    assert merged.row() == times_of(*times).row() == Times.of(merged.row()).row()


def test_one_time_is_told_exactly_and_none_as_nothing():
    assert percentiles_of(times_of(210.25)) == [210.25, 210.25, 210.25]
    assert np.isnan(percentiles([None, b""], [None, None], [None, None])).all()
    assert percentiles([], [], []).shape == (0, 3)


def test_groups_are_told_apart_however_many_there_are():
    chance = random.Random(1)
    groups = [times_of(*(chance.lognormvariate(6, 1) for _ in range(chance.randrange(4)))) for _ in range(1200)]
    together = percentiles(
        [histogram(each.counts) for each in groups],
        [each.shortest for each in groups],
        [each.longest for each in groups],
    )
    alone = np.array([percentiles_of(each) for each in groups])
    np.testing.assert_array_equal(together, alone)


def test_buckets_begin_where_they_say():
    for number, beginning in enumerate(BEGINNINGS, start=1):
        assert (bucket_of(beginning - 1), bucket_of(beginning)) == (number - 1, number)
    pairs = pairwise(BEGINNINGS)
    assert all(later <= earlier * 1.02 + 1 for earlier, later in pairs)  # to the microsecond


@pytest.mark.parametrize("nonsense", [None, -0.001, 1e10, math.inf, math.nan])
def test_what_cannot_have_been_measured_is_not_counted(nonsense):
    assert microseconds(nonsense) is None
    assert times_of(*([] if nonsense is None else [nonsense])).row() == times_of().row()


def test_a_histogram_comes_back_as_it_was():
    counts = {0: 1, 400: 2**32 - 1, 880: 7}
    assert counts_in(histogram(counts)) == counts
