"""Agglomerative clustering: from every row alone to K clusters, by joining the two nearest ones again and again."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from domain.clustering.clusterings import Clustering, check_fit, cluster_means
from domain.clustering.vectors import Doubles, Labels, check_vectors
from domain.errors import Rejected

Linkage = Literal["ward", "complete", "average"]
MOST_SAMPLES = 15_000  # whose distances, one a pair, take 900 MB


def agglomerate(vectors: ArrayLike, n_clusters: int, *, linkage: Linkage = "ward") -> Clustering:
    """Cut the tree of joins where n_clusters are left; clusters are numbered by their first row.

    vectors: (n_samples, n_features), at least n_clusters and at most 15,000 samples, since all their distances are held
    linkage: ward joins what raises the sum of squares least; complete and average look at distances between rows
    Centroids are the means, the objective is the sum of squared distances to them. Nothing is left to chance.
    Raises Rejected for n_clusters out of range and too many samples.
    Source: Ward 1963, by scipy's nearest-neighbour chain (Müllner 2011).
    """
    from scipy.cluster.hierarchy import linkage as tree_of

    rows = check_vectors(vectors)
    check_fit(len(rows), n_clusters, 1, 1, 0)
    if len(rows) > MOST_SAMPLES:
        raise Rejected(
            f"agglomerative holds the distances of all pairs, so it takes at most {MOST_SAMPLES:,} rows, not "
            f"{len(rows):,}; cluster a sample (`study dataset sample`) or use k-means",
            fields=("method",),
        )
    joins = tree_of(rows.astype(np.float64), linkage) if len(rows) > 1 else np.empty((0, 4))
    labels = _cut(joins, len(rows), n_clusters)
    centroids, objective = cluster_means(rows, labels, n_clusters)
    return Clustering(labels, centroids, objective, 1, True, 0)


def _cut(joins: Doubles, n_samples: int, n_clusters: int) -> Labels:
    """Undo the last n_clusters − 1 joins.

    joins: (n_samples − 1, 4), the first two columns name what was joined: rows, then earlier joins, as scipy has it
    """
    parents = np.arange(n_samples + len(joins))
    for number, (one, other) in enumerate(joins[: n_samples - n_clusters, :2].astype(np.intp)):
        parents[one] = parents[other] = n_samples + number
    for node in range(len(parents) - 1, -1, -1):
        parents[node] = parents[parents[node]]  # a join comes after what it joins, so its own root is known by now
    _, first, ids = np.unique(parents[:n_samples], return_index=True, return_inverse=True)
    by_first_row = np.empty(len(first), dtype=np.int32)
    by_first_row[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    labels: Labels = by_first_row[ids]
    return labels
