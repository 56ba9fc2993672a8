"""How close samples lie to their own centroid, by cosine distance: 1 − cosine, 0 to 2."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from domain.clustering.vectors import Doubles, check_centroids, check_cluster_ids, check_vectors
from domain.errors import Rejected


class Compactness(NamedTuple):
    """What dispersion and coverage tell."""

    dispersion: float
    coverage: float


def compactness(vectors: ArrayLike, labels: ArrayLike, centroids: ArrayLike, threshold: float = 0.2) -> Compactness:
    """Find dispersion and coverage at once, from distances that are measured once; see there."""
    if not 0 <= threshold <= 2:
        raise Rejected(f"threshold must be a cosine distance from 0 to 2, not {threshold}", fields=("threshold",))
    distances = cosine_distances_to_own(vectors, labels, centroids)
    return Compactness(float(distances.mean()), float(np.mean(distances <= threshold)))


def dispersion(vectors: ArrayLike, labels: ArrayLike, centroids: ArrayLike) -> float:
    """Average the cosine distance of each sample to its own centroid, over all samples alike.

    vectors: (n_samples, n_features); labels: (n_samples,) of 0 … n_clusters − 1; centroids: (n_clusters, n_features)
    Returns 0 (every sample points where its centroid does) to 2. Zero rows and zero centroids are at distance 1.
    """
    return float(cosine_distances_to_own(vectors, labels, centroids).mean())


def coverage(vectors: ArrayLike, labels: ArrayLike, centroids: ArrayLike, threshold: float = 0.2) -> float:
    """Find the fraction of samples whose cosine distance to their own centroid is at most the threshold.

    Shapes as in dispersion; threshold: 0 to 2. Returns 0 to 1.
    """
    return compactness(vectors, labels, centroids, threshold).coverage


def cosine_distances_to_own(vectors: ArrayLike, labels: ArrayLike, centroids: ArrayLike) -> Doubles:
    """Measure 1 − cosine of each sample and its own centroid: (n_samples,) float64, 0 to 2."""
    rows = check_vectors(vectors)
    centres = check_centroids(centroids, rows.shape[1])
    own = check_cluster_ids(labels, len(rows), len(centres))
    from domain.clustering.distances import measure_angles_from_own

    distances = np.empty(len(rows))
    measure_angles_from_own(rows, own, centres, distances)
    return distances
