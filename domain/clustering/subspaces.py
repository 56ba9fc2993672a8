"""K-subspaces: each cluster is a linear subspace through the origin, each row goes where it loses least."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from domain.clustering.assignment import SMALLEST_NORMAL, UNIT_ROUNDOFF, fill_empty_clusters
from domain.clustering.clusterings import Clustering, check_fit, restart_generator
from domain.clustering.directions import check_found, leading_directions
from domain.clustering.kmeans import k_means
from domain.clustering.means import cluster_means
from domain.clustering.threads import in_parts
from domain.clustering.vectors import Doubles, Labels, Vectors, check_vectors, row_slices, squared_lengths
from domain.errors import Rejected

Start = Literal["k-means", "random"]

# Two subspaces that keep the same part of a row, but for this, tie; less of a row left over than this is nothing.
RELATIVE_TIE = 1e-12

FEW_FEATURES = 128
CLUSTERS_PER_PART = 4  # fitted without a word to the interpreter


def k_subspaces(
    vectors: ArrayLike,
    n_clusters: int,
    rank: int = 2,
    *,
    start: Start = "k-means",
    restarts: int = 10,
    max_iterations: int = 200,
    seed: int = 0,
) -> list[Clustering]:
    """Cluster by nearest subspace of `rank` dimensions; one result a restart.

    vectors: (n_samples, n_features), at least n_clusters samples; rank: 1 to n_features
    start: from the labels of the same restart of k_means, or from random groups of equal size

    A cluster whose rows span fewer dimensions than rank has zero rows in its basis. The objective is the sum of squared
    distances to the own subspace; `centroids` are the means of the rows. An empty cluster takes the row farthest from
    its own subspace, or keeps the basis it had. Ties go to the lowest index.
    Raises Rejected as k_means does, for a rank out of range and for an unknown start.
    Source: Bradley & Mangasarian 2000; Tseng 2000. Specified by tests/domain/clustering/naive.py.
    """
    rows = check_vectors(vectors)
    check_fit(len(rows), n_clusters, restarts, max_iterations, seed)
    if not 1 <= rank <= rows.shape[1]:
        raise Rejected(f"rank must be 1 to {rows.shape[1]}, the number of features, not {rank}", fields=("rank",))
    nearest = NearestSubspace(rows)
    starts = _first_labels(rows, n_clusters, start, restarts, max_iterations, seed)
    return in_parts(lambda labels: _alternate(nearest, labels, n_clusters, rank, max_iterations), starts)


class NearestSubspace:
    """Rows made ready to be assigned to subspaces again and again.

    rows: (n_samples, n_features) float32
    """

    def __init__(self, rows: Vectors) -> None:
        self.rows = rows
        self._squares = squared_lengths(rows)

    def assign(self, bases: Doubles) -> Labels:
        """Label each row with the subspace that keeps most of it; ties go to the lowest index.

        bases: (n_clusters, rank, n_features) float64, rows orthonormal or zero
        Returns (n_samples,) int32. A float32 matrix product decides where it can, float64 where it can't.
        """
        from domain.clustering.nearest_subspaces import find_best

        _, rank, n_features = bases.shape
        directions = bases.reshape(-1, n_features).astype(np.float32)
        margins = self._margins(rank)
        labels = np.empty(len(self.rows), dtype=np.int32)

        def label(part: slice) -> None:
            unsure = np.empty(part.stop - part.start, dtype=np.bool_)
            with np.errstate(over="ignore", invalid="ignore"):
                products = directions @ self.rows[part].T
            find_best(products, rank, margins[part], labels[part], unsure)
            undecided = part.start + np.flatnonzero(unsure)
            if len(undecided):
                labels[undecided] = self._decide(undecided, bases)

        in_parts(label, row_slices(len(self.rows)))
        return labels

    def distances_to_own(self, labels: Labels, bases: Doubles) -> Doubles:
        """Measure the square of what each row's own subspace leaves of it: (n_samples,) float64, noise as 0."""
        distances = np.empty(len(self.rows))
        for cluster, basis in enumerate(bases):
            members = np.flatnonzero(labels == cluster)
            along = np.einsum("nd,rd->nr", self.rows[members].astype(np.float64), basis)
            distances[members] = self._squares[members] - np.einsum("nr,nr->n", along, along)
        distances[distances <= RELATIVE_TIE * self._squares] = 0.0
        return distances

    def _decide(self, undecided: NDArray[np.intp], bases: Doubles) -> Labels:
        labels = np.empty(len(undecided), dtype=np.int32)
        for part in row_slices(len(undecided)):
            chosen = undecided[part]
            along = np.einsum("nd,krd->nkr", self.rows[chosen].astype(np.float64), bases)
            kept = np.einsum("nkr,nkr->nk", along, along)
            best = kept.max(axis=1) - RELATIVE_TIE * self._squares[chosen]
            labels[part] = (kept >= best[:, None]).argmax(axis=1)
        return labels

    def _margins(self, rank: int) -> Vectors:
        """Bound twice the error of a kept square: each of `rank` products errs by n_features roundings."""
        n_features = self.rows.shape[1]
        error = UNIT_ROUNDOFF * (2 * (n_features + 10) * np.sqrt(rank) + rank + 8) * self._squares
        margins: Vectors = (2 * (error + rank * n_features * SMALLEST_NORMAL)).astype(np.float32)
        return margins


def _first_labels(
    rows: Vectors, n_clusters: int, start: Start, restarts: int, max_iterations: int, seed: int
) -> list[Labels]:
    if start == "k-means":
        found = k_means(rows, n_clusters, restarts=restarts, max_iterations=max_iterations, seed=seed)
        return [clustering.labels for clustering in found]
    if start == "random":
        groups = np.arange(len(rows), dtype=np.int32) % n_clusters
        return [restart_generator(seed, n_clusters, restart).permutation(groups) for restart in range(restarts)]
    raise Rejected(f"start must be k-means or random, not {start!r}", fields=("start",))


def _alternate(nearest: NearestSubspace, labels: Labels, n_clusters: int, rank: int, max_iterations: int) -> Clustering:
    """Fit subspaces to labels and labels to subspaces until nothing changes."""
    rows = nearest.rows
    bases = _fit(rows, labels, np.arange(n_clusters), np.zeros((n_clusters, rank, rows.shape[1])))
    iterations, converged = 0, False
    while not converged and iterations < max_iterations:
        assigned = nearest.assign(bases)
        if not np.bincount(assigned, minlength=n_clusters).all():
            assigned = fill_empty_clusters(assigned, nearest.distances_to_own(assigned, bases), n_clusters)
        iterations += 1
        moved = np.flatnonzero(assigned != labels)
        converged = not len(moved)
        if not converged:
            # A cluster that no row came to or left has the basis it had, to the last bit.
            changed = np.union1d(labels[moved], assigned[moved]).astype(np.int64)
            labels, bases = assigned, _fit(rows, assigned, changed, bases)
    if not converged:
        # The subspaces have moved since: labels must be those of the bases that are returned.
        labels = nearest.assign(bases)
    sizes = np.bincount(labels, minlength=n_clusters)
    means = cluster_means(rows, np.ones(len(rows)), labels, np.maximum(sizes, 1))
    objective = float(nearest.distances_to_own(labels, bases).sum())
    return Clustering(
        labels, means.astype(np.float32), objective, iterations, converged, int((sizes == 0).sum()), bases
    )


def _fit(rows: Vectors, labels: Labels, clusters: NDArray[np.integer], bases: Doubles) -> Doubles:
    """Turn the subspaces of these clusters to their rows' leading directions about the origin; an empty one's stays."""
    from domain.clustering.eigenvectors import dsyevr, fit_subspaces

    fitted, origin = bases.copy(), np.zeros(rows.shape[1])
    _, rank, n_features = bases.shape
    members = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[members], np.arange(len(bases) + 1))
    # A few rows of many features are fitted by their products with each other, which leading_directions does.
    few = (np.diff(starts)[clusters] < n_features) & (n_features > FEW_FEATURES)

    def turn(part: NDArray[np.integer]) -> None:
        check_found(fit_subspaces(dsyevr(), rows, members, starts, part, fitted))

    def turn_few(cluster: int) -> None:
        own = members[starts[cluster] : starts[cluster + 1]]
        if len(own):
            fitted[cluster] = leading_directions(rows[own], origin, rank).directions

    in_parts(turn, [clusters[~few][part] for part in row_slices(int(np.count_nonzero(~few)), CLUSTERS_PER_PART)])
    in_parts(turn_few, clusters[few].tolist())
    return fitted
