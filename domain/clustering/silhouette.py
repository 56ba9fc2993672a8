"""Silhouettes: how much closer each sample is to its own cluster than to the next one. Exact, without n × n arrays."""

import numpy as np
from numpy.typing import ArrayLike

from domain.clustering.assignment import cluster_sums
from domain.clustering.vectors import Doubles, Labels, check_vectors, number_labels, row_slices, unit_rows

ROWS_PER_BLOCK = 512  # of distances at once, 512 × 2048 doubles


def silhouette_cosine(vectors: ArrayLike, labels: ArrayLike) -> float | None:
    """Average the silhouette by cosine distance over all samples, in O(n_samples · n_clusters · n_features).

    vectors: (n_samples, n_features); labels: (n_samples,)
    Returns −1 to 1, or None with fewer than two clusters, where nothing is separated. A sample alone in its cluster
    counts 0. Zero rows are at distance 1 from all. The mean distance of a unit row z to a cluster Z is 1 − z·mean(Z).
    Source: Rousseeuw 1987. Specified by tests/domain/clustering/naive.py.
    """
    rows = unit_rows(vectors)
    ids, sizes = number_labels(labels, len(rows))
    if len(sizes) < 2:
        return None
    sums = cluster_sums(rows, ids, len(sizes))
    total = 0.0
    for part in row_slices(len(rows)):
        doubles = rows[part].astype(np.float64)
        to_cluster = sizes - doubles @ sums.T
        to_itself = 1.0 - np.einsum("ij,ij->i", doubles, doubles)
        total += _sum_of_silhouettes(to_cluster, to_itself, ids[part], sizes)
    return total / len(rows)


def silhouette_euclidean(vectors: ArrayLike, labels: ArrayLike) -> float | None:
    """Average the silhouette by Euclidean distance over all samples, in O(n_samples² · n_features), block by block.

    As silhouette_cosine otherwise. Rows nearer than float64 can tell by expanded squares are at distance 0.
    """
    rows = check_vectors(vectors)
    ids, sizes = number_labels(labels, len(rows))
    if len(sizes) < 2:
        return None
    # Moving the origin into the data keeps the expanded squares small.
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    squares = np.einsum("ij,ij->i", centred, centred)
    members = np.zeros((len(rows), len(sizes)))
    members[np.arange(len(rows)), ids] = 1.0
    total = 0.0
    for part in row_slices(len(rows), ROWS_PER_BLOCK):
        to_cluster = np.zeros((part.stop - part.start, len(sizes)))
        for other in row_slices(len(rows)):
            to_cluster += _distances(centred, squares, part, other) @ members[other]
        total += _sum_of_silhouettes(to_cluster, np.zeros(len(to_cluster)), ids[part], sizes)
    return total / len(rows)


def _distances(centred: Doubles, squares: Doubles, part: slice, other: slice) -> Doubles:
    scale = squares[part, None] + squares[other]
    squared = scale - 2 * (centred[part] @ centred[other].T)
    squared[squared <= 4 * np.finfo(np.float64).eps * centred.shape[1] * scale] = 0.0
    distances: Doubles = np.sqrt(squared)
    return distances


def _sum_of_silhouettes(to_cluster: Doubles, to_itself: Doubles, own: Labels, sizes: Doubles) -> float:
    """Add up (b − a) / max(a, b).

    to_cluster: (n_rows, n_clusters) sums of distances to each cluster's samples; to_itself: (n_rows,) the part of
    these that is the row itself; own: (n_rows,) its cluster; sizes: (n_clusters,)
    """
    each = np.arange(len(own))
    within = (to_cluster[each, own] - to_itself) / np.maximum(sizes[own] - 1, 1)
    means = to_cluster / sizes
    means[each, own] = np.inf
    nearest = means.min(axis=1)
    larger = np.maximum(within, nearest)
    values = np.where(larger > 0, (nearest - within) / np.where(larger > 0, larger, 1.0), 0.0)
    return float(values[sizes[own] > 1].sum())
