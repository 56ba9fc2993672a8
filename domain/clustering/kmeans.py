"""K-means and spherical k-means: greedy k-means++ seeds, then Lloyd's iterations."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from domain.clustering.assignment import (
    NearestCentroid,
    cluster_sums,
    fill_empty_clusters,
    squared_distances_to_own,
)
from domain.clustering.clusterings import Clustering, check_fit, restart_generator
from domain.clustering.vectors import Doubles, Labels, Vectors, check_vectors, row_slices, unit_rows

# Beneath this mean length, unit rows cancel each other out and their mean has no direction.
SHORTEST_MEAN_DIRECTION = 1e-7


def k_means(
    vectors: ArrayLike,
    n_clusters: int,
    *,
    restarts: int = 10,
    max_iterations: int = 200,
    seed: int = 0,
    spherical: bool = False,
) -> list[Clustering]:
    """Cluster by nearest centroid; one result a restart, `best` picks the one with the lowest objective.

    vectors: (n_samples, n_features), at least n_clusters samples
    seed: with K and the restart's number it decides everything; a restart doesn't depend on how many there are
    spherical: rows and centroids are scaled to unit length, so that distances are 2 − 2·cosine; zero rows stay zero

    Stops when an assignment changes nothing. An empty cluster takes the row farthest from its own centroid; with fewer
    distinct rows than clusters, some stay empty and keep the centroid they had. Labels and centroids are the same bits
    for any number of BLAS threads. Raises Rejected as check_vectors does and for n_clusters above n_samples.
    Source: Lloyd 1982; Arthur & Vassilvitskii 2007; Dhillon & Modha 2001.
    Specified by tests/domain/clustering/naive.py.
    """
    rows = unit_rows(vectors) if spherical else check_vectors(vectors)
    check_fit(len(rows), n_clusters, restarts, max_iterations, seed)
    nearest = NearestCentroid(rows)
    update = _mean_directions if spherical else _means
    return [
        _lloyd(nearest, rows[seeds], max_iterations, update)
        for seeds in (
            greedy_seeds(rows, n_clusters, restart_generator(seed, n_clusters, restart)) for restart in range(restarts)
        )
    ]


def spherical_k_means(
    vectors: ArrayLike, n_clusters: int, *, restarts: int = 10, max_iterations: int = 200, seed: int = 0
) -> list[Clustering]:
    """Cluster by cosine: k_means on unit rows with unit centroids."""
    return k_means(vectors, n_clusters, restarts=restarts, max_iterations=max_iterations, seed=seed, spherical=True)


def greedy_seeds(rows: Vectors, n_clusters: int, generator: np.random.Generator) -> list[int]:
    """Choose n_clusters different rows far from each other: greedy k-means++.

    Each step draws 2 + ⌊ln K⌋ rows with chances proportional to the squared distance to the nearest seed, and keeps the
    one that lowers the sum of these most; ties go to the first drawn. When every row equals a seed, the next unused
    row follows. Returns row indices.
    """
    trials = 2 + int(np.log(n_clusters))
    seeds = [int(generator.integers(len(rows)))]
    closest = _squared_distances(rows, rows[seeds])[:, 0]
    while len(seeds) < n_clusters:
        cumulated = np.cumsum(closest)
        if cumulated[-1] <= 0:
            unused = np.setdiff1d(np.arange(len(rows)), seeds)
            return seeds + [int(row) for row in unused[: n_clusters - len(seeds)]]
        drawn = np.searchsorted(cumulated, generator.random(trials) * cumulated[-1], side="right")
        candidates = np.minimum(drawn, np.flatnonzero(closest)[-1])
        improved = np.minimum(closest[:, None], _squared_distances(rows, rows[candidates]))
        winner = int(improved.sum(axis=0).argmin())
        seeds.append(int(candidates[winner]))
        closest = improved[:, winner].copy()
    return seeds


def _squared_distances(rows: Vectors, points: Vectors) -> Doubles:
    from scipy.spatial.distance import cdist

    return np.concatenate([cdist(rows[part], points, "sqeuclidean") for part in row_slices(len(rows))])


Update = Callable[[Vectors, Labels, Vectors], Vectors]


def _lloyd(nearest: NearestCentroid, centroids: Vectors, max_iterations: int, update: Update) -> Clustering:
    rows, n_clusters = nearest.rows, len(centroids)
    labels = np.full(len(rows), -1, dtype=np.int32)
    iterations, converged = 0, False
    while not converged and iterations < max_iterations:
        assigned = _assign_and_fill(nearest, centroids)
        iterations += 1
        converged = np.array_equal(assigned, labels)
        if not converged:
            labels, centroids = assigned, update(rows, assigned, centroids)
    if not converged:
        # The centroids have moved since: labels must be those of the centroids that are returned.
        labels = nearest.assign(centroids)
    objective = float(squared_distances_to_own(rows, labels, centroids).sum())
    empty = n_clusters - len(np.unique(labels))
    return Clustering(labels, centroids, objective, iterations, converged, empty)


def _assign_and_fill(nearest: NearestCentroid, centroids: Vectors) -> Labels:
    labels = nearest.assign(centroids)
    if np.bincount(labels, minlength=len(centroids)).all():
        return labels
    distances = squared_distances_to_own(nearest.rows, labels, centroids)
    return fill_empty_clusters(labels, distances, len(centroids))


def _means(rows: Vectors, labels: Labels, centroids: Vectors) -> Vectors:
    """Move each centroid to the mean of its rows; an empty cluster's stays."""
    sizes = np.bincount(labels, minlength=len(centroids))
    means = cluster_sums(rows, labels, len(centroids)) / np.maximum(sizes, 1)[:, None]
    moved: Vectors = np.where(sizes[:, None] > 0, means, centroids).astype(np.float32)
    return moved


def _mean_directions(rows: Vectors, labels: Labels, centroids: Vectors) -> Vectors:
    """Move each centroid to the direction of its rows' mean; it stays where that has none."""
    sums = cluster_sums(rows, labels, len(centroids))
    lengths = np.sqrt(np.einsum("ij,ij->i", sums, sums))
    sizes = np.bincount(labels, minlength=len(centroids))
    directed = lengths > SHORTEST_MEAN_DIRECTION * sizes
    directions = sums / np.where(directed, lengths, 1.0)[:, None]
    moved: Vectors = np.where(directed[:, None], directions, centroids).astype(np.float32)
    return moved
