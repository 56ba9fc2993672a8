"""What a clustering method returns, and what all of them check and draw alike."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from domain.clustering.assignment import cluster_sums, squared_distances_to_own
from domain.clustering.vectors import Doubles, Labels, Vectors
from domain.errors import Rejected


class Clustering(Struct, frozen=True, eq=False):
    """One restart of one method: who belongs where, and how well."""

    labels: (
        Labels  # (n_samples,), each its row's nearest centroid or subspace; −1 for noise, which only some methods find
    )
    centroids: Vectors  # (n_clusters, n_features)
    objective: float  # sum of squared distances to the own centroid or subspace
    iterations: int  # times all rows were assigned
    converged: bool  # the last assignment changed nothing
    empty_clusters: int  # clusters without a row, as when there are fewer distinct rows than clusters
    bases: Doubles | None = None  # (n_clusters, rank, n_features), orthonormal rows; only of k-subspaces
    bic: float | None = None  # Bayesian information criterion, lower is better; only of gaussian-mixture


def best_restart(clusterings: Sequence[Clustering]) -> int:
    """Find the restart with the lowest objective; ties go to the earliest. Raises Rejected if there is none."""
    if not clusterings:
        raise Rejected("There is no clustering to choose from; run at least one restart", fields=("restarts",))
    return min(range(len(clusterings)), key=lambda restart: clusterings[restart].objective)


def best(clusterings: Sequence[Clustering]) -> Clustering:
    """Take the clustering with the lowest objective; ties go to the earliest restart."""
    return clusterings[best_restart(clusterings)]


def check_fit(n_samples: int, n_clusters: int, restarts: int, max_iterations: int, seed: int) -> None:
    """Raise Rejected, naming the argument, if no clustering of that size can be run."""
    for name, number, least in (
        ("n_clusters", n_clusters, 1),
        ("restarts", restarts, 1),
        ("max_iterations", max_iterations, 1),
        ("seed", seed, 0),
    ):
        if number < least:
            raise Rejected(f"{name} must be at least {least}, not {number}", fields=(name,))
    if n_clusters > n_samples:
        raise Rejected(
            f"{n_samples} vectors can't make {n_clusters} clusters; ask for at most {n_samples}", fields=("n_clusters",)
        )


def restart_generator(seed: int, n_clusters: int, restart: int) -> "np.random.Generator":
    """Give each restart of each K its own stream of chance, whatever else is run beside it."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(n_clusters, restart)))


def cluster_means(rows: Vectors, labels: Labels, n_clusters: int) -> tuple[Vectors, float]:
    """Find the mean of each cluster's rows, and the sum of squared distances to the own mean.

    rows: (n_samples, n_features); labels: (n_samples,), −1 for rows that count nowhere
    Returns (n_clusters, n_features) float32, zeros for an empty cluster, and the sum.
    """
    clustered = labels >= 0
    if not clustered.all():
        rows, labels = rows[clustered], labels[clustered]
    sizes = np.bincount(labels, minlength=n_clusters)
    means = (cluster_sums(rows, labels, n_clusters) / np.maximum(sizes, 1)[:, None]).astype(np.float32)
    return means, float(squared_distances_to_own(rows, labels, means).sum())
