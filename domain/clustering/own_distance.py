"""How far each row lies from its own cluster, and which is nearest, by the distance of the method that made it."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from domain.clustering.assignment import NearestCentroid, squared_distances_to_own
from domain.clustering.clusterings import Clustering
from domain.clustering.compactness import cosine_distances_to_own
from domain.clustering.subspaces import NearestSubspace
from domain.clustering.vectors import Doubles, Labels, Vectors, unit_rows

Distance = Literal["euclidean", "cosine", "subspace"]


def own_distances(rows: Vectors, clustering: Clustering, distance: Distance) -> Doubles:
    """Measure each row against its own cluster; a row that is noise (label −1) is at distance 0.

    rows: (n_samples, n_features) float32, those that were clustered
    Returns (n_samples,) float64: squared Euclidean distance to the centroid, 1 − cosine of it, or the square of what
    the own subspace leaves of the row. A subspace that the clustering doesn't tell is a centroid.
    """
    clustered = clustering.labels >= 0
    if clustered.all():
        return _distances(rows, clustering.labels, clustering, distance)
    distances = np.zeros(len(rows))
    distances[clustered] = _distances(rows[clustered], clustering.labels[clustered], clustering, distance)
    return distances


def nearest_clusters(rows: Vectors, clustering: Clustering, distance: Distance) -> Labels:
    """Label rows, old or new, with the nearest cluster by the same distances; ties go to the lowest index.

    rows: (n_rows, n_features) float32. Returns (n_rows,) int32.
    """
    if distance == "subspace" and clustering.bases is not None:
        return NearestSubspace(rows).assign(clustering.bases)
    if distance == "cosine":
        return NearestCentroid(unit_rows(rows)).assign(unit_rows(clustering.centroids))
    return NearestCentroid(rows).assign(clustering.centroids)


def nearest_rows(distances: Doubles, labels: Labels, n_clusters: int, per_cluster: int) -> NDArray[np.int32]:
    """Find the rows that stand for each cluster: the nearest first, ties by the lowest index.

    distances, labels: (n_samples,) as own_distances measures them
    Returns (n_clusters, per_cluster) int32 row indices, −1 where a cluster has fewer rows.
    """
    from domain.clustering.distances import find_nearest

    found = np.full((n_clusters, per_cluster), -1, dtype=np.int32)
    find_nearest(distances, labels, found)
    return found


def _distances(rows: Vectors, labels: Labels, clustering: Clustering, distance: Distance) -> Doubles:
    if distance == "subspace" and clustering.bases is not None:
        return NearestSubspace(rows).distances_to_own(labels, clustering.bases)
    if distance == "cosine":
        return cosine_distances_to_own(rows, labels, clustering.centroids)
    return squared_distances_to_own(rows, labels, clustering.centroids)
