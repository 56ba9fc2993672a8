"""K-means and spherical k-means: greedy k-means++ seeds, then Lloyd's iterations, exact and always the same."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from domain.clustering.clusterings import Clustering, check_fit
from domain.clustering.ready_rows import ReadyRows, Seeds
from domain.clustering.threads import in_parts, thread_count
from domain.clustering.vectors import Doubles, Labels, Vectors
from domain.errors import Rejected

# Centroids that together move less than this part of a feature's variance have settled; scikit-learn's default too.
TOLERANCE = 1e-4

# Beneath this part of the scatter, subtracting would leave too few digits of an objective.
SMALLEST_SHARE = 1e-4

# So many for each thread, at least, if restarts can be divided so far: they end at different times.
TASKS = 4


def k_means(
    vectors: ArrayLike,
    n_clusters: int,
    *,
    restarts: int = 10,
    max_iterations: int = 200,
    seed: int = 0,
    spherical: bool = False,
    tolerance: float = TOLERANCE,
    seeds: Seeds | None = None,
) -> list[Clustering]:
    """Cluster by nearest centroid; one result a restart, `best` picks the one with the lowest objective.

    vectors: (n_samples, n_features), at least n_clusters samples
    seed: with the restart's number it decides everything; a restart doesn't depend on how many there are
    spherical: rows and centroids are scaled to unit length, so that distances are 2 − 2·cosine; zero rows stay zero
    tolerance: stop when the squared shifts of all centroids add up to at most this part of the features' mean
        variance, as scikit-learn does; 0 goes on until an assignment changes nothing
    seeds: as ReadyRows.seeds chose them of these vectors, for as many restarts and at least n_clusters; None chooses

    Labels are those of the nearest of the centroids returned; ties go to the lowest index. An empty cluster takes the
    row farthest from its own centroid; with fewer distinct rows than clusters, some stay empty and keep the centroid
    they had. The result is the same bits for any number of threads, and beside whatever else is run.
    Raises Rejected as check_vectors does, for n_clusters above n_samples and for a tolerance below 0.
    Source: Lloyd 1982; Arthur & Vassilvitskii 2007; Dhillon & Modha 2001; Hamerly 2010.
    Specified by tests/domain/clustering/naive.py.
    """
    return k_means_of_each(
        ReadyRows(vectors, spherical),
        (n_clusters,),
        restarts=restarts,
        max_iterations=max_iterations,
        seed=seed,
        tolerance=tolerance,
        seeds=seeds,
    )[0]


def spherical_k_means(
    vectors: ArrayLike,
    n_clusters: int,
    *,
    restarts: int = 10,
    max_iterations: int = 200,
    seed: int = 0,
    tolerance: float = TOLERANCE,
) -> list[Clustering]:
    """Cluster by cosine: k_means on unit rows with unit centroids."""
    return k_means(
        vectors,
        n_clusters,
        restarts=restarts,
        max_iterations=max_iterations,
        seed=seed,
        spherical=True,
        tolerance=tolerance,
    )


def k_means_of_each(
    ready: ReadyRows,
    numbers_of_clusters: Sequence[int],
    *,
    restarts: int,
    max_iterations: int,
    seed: int,
    tolerance: float = TOLERANCE,
    seeds: Seeds | None = None,
) -> list[list[Clustering]]:
    """Run k_means for each number of clusters, with seeds chosen once; the same bits as each of them alone."""
    for n_clusters in numbers_of_clusters:
        check_fit(len(ready.rows), n_clusters, restarts, max_iterations, seed)
    if not tolerance >= 0:
        raise Rejected(f"tolerance must be at least 0, not {tolerance}", fields=("tolerance",))
    chosen = ready.seeds(max(numbers_of_clusters), restarts, seed) if seeds is None else seeds

    # Restarts of a K go in step, which spares memory its traffic, as far as each thread still has some tasks.
    threads, in_step = thread_count(), restarts
    if threads > 1:
        in_step = max(1, min(restarts, restarts * len(numbers_of_clusters) // (TASKS * threads)))
    tasks = [
        (n_clusters, slice(first, min(first + in_step, restarts)))
        for n_clusters in numbers_of_clusters
        for first in range(0, restarts, in_step)
    ]

    def run(task: tuple[int, slice]) -> list[Clustering]:
        n_clusters, some = task
        return _run(ready, chosen[some, :n_clusters], max_iterations, tolerance)

    # The longest first, so that no thread is left alone with one of them at the end.
    order = sorted(range(len(tasks)), key=lambda number: -tasks[number][0])
    found = dict(zip(order, in_parts(run, [tasks[number] for number in order]), strict=True))
    each = [clustering for number in range(len(tasks)) for clustering in found[number]]
    return [each[first : first + restarts] for first in range(0, len(each), restarts)]


def _run(ready: ReadyRows, seeds: Seeds, max_iterations: int, tolerance: float) -> list[Clustering]:
    from domain.clustering.lloyd import lloyd

    rows, (n_runs, n_clusters) = ready.rows, seeds.shape
    centroids = rows[seeds]
    labels = np.empty((n_runs, len(rows)), dtype=np.int32)
    sums, sizes = np.zeros(centroids.shape), np.zeros((n_runs, n_clusters), dtype=np.int64)
    iterations, converged = np.zeros(n_runs, dtype=np.int64), np.zeros(n_runs, dtype=np.bool_)
    lloyd(
        rows,
        ready.near,
        ready.blocks,
        ready.lengths,
        ready.shift,
        ready.scale,
        tolerance * ready.scatter / rows.size,
        max_iterations,
        ready.spherical,
        ready.update_sums,
        centroids,
        labels,
        sums,
        sizes,
        iterations,
        converged,
    )
    return [
        Clustering(
            labels[run].copy(),
            centroids[run].copy(),
            _objective(ready, labels[run], centroids[run], sums[run], sizes[run]),
            int(iterations[run]),
            bool(converged[run]),
            int((sizes[run] == 0).sum()),
        )
        for run in range(n_runs)
    ]


def _objective(ready: ReadyRows, labels: Labels, centroids: Vectors, sums: Doubles, sizes: NDArray[np.int64]) -> float:
    """Add up squared distances to the own centroid from what is known of each cluster.

    About the mean, Σ|x − c|² is Σ|x|² − 2·c·Σx + size·|c|².
    """
    from domain.clustering.row_sums import add_up_squared_distances

    away = centroids - ready.mean
    about = sums - sizes[:, None] * ready.mean
    objective = ready.scatter + float(np.einsum("kd,kd->", away, sizes[:, None] * away - 2 * about))
    if objective > SMALLEST_SHARE * ready.scatter:
        return objective
    return add_up_squared_distances(ready.rows, labels, centroids)
