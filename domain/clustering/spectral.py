"""Spectral clustering: k-means on the coordinates that the graph of nearest neighbours gives each row."""

from typing import Any

import numpy as np
from msgspec import structs
from numpy.typing import ArrayLike

from domain.clustering.clusterings import Clustering, check_fit, cluster_means
from domain.clustering.kmeans import k_means
from domain.clustering.vectors import Doubles, Vectors, check_vectors, unit_rows

SMALL_PART = 200  # rows: Lanczos's iterations gain nothing beneath


def spectral(
    vectors: ArrayLike,
    n_clusters: int,
    *,
    neighbours: int = 10,
    restarts: int = 10,
    max_iterations: int = 200,
    seed: int = 0,
) -> list[Clustering]:
    """Cut the graph of nearest neighbours into n_clusters parts; one result a restart of k-means on its coordinates.

    vectors: (n_samples, n_features), at least n_clusters samples
    neighbours: each row is joined to so many nearest ones, clipped to those there are; the graph is made symmetric
    The objective is that of k-means on the coordinates, rows of length 1; centroids are the means of the rows
    themselves. The graph is sparse: nothing of n × n is held. Raises Rejected as k_means does.
    Source: Ng, Jordan & Weiss 2001.
    """
    rows = check_vectors(vectors)
    check_fit(len(rows), n_clusters, restarts, max_iterations, seed)
    coordinates = unit_rows(_coordinates(_graph(rows, neighbours), n_clusters, seed))
    found = k_means(coordinates, n_clusters, restarts=restarts, max_iterations=max_iterations, seed=seed)
    return [
        structs.replace(each, centroids=cluster_means(rows, each.labels, n_clusters)[0], bases=None) for each in found
    ]


def _graph(rows: Vectors, neighbours: int) -> Any:
    """Join each row to its nearest ones and to itself: (n_samples, n_samples) sparse, symmetric, 0 to 1."""
    from sklearn.neighbors import kneighbors_graph

    joined = kneighbors_graph(rows, min(neighbours + 1, len(rows)), include_self=True)
    return 0.5 * (joined + joined.T)


def _coordinates(graph: Any, n_clusters: int, seed: int) -> Doubles:
    """Find the leading eigenvectors of D^-1/2 A D^-1/2: (n_samples, n_clusters) float64.

    Each connected part has an eigenvalue of 1, and Lanczos's iterations from one start find one of equal ones: so the
    parts are solved one by one, the largest first, and the leading vectors of all are taken.
    """
    from scipy.sparse import diags_array
    from scipy.sparse.csgraph import connected_components

    scale = diags_array(1.0 / np.sqrt(np.asarray(graph.sum(axis=1)).ravel()))
    normal = (scale @ graph @ scale).tocsr()
    _, parts = connected_components(normal, directed=False)
    largest_first = np.argsort(-np.bincount(parts), kind="stable")[:n_clusters]
    values: list[float] = []
    vectors: list[Doubles] = []
    for part in largest_first:
        members = np.flatnonzero(parts == part)
        found, directions = _leading(normal[members][:, members], min(n_clusters, len(members)), seed)
        for value, direction in zip([1.0, *found[1:]], directions.T, strict=True):
            values.append(float(value))
            vectors.append(np.zeros(len(parts)))
            vectors[-1][members] = direction
    order = sorted(range(len(values)), key=lambda place: -values[place])[:n_clusters]
    return np.stack([vectors[place] for place in order], axis=1)


def _leading(connected: Any, count: int, seed: int) -> tuple[Doubles, Doubles]:
    """The largest eigenvalues, falling, and their vectors as columns, of a connected part."""
    from scipy.linalg import eigh
    from scipy.sparse.linalg import eigsh

    size = connected.shape[0]
    if size <= max(SMALL_PART, 2 * count + 1):
        values, vectors = eigh(connected.toarray(), subset_by_index=(size - count, size - 1))
    else:
        start = np.random.default_rng(np.random.SeedSequence(seed)).uniform(-1, 1, size)
        values, vectors = eigsh(connected, k=count, which="LA", v0=start, ncv=min(size - 1, max(2 * count + 1, 40)))
    falling = np.argsort(-values)
    return values[falling], vectors[:, falling]
