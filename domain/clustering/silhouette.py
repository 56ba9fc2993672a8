"""Silhouettes: how much closer each sample is to its own cluster than to the next one. Exact, without n × n arrays."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from domain.clustering.means import cluster_means, distances_to_means, scales_to_unit
from domain.clustering.threads import in_parts
from domain.clustering.vectors import (
    Doubles,
    Labels,
    Vectors,
    check_vectors,
    number_labels,
    row_parts,
    row_slices,
    slices_of,
)

# Where |mean| of unit rows falls short of 1 by less, distances to the mean can be too small for 1 − product.
NARROW_CLUSTER = 4e-6
ROWS_PER_TILE = 512  # and as many columns: 1 MB of distances at once in each thread
# A squared distance beneath this part of the squares it is taken from has lost too many digits of float32.
CANCELLED = 0.1
GROUPS = 128  # of row tiles; each cluster in each group has a sum of distances for every sample


def silhouette_cosine(vectors: ArrayLike, labels: ArrayLike) -> float | None:
    """Average the silhouette by cosine distance over all samples, in O(n_samples · n_clusters · n_features).

    vectors: (n_samples, n_features); labels: (n_samples,) of any sortable type
    Returns −1 to 1, or None with fewer than two clusters, where nothing is separated. A sample alone in its cluster
    counts 0, and so does one that is at distance 0 from its own and the next cluster. Zero rows are at distance 1 from
    all. The mean distance of a unit row z to a cluster Z is 1 − z·mean(Z), taken so that nothing cancels out.
    Source: Rousseeuw 1987. Specified by tests/domain/clustering/naive.py.
    """
    rows = check_vectors(vectors)
    ids, sizes = number_labels(labels, len(rows))
    if len(sizes) < 2:
        return None
    from domain.clustering.distances import add_cosine_silhouettes

    scales = scales_to_unit(rows)
    clusters = _directions(rows, scales, ids, sizes)
    transposed = np.ascontiguousarray(clusters.means.T)

    def silhouettes(part: slice) -> float:
        total = 0.0
        for inner in slices_of(part):
            products = rows[inner].astype(np.float64) @ transposed
            total += add_cosine_silhouettes(
                rows[inner],
                scales[inner],
                products,
                ids[inner],
                clusters.means,
                sizes,
                clusters.narrow,
                clusters.spreads,
            )
        return total

    return float(sum(in_parts(silhouettes, row_parts(len(rows))))) / len(rows)


def silhouette_euclidean(vectors: ArrayLike, labels: ArrayLike) -> float | None:
    """Average the silhouette by Euclidean distance over all samples, in O(n_samples² · n_features), tile by tile.

    As silhouette_cosine otherwise. Each distance is taken once, from a matrix product in float32, and in float64 from
    differences where that cancels out: duplicates, narrow clusters and rows far from the origin do no harm.
    """
    rows = check_vectors(vectors)
    ids, sizes = number_labels(labels, len(rows))
    if len(sizes) < 2:
        return None
    from domain.clustering.distances import add_silhouettes

    distances = _SortedRows(rows, ids, len(sizes)).distances_to_clusters()
    ordered = np.sort(ids)
    parts = in_parts(lambda part: add_silhouettes(distances[part], ordered[part], sizes), row_parts(len(rows)))
    return float(sum(parts)) / len(rows)


class _Directions(NamedTuple):
    means: Doubles  # (n_clusters, n_features) of the clusters' unit rows
    narrow: NDArray[np.bool_]  # (n_clusters,) whether rows may be too near the mean for 1 − product
    spreads: Doubles  # (n_clusters,) of the narrow ones, the mean of |z − mean|²


def _directions(rows: Vectors, scales: Doubles, ids: Labels, sizes: Doubles) -> _Directions:
    zeros = np.bincount(ids[scales == 0], minlength=len(sizes))
    means = cluster_means(rows, scales, ids, sizes)
    narrow = (1.0 - np.einsum("ij,ij->i", means, means) < NARROW_CLUSTER) & (zeros == 0)
    squares = distances_to_means(rows, scales, ids, means)[1] if narrow.any() else np.zeros(len(sizes))
    return _Directions(means, narrow, squares / sizes)


class _SortedRows:
    """Rows in the order of their clusters, cut into tiles; each pair of tiles is measured once, for both.

    Tiles are taken in groups, each by one thread. What a group finds for its own rows is its own; what it finds for the
    rows of later tiles it adds up in slots of its own, one for each of its clusters. So no sum depends on which thread
    comes first, and there are at most GROUPS + n_clusters slots.

    Products are those of rows as seen from the middle of the two tiles: squares are then about as large as distances,
    also far from the origin and for narrow clusters far apart, so that few distances cancel out in float32.
    """

    def __init__(self, rows: Vectors, ids: Labels, n_clusters: int) -> None:
        self.rows = rows
        self.order = np.argsort(ids, kind="stable")
        self.ids = ids[self.order].astype(np.int64)
        self.n_clusters = n_clusters
        self.tiles = list(row_slices(len(rows), ROWS_PER_TILE))
        self.middles = [rows[self.order[tile]].mean(axis=0, dtype=np.float64) for tile in self.tiles]
        # Few distances don't average out what float32 rounds.
        self.cancelled = CANCELLED if len(self.tiles) > 1 else np.inf
        # A power of two changes no digit, and keeps squares within float32.
        largest = max(float(rows.max()), -float(rows.min()))
        self.scale = 2.0 ** -np.frexp(largest)[1]
        per_group = -(-len(self.tiles) // GROUPS)
        self.groups = [
            range(first, min(first + per_group, len(self.tiles))) for first in range(0, len(self.tiles), per_group)
        ]
        of_rows = np.arange(len(rows)) // (ROWS_PER_TILE * per_group)
        changes = (np.diff(self.ids, prepend=-1) != 0) | (np.diff(of_rows, prepend=-1) != 0)
        self.slots = np.cumsum(changes) - 1
        self.cluster_of_slot = self.ids[changes]

    def distances_to_clusters(self) -> Doubles:
        """Add up the distances of each row, in the sorted order, to each cluster's: (n_samples, n_clusters) float64."""
        own = np.zeros((len(self.rows), self.n_clusters))
        later = np.zeros((len(self.cluster_of_slot), len(self.rows)))
        in_parts(lambda group: self._measure(group, own, later), self.groups)

        def gather(part: slice) -> None:
            for slot, cluster in enumerate(self.cluster_of_slot):
                own[part, cluster] += later[slot, part]

        in_parts(gather, row_parts(len(self.rows)))
        return own

    def _measure(self, group: range, own: Doubles, later: Doubles) -> None:
        from domain.clustering.distances import add_tile, move

        room = np.empty(ROWS_PER_TILE * ROWS_PER_TILE, dtype=np.float32)
        views = np.empty((2, ROWS_PER_TILE, self.rows.shape[1]), dtype=np.float32)
        squares = np.empty((2, ROWS_PER_TILE), dtype=np.float32)
        for i in group:
            for j in range(i, len(self.tiles)):
                middle = (self.middles[i] + self.middles[j]) / 2
                first, second = self.tiles[i], self.tiles[j]
                n, m = first.stop - first.start, second.stop - second.start
                for side, tile in enumerate((first, second)):
                    move(self.rows, self.order[tile], middle, self.scale, views[side], squares[side])
                products = room[: n * m].reshape(n, m)
                np.matmul(views[0, :n], views[1, :m].T, out=products)
                clusters, starts = np.unique(self.ids[second], return_index=True)
                add_tile(
                    products,
                    self.rows,
                    self.order[first],
                    self.order[second],
                    squares[0],
                    squares[1],
                    self.cancelled,
                    self.scale,
                    self.slots[first],
                    clusters,
                    np.append(starts, m),
                    own[first],
                    later,
                    second.start if j > i else -1,
                )
