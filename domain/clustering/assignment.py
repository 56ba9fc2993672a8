"""Who belongs to which centroid, the same on every machine and for any number of BLAS threads.

Distances come first from a float32 matrix product, whose last bits depend on how BLAS splits the work. A row is
labelled from them only if its nearest centroid wins by more than the product can err; the few others are decided by
exact differences in float64. So no label hangs on rounding.
"""

import numpy as np

from domain.clustering.vectors import Doubles, Labels, Vectors, row_slices, squared_lengths

UNIT_ROUNDOFF = 2.0**-24  # of float32
SMALLEST_NORMAL = 2.0**-126  # of float32


class NearestCentroid:
    """Rows made ready to be assigned again and again.

    rows: (n_samples, n_features) float32
    """

    def __init__(self, rows: Vectors) -> None:
        self.rows = rows
        self._lengths = np.sqrt(squared_lengths(rows))

    def assign(self, centroids: Vectors) -> Labels:
        """Label each row with its nearest centroid by Euclidean distance; ties go to the lowest index.

        centroids: (n_clusters, n_features) float32
        Returns (n_samples,) int32.
        """
        from scipy.spatial.distance import cdist

        labels = np.empty(len(self.rows), dtype=np.int32)
        halves = squared_lengths(centroids) / 2
        longest = float(np.sqrt(2 * halves.max()))
        for part in row_slices(len(self.rows)):
            # |x − c|² / 2 without |x|² / 2, which is the same for every centroid.
            with np.errstate(over="ignore", invalid="ignore"):
                scores = halves.astype(np.float32)[:, None] - centroids @ self.rows[part].T
                near = scores <= scores.min(axis=0) + self._margin(part, longest)
            labels[part] = near.argmax(axis=0)
            # None is near when float32 overflowed; several are when the nearest can't be told.
            undecided = part.start + np.flatnonzero(np.count_nonzero(near, axis=0) != 1)
            if len(undecided):
                labels[undecided] = cdist(self.rows[undecided], centroids, "sqeuclidean").argmin(axis=1)
        return labels

    def _margin(self, part: slice, longest: float) -> Vectors:
        """Bound twice the error of a score: a dot product of n_features terms errs by n_features roundings."""
        n_features = self.rows.shape[1]
        error = UNIT_ROUNDOFF * ((n_features + 8) * self._lengths[part] * longest + 2 * longest**2)
        margin: Vectors = (2 * (error + n_features * SMALLEST_NORMAL)).astype(np.float32)
        return margin


def squared_distances_to_own(rows: Vectors, labels: Labels, centroids: Vectors) -> Doubles:
    """Measure each row against its own centroid: (n_samples,) float64, by differences, exact for equal rows."""
    from domain.clustering.distances import measure_from_own

    distances = np.empty(len(rows))
    measure_from_own(rows, labels, centroids, distances)
    return distances


def cluster_sums(rows: Vectors, labels: Labels, n_clusters: int) -> Doubles:
    """Add up each cluster's rows in their order: (n_clusters, n_features) float64, zeros for an empty cluster."""
    from scipy.sparse import csc_array

    sums = np.zeros((n_clusters, rows.shape[1]))
    for part in row_slices(len(rows)):
        count = part.stop - part.start
        # A sparse product adds row after row without BLAS, so the order never changes.
        members = csc_array((np.ones(count), labels[part], np.arange(count + 1)), shape=(n_clusters, count))
        sums += members @ rows[part].astype(np.float64)
    return sums


def fill_empty_clusters(labels: Labels, distances: Doubles, n_clusters: int) -> Labels:
    """Give each empty cluster the row that is farthest from its own centre, if any is away from it.

    distances: (n_samples,) of each row to its own centroid or subspace
    Empty clusters are served in the order of their ids, rows from the farthest (ties: lowest index); a row at distance
    0 or alone in its cluster stays. Clusters for which no row is left stay empty. Returns new labels.
    """
    sizes = np.bincount(labels, minlength=n_clusters)
    empty = np.flatnonzero(sizes == 0)
    filled = labels.copy()
    farthest = iter(np.argsort(-distances, kind="stable"))
    for cluster in empty:
        row = next((row for row in farthest if distances[row] <= 0 or sizes[filled[row]] > 1), None)
        if row is None or distances[row] <= 0:
            break
        sizes[filled[row]] -= 1
        filled[row] = cluster
    return filled
