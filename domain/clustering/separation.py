"""How far clusters lie apart compared with how wide they are, by Euclidean distances to their means."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from domain.clustering.means import cluster_means, distances_to_means
from domain.clustering.vectors import Doubles, Labels, Vectors, check_vectors, number_labels, row_slices

# Means nearer than this part of their largest entry are the same but for rounding.
RELATIVE_TIE = 1e-14


class _Clusters(NamedTuple):
    means: Doubles  # (n_clusters, n_features)
    distances: Doubles  # (n_clusters,) sums of distances to the mean
    squares: Doubles  # (n_clusters,) sums of their squares


class Separation(NamedTuple):
    """What calinski_harabasz and davies_bouldin tell."""

    calinski_harabasz: float | None
    davies_bouldin: float | None


def separation(vectors: ArrayLike, labels: ArrayLike) -> Separation:
    """Find both indices at once, from means and widths that are measured once; see there."""
    rows = check_vectors(vectors)
    ids, sizes = number_labels(labels, len(rows))
    if len(sizes) == 1:
        return Separation(None, None)
    clusters = _measured(rows, ids, sizes)
    return Separation(_variance_ratio(clusters, sizes, len(rows)), _mixture(clusters, sizes))


def calinski_harabasz(vectors: ArrayLike, labels: ArrayLike) -> float | None:
    """Compare the variance between clusters with that within: the higher, the better told apart.

    vectors: (n_samples, n_features); labels: (n_samples,) of any sortable type; an id without a sample is no cluster
    Returns (between / (K − 1)) / (within / (n_samples − K)), 0 or more, in which both are sums of squares; 1 where all
    samples lie on their cluster's mean, as in scikit-learn; None for one cluster and for one cluster a sample, where
    there is nothing to compare. Raises Rejected as check_vectors does and for another number of labels.
    Source: Caliński & Harabasz 1974. Specified by tests/domain/clustering/naive.py.
    """
    return separation(vectors, labels).calinski_harabasz


def _variance_ratio(clusters: _Clusters, sizes: Doubles, n_samples: int) -> float | None:
    n_clusters = len(sizes)
    if n_clusters == n_samples:
        return None
    within = float(clusters.squares.sum())
    if within == 0:
        return 1.0
    centre = sizes @ clusters.means / n_samples
    between = float(sizes @ np.square(clusters.means - centre).sum(axis=1))
    return between * (n_samples - n_clusters) / (within * (n_clusters - 1))


def davies_bouldin(vectors: ArrayLike, labels: ArrayLike) -> float | None:
    """Average over clusters how much each is mixed up with the one it is mixed up with most: the lower, the better.

    vectors: (n_samples, n_features); labels: (n_samples,) of any sortable type; an id without a sample is no cluster
    Two clusters are mixed up by (width + width) / distance of their means, a width being the mean distance to the mean.
    Returns 0 or more; None for one cluster. A cluster of one sample has width 0; one cluster a sample counts 0.
    Clusters whose means are the same are left out of each other's comparison, as in scikit-learn.
    Raises Rejected as calinski_harabasz does.
    Source: Davies & Bouldin 1979. Specified by tests/domain/clustering/naive.py.
    """
    return separation(vectors, labels).davies_bouldin


def _mixture(clusters: _Clusters, sizes: Doubles) -> float:
    from scipy.spatial.distance import cdist

    widths = clusters.distances / sizes
    nothing = RELATIVE_TIE * float(np.abs(clusters.means).max())
    worst = np.zeros(len(sizes))
    for part in row_slices(len(sizes)):
        apart = cdist(clusters.means[part], clusters.means)
        mixed = np.zeros_like(apart)
        np.divide(widths[part, None] + widths, apart, out=mixed, where=apart > nothing)
        worst[part] = mixed.max(axis=1)
    return float(worst.mean())


def _measured(rows: Vectors, ids: Labels, sizes: Doubles) -> _Clusters:
    as_they_are = np.ones(len(rows))
    means = cluster_means(rows, as_they_are, ids, sizes)
    return _Clusters(means, *distances_to_means(rows, as_they_are, ids, means))
