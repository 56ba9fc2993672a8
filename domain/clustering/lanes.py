"""LANES rows under comparison with centroids: which are nearest, and by how much, as machine code."""

from typing import NamedTuple

import numpy as np

from domain.clustering.compilation import part_of_kernels
from domain.clustering.products import LANES
from domain.clustering.row_sums import UNIT_ROUNDOFF
from domain.clustering.vectors import Labels, Vectors

SMALLEST_NORMAL = 2.0**-126  # of float32
# What slacks give away for being computed in float32, relative to the distances.
CAUTION = np.float32(2.0**-17)
# Clusters that are looked through together, so that what is known of a lane is fetched once for all of them.
TOGETHER = 4

NEVER = np.float32(np.inf)


class Lanes(NamedTuple):
    """Room for LANES rows under comparison."""

    members: Labels  # (LANES,), which rows they are
    lengths: Vectors  # (LANES,)
    products: Vectors  # (n_clusters, rounded up to TOGETHER, LANES) of rows and centroids, 0 beyond these
    lowest: Vectors  # (LANES,), scores, |c|²/2 − x·c
    second: Vectors
    third: Vectors
    nearest: Labels  # (LANES,), clusters
    next_nearest: Labels
    margins: Vectors  # (LANES,), by how much two scores must differ for the lower to be the lower
    to_rival: Vectors  # (LANES,), how much farther the second is at least
    to_others: Vectors  # (LANES,), how much farther the third is at least


@part_of_kernels
def room(n_clusters: int) -> Lanes:
    """Make room for comparing with so many centroids."""
    return Lanes(
        np.zeros(LANES, np.int32), np.ones(LANES, np.float32), np.zeros((rounded_up(n_clusters), LANES), np.float32),
        np.empty(LANES, np.float32), np.empty(LANES, np.float32), np.empty(LANES, np.float32),
        np.empty(LANES, np.int32), np.empty(LANES, np.int32), np.empty(LANES, np.float32),
        np.empty(LANES, np.float32), np.empty(LANES, np.float32),
    )  # fmt: skip


@part_of_kernels
def rounded_up(n_clusters: int) -> int:
    """The number of clusters, and as many as there are TOGETHER at the end."""
    return -(-n_clusters // TOGETHER) * TOGETHER


@part_of_kernels
def error_per_length(n_features: int, longest: float) -> np.float32:
    """Twice the error of a score for each length of a row: every term is rounded, and both factors were before."""
    return np.float32(2 * UNIT_ROUNDOFF * (n_features + 16) * longest)


@part_of_kernels
def fixed_error(n_features: int, longest: float) -> np.float32:
    """Twice the error of a score that there is whatever the row."""
    return np.float32(2 * (UNIT_ROUNDOFF * 6 * longest * longest + (n_features + 16) * SMALLEST_NORMAL))


@part_of_kernels
def _insert(
    score: np.float32,
    cluster: np.int32,
    lowest: np.float32,
    second: np.float32,
    third: np.float32,
    nearest: np.int32,
    rival: np.int32,
) -> tuple[np.float32, np.float32, np.float32, np.int32, np.int32]:
    """Put a score among the three lowest so far, and its cluster among the two nearest; ties stay behind."""
    wins, beats_rival = score < lowest, score < second
    above = score if score > second else second
    return (
        score if wins else lowest,
        lowest if wins else (score if beats_rival else second),
        above if above < third else third,
        cluster if wins else nearest,
        nearest if wins else (cluster if beats_rival else rival),
    )


@part_of_kernels
def find_three_lowest(halves: Vectors, lanes: Lanes) -> None:
    """Find each lane's three lowest scores, |c|²/2 − x·c, from its products; ties go to the lowest cluster."""
    for lane in range(LANES):
        lanes.lowest[lane], lanes.second[lane], lanes.third[lane] = NEVER, NEVER, NEVER
        lanes.nearest[lane], lanes.next_nearest[lane] = 0, 0
    for cluster in range(0, len(halves), TOGETHER):
        a, b, c, d = halves[cluster], halves[cluster + 1], halves[cluster + 2], halves[cluster + 3]
        of_a, of_b = lanes.products[cluster], lanes.products[cluster + 1]
        of_c, of_d = lanes.products[cluster + 2], lanes.products[cluster + 3]
        number = np.int32(cluster)
        for lane in range(LANES):
            low, second, third = lanes.lowest[lane], lanes.second[lane], lanes.third[lane]
            found = (low, second, third, lanes.nearest[lane], lanes.next_nearest[lane])
            found = _insert(a - of_a[lane], number, *found)
            found = _insert(b - of_b[lane], np.int32(number + 1), *found)
            found = _insert(c - of_c[lane], np.int32(number + 2), *found)
            found = _insert(d - of_d[lane], np.int32(number + 3), *found)
            lanes.lowest[lane], lanes.second[lane], lanes.third[lane] = found[0], found[1], found[2]
            lanes.nearest[lane], lanes.next_nearest[lane] = found[3], found[4]


@part_of_kernels
def bound_gaps(per_length: np.float32, fixed: np.float32, lanes: Lanes) -> None:
    """Bound from below how much farther the second and the third are than the nearest, from their scores.

    |x − b| − |x − a| is (|x − b|² − |x − a|²) / (|x − b| + |x − a|), and the sum of two numbers is at most the root of
    twice the sum of their squares.
    """
    one, two, four, nothing = np.float32(1.0), np.float32(2.0), np.float32(4.0), np.float32(0.0)
    for lane in range(LANES):
        length, low, second, third = lanes.lengths[lane], lanes.lowest[lane], lanes.second[lane], lanes.third[lane]
        margin = per_length * length + fixed
        high = third if third < NEVER else second
        square = length * length * (one + CAUTION) + (margin + margin)
        both = np.sqrt(max(four * (square + low + high), nothing))
        factor, loss = two * (one - CAUTION) / both, both * CAUTION
        lanes.margins[lane] = margin
        lanes.to_rival[lane] = (second - low - margin) * factor - loss if second < NEVER else NEVER
        lanes.to_others[lane] = (third - low - margin) * factor - loss if third < NEVER else NEVER
