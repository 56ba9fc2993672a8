"""Where k-means begins: greedy k-means++ as machine code."""

import numpy as np
from numpy.typing import NDArray

from domain.clustering.compilation import BLOCKS, compiled, part_of_kernels
from domain.clustering.products import LANES
from domain.clustering.vectors import Doubles, Vectors

TRIALS = 8  # rows drawn for each seed
AT_ONCE = 4  # of them are compared with a row at a time


@part_of_kernels
def _improve(block: Vectors, candidates: Vectors, start: int, closest: Vectors, improved: Vectors) -> None:
    """Find the squared distances to the nearest seed if each of AT_ONCE candidates, from `start` on, is one."""
    one, two, three, four = improved[start], improved[start + 1], improved[start + 2], improved[start + 3]
    a, b, c, d = candidates[start], candidates[start + 1], candidates[start + 2], candidates[start + 3]
    for lane in range(LANES):
        one[lane], two[lane], three[lane], four[lane] = 0.0, 0.0, 0.0, 0.0
    for feature in range(0, candidates.shape[1], 2):
        # Two features a turn: sums are kept in memory, so each turn should be worth the way there.
        first, next_one = block[feature], block[feature + 1]
        a0, b0, c0, d0 = a[feature], b[feature], c[feature], d[feature]
        a1, b1, c1, d1 = a[feature + 1], b[feature + 1], c[feature + 1], d[feature + 1]
        for lane in range(LANES):
            x, y = first[lane], next_one[lane]
            one[lane] += (x - a0) * (x - a0) + (y - a1) * (y - a1)
            two[lane] += (x - b0) * (x - b0) + (y - b1) * (y - b1)
            three[lane] += (x - c0) * (x - c0) + (y - c1) * (y - c1)
            four[lane] += (x - d0) * (x - d0) + (y - d1) * (y - d1)
    for trial in range(start, start + AT_ONCE):
        for lane in range(LANES):
            distance, known = improved[trial, lane], closest[lane]
            improved[trial, lane] = distance if distance < known else known


@part_of_kernels
def _sum_of_block(values: Vectors) -> float:
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    for lane in range(0, LANES, 4):
        a += values[lane]
        b += values[lane + 1]
        c += values[lane + 2]
        d += values[lane + 3]
    return (a + b) + (c + d)


@part_of_kernels
def _draw(closest: Vectors, block_sums: Doubles, target: float) -> int:
    """Find the row at which the running sum of squared distances passes the target."""
    passed, last = 0.0, 0
    for block in range(len(block_sums)):
        if block_sums[block] <= 0:
            continue
        if passed + block_sums[block] > target:
            for lane in range(LANES):
                passed += closest[block, lane]
                if closest[block, lane] > 0:
                    last = block * LANES + lane
                    if passed > target:
                        return last
            return last
        passed += block_sums[block]
        for lane in range(LANES):
            if closest[block, lane] > 0:
                last = block * LANES + lane
    return last


@part_of_kernels
def _best(
    blocks: Vectors, drawn: NDArray[np.int64], candidates: Vectors, closest: Vectors, improved: Vectors, sums: Doubles
) -> tuple[int, float]:
    """Find which of the rows drawn leaves the least sum of squared distances to the nearest seed, and that sum."""
    for trial in range(TRIALS):
        for feature in range(blocks.shape[1]):
            candidates[trial, feature] = blocks[drawn[trial] // LANES, feature, drawn[trial] % LANES]
    for block in range(len(blocks)):
        for start in range(0, TRIALS, AT_ONCE):
            _improve(blocks[block], candidates, start, closest[block], improved[block])
        for trial in range(TRIALS):
            sums[trial, block] = _sum_of_block(improved[block, trial])
    winner, least = 0, np.inf
    for trial in range(TRIALS):
        total = 0.0
        for block in range(len(blocks)):
            total += sums[trial, block]
        if total < least:
            winner, least = trial, total
    return winner, least


@compiled(f"int64({BLOCKS}, int64, int64, float64[:, ::1], int64[::1])")
def choose_seeds(blocks: Vectors, n_samples: int, first: int, chances: Doubles, seeds: NDArray[np.int64]) -> int:
    """Choose rows far from each other: each is the best of TRIALS that are drawn by squared distance.

    blocks: as lay_side_by_side made them of an even number of features; first: the first seed, a row
    chances: (len(seeds) − 1, TRIALS) uniform in 0 to 1; seeds: gets row indices
    Returns how many were found before every row was equal to one.
    """
    n_blocks, n_features = blocks.shape[:2]
    closest, improved = np.empty((n_blocks, LANES), np.float32), np.empty((n_blocks, TRIALS, LANES), np.float32)
    sums, candidates = np.empty((TRIALS, n_blocks)), np.empty((TRIALS, n_features), np.float32)
    drawn = np.empty(TRIALS, np.int64)
    for place in range(n_blocks * LANES):
        closest[place // LANES, place % LANES] = np.inf if place < n_samples else 0.0
    for trial in range(TRIALS):
        drawn[trial] = first
    found = 0
    while True:
        winner, least = _best(blocks, drawn, candidates, closest, improved, sums)
        seeds[found] = drawn[winner]
        found += 1
        if found == len(seeds) or least <= 0:
            return found
        for block in range(n_blocks):
            for lane in range(LANES):
                closest[block, lane] = improved[block, winner, lane]
        for trial in range(TRIALS):
            drawn[trial] = _draw(closest, sums[winner], chances[found - 1, trial] * least)
