"""Rows made ready to be clustered again and again, for any number of clusters."""

from math import frexp

import numpy as np
from numpy.typing import ArrayLike, NDArray

from domain.clustering.vectors import Doubles, Vectors, check_vectors, row_slices, unit_rows

Seeds = NDArray[np.int64]
"""(restarts, n_seeds) int64, the rows to start from; the first K of each restart are those of K clusters."""

# Where the largest number has an exponent beyond these, its square might leave the range of float32.
LARGEST_EXPONENT = 20
# A mean that many times longer than the spread about it costs the float32 product its digits.
FARTHEST_MEAN = 16.0
# A row that many times longer than most would leave its rounding behind when it leaves a cluster's sum.
LONGEST_ROW = 2.0**10


class ReadyRows:
    """Rows as the kernels take them.

    rows: (n_samples, n_features), what is clustered
    near: the same rows, moved by −shift and times scale, a power of two, where float32 products need it
    lengths: (n_samples,) of near, rounded up
    blocks: (n_blocks, n_features or one more, LANES), near side by side, zeros where there are no rows
    mean: (n_features,); scatter: the sum of squared distances from it
    update_sums: whether rows can be added to and taken from a sum without leaving more behind than rounding
    """

    def __init__(self, vectors: ArrayLike, spherical: bool = False) -> None:
        """Raises Rejected as check_vectors does. spherical: bring rows to unit length; zero rows stay zero."""
        from domain.clustering.products import LANES, lay_side_by_side
        from domain.clustering.row_sums import average, measure_lengths, scatter_about

        self.rows = unit_rows(vectors) if spherical else check_vectors(vectors)
        self.spherical = spherical
        self.mean = np.empty(self.rows.shape[1])
        average(self.rows, self.mean)
        self.scatter = float(scatter_about(self.rows, self.mean))
        self.near, self.shift, self.scale = self._brought_near()
        self.lengths = np.empty(len(self.rows), dtype=np.float32)
        measure_lengths(self.near, self.lengths)
        n_samples, n_features = self.near.shape
        self.blocks = np.zeros((-(-n_samples // LANES), n_features + n_features % 2, LANES), dtype=np.float32)
        lay_side_by_side(self.near, self.blocks)
        typical = float(np.sqrt(np.mean(np.square(self.lengths, dtype=np.float64))))
        self.update_sums = float(self.lengths.max()) <= LONGEST_ROW * typical

    def seeds(self, n_seeds: int, restarts: int, seed: int) -> Seeds:
        """Choose for each restart n_seeds different rows far from each other: greedy k-means++.

        Each is the best of eight rows drawn with chances proportional to the squared distance to the nearest seed: the
        one that lowers the sum of these most; ties go to the first drawn. When every row equals a seed, the next unused
        rows follow. A restart's rows depend on seed and restart alone, and the first K don't depend on n_seeds.
        Source: Arthur & Vassilvitskii 2007, with trials as in scikit-learn.
        """
        from domain.clustering.seeding import choose_seeds
        from domain.clustering.threads import in_parts

        n_samples = len(self.rows)

        def choose(restart: int) -> NDArray[np.int64]:
            first, chances = draw(n_samples, n_seeds, seed, restart)
            chosen = np.empty(n_seeds, dtype=np.int64)
            found = choose_seeds(self.blocks, n_samples, first, chances, chosen)
            if found < n_seeds:
                chosen[found:] = np.setdiff1d(np.arange(n_samples), chosen[:found])[: n_seeds - found]
            return chosen

        return np.stack(in_parts(choose, range(restarts)))

    def _brought_near(self) -> tuple[Vectors, Doubles, float]:
        shift, scale = np.zeros_like(self.mean), 1.0
        if float(self.mean @ self.mean) * len(self.rows) > FARTHEST_MEAN**2 * self.scatter:
            shift = self.mean
        largest = self._largest(shift)
        exponent = frexp(largest)[1] if largest > 0 else 0
        if abs(exponent) > LARGEST_EXPONENT:
            scale = 2.0**-exponent
        if scale == 1.0 and not shift.any():
            return self.rows, shift, scale
        near = np.empty_like(self.rows)
        for part in row_slices(len(self.rows)):
            near[part] = (self.rows[part] - shift) * scale
        return near, shift, scale

    def _largest(self, shift: Doubles) -> float:
        if not shift.any():
            return max(float(self.rows.max()), -float(self.rows.min()))
        return float(max(np.abs(self.rows[part] - shift).max() for part in row_slices(len(self.rows))))


def draw(n_samples: int, n_seeds: int, seed: int, restart: int) -> tuple[int, Doubles]:
    """Draw a restart's first seed, and the chances of those that follow, (n_seeds − 1, TRIALS)."""
    from domain.clustering.seeding import TRIALS

    chance = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(restart,)))
    return int(chance.integers(n_samples)), chance.random((n_seeds - 1, TRIALS))
