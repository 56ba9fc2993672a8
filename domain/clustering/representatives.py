"""The samples that stand for a cluster."""

from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from domain.clustering.assignment import squared_distances_to_own
from domain.clustering.vectors import check_centroids, check_cluster_ids, check_vectors
from domain.errors import Rejected


def representatives(
    vectors: ArrayLike, labels: ArrayLike, centroids: ArrayLike, per_cluster: int = 5
) -> list[NDArray[np.intp]]:
    """Find each cluster's samples nearest to its centroid, nearest first; ties go to the lowest index.

    vectors: (n_samples, n_features); labels: (n_samples,) of 0 … n_clusters − 1; centroids: (n_clusters, n_features)
    Returns for each cluster at most per_cluster row indices; none for an empty cluster. Distances are Euclidean: for
    unit rows that is the order of cosine.
    """
    if per_cluster < 1:
        raise Rejected(f"per_cluster must be at least 1, not {per_cluster}", fields=("per_cluster",))
    rows = check_vectors(vectors)
    centres = check_centroids(centroids, rows.shape[1])
    own = check_cluster_ids(labels, len(rows), len(centres))
    distances = squared_distances_to_own(rows, own, centres)
    order = np.lexsort((distances, own))
    starts = np.searchsorted(own[order], np.arange(len(centres) + 1))
    return [order[start : min(start + per_cluster, stop)] for start, stop in pairwise(starts)]
