"""k-LLMmeans: k-means whose centroids become, once a round, the vectors of what summaries say of the clusters.

A round samples a few texts of each cluster, has them summarised, puts the summaries' vectors in the centroids' places
and goes on with k-means from there. Here are its pure parts; who summarises and embeds is no matter of theirs.
Source: Diaz-Rodriguez 2025 (k-LLMmeans). Specified by tests/domain/clustering/naive.py.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray

from domain.clustering.assignment import (
    NearestCentroid,
    cluster_sums,
    fill_empty_clusters,
    squared_distances_to_own,
)
from domain.clustering.clusterings import Clustering
from domain.clustering.methods import LlmMeansParameters
from domain.clustering.step import Prepared, placed
from domain.clustering.vectors import (
    Labels,
    Vectors,
    check_centroids,
    check_cluster_ids,
    check_vectors,
    unit_rows,
)
from domain.errors import Rejected
from domain.sweeps import SweepConfig

# Beneath this mean length, unit rows cancel each other out and their mean has no direction.
SHORTEST_MEAN_DIRECTION = 1e-7


class Drawn(Struct, frozen=True, eq=False):
    """What the summaries of a round are made of."""

    samples: list[NDArray[np.intp]]  # a cluster's rows, the one nearest to its centroid first
    medoids: list[int | None]  # the row of each sample nearest to the sample's mean


def parameters_of(config: SweepConfig) -> LlmMeansParameters:
    """The method's parameters, checked before."""
    return msgspec.convert(config.parameters, LlmMeansParameters)


def draw(prepared: Prepared, labels: Labels, centroids: Vectors, config: SweepConfig, round_number: int) -> Drawn:
    """Draw the texts that a round's summaries are made of."""
    parameters = parameters_of(config)
    rows = unit_rows(prepared.vectors) if parameters.spherical else prepared.vectors
    samples = sample_members(rows, labels, centroids, parameters.sample, seed=config.seed, round_number=round_number)
    return Drawn(samples, medoids(rows, samples))


def go_on_from_rows(
    prepared: Prepared, centroids: Vectors, clusters: list[int], rows: list[int], config: SweepConfig
) -> Clustering:
    """Put rows in the places of the centroids of `clusters`, and go on with k-means."""
    return _go_on(prepared, centroids, clusters, prepared.vectors[rows], config)


def go_on_from_summaries(
    prepared: Prepared, centroids: Vectors, clusters: list[int], vectors: Vectors, config: SweepConfig
) -> Clustering:
    """Put the summaries' vectors, (len(clusters), n_features), in the places of centroids, and go on with k-means."""
    found = placed(prepared, vectors, config) if clusters else prepared.vectors[:0]
    return _go_on(prepared, centroids, clusters, found, config)


def _go_on(
    prepared: Prepared, centroids: Vectors, clusters: list[int], replacements: Vectors, config: SweepConfig
) -> Clustering:
    parameters = parameters_of(config)
    return run_round(
        prepared.vectors, centroids, clusters, replacements, parameters.iterations, spherical=parameters.spherical
    )


def sample_members(
    vectors: ArrayLike, labels: ArrayLike, centroids: ArrayLike, most: int, *, seed: int, round_number: int
) -> list[NDArray[np.intp]]:
    """Draw at most `most` rows of each cluster that are unlike each other, as k-means++ draws its seeds.

    The first is the row nearest to the centroid (ties: the lowest index), so that it may stand for the cluster; each
    further one is drawn with chances proportional to the squared distance to the nearest drawn one. Rows that equal a
    drawn one are left out, since they say nothing new.
    seed, round_number: with K and the cluster they decide what is drawn, whatever happens to other clusters
    Returns for each cluster its row indices in the order in which they were drawn; none for an empty cluster.
    """
    if most < 1:
        raise Rejected(f"A summary needs at least 1 text, not {most}", fields=("sample",))
    rows = check_vectors(vectors)
    centres = check_centroids(centroids, rows.shape[1])
    own = check_cluster_ids(labels, len(rows), len(centres))
    distances = squared_distances_to_own(rows, own, centres)
    drawn = []
    for cluster in range(len(centres)):
        members = np.flatnonzero(own == cluster)
        chance = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(len(centres), round_number, cluster)))
        drawn.append(members if not len(members) else _unlike(rows, members, distances[members], most, chance))
    return drawn


def _unlike(
    rows: Vectors, members: NDArray[np.intp], distances: NDArray[np.float64], most: int, chance: "np.random.Generator"
) -> NDArray[np.intp]:
    chosen = [int(distances.argmin())]
    own = rows[members].astype(np.float64)
    nearest = np.square(own - own[chosen[0]]).sum(axis=1)
    while len(chosen) < most and nearest.any():
        cumulated = np.cumsum(nearest)
        at = int(np.searchsorted(cumulated, chance.random() * cumulated[-1], side="right"))
        chosen.append(min(at, int(np.flatnonzero(nearest)[-1])))
        nearest = np.minimum(nearest, np.square(own - own[chosen[-1]]).sum(axis=1))
    return members[chosen]


def medoids(vectors: ArrayLike, samples: Sequence[NDArray[np.intp]]) -> list[int | None]:
    """Find in each sample the row nearest to the sample's mean (ties: the first); None in an empty one.

    Of unit rows it is the one with the highest mean cosine to all: the extractive summary of the texts.
    """
    rows = check_vectors(vectors)
    found: list[int | None] = []
    for sample in samples:
        if not len(sample):
            found.append(None)
            continue
        own = rows[sample].astype(np.float64)
        found.append(int(sample[np.square(own - own.mean(axis=0)).sum(axis=1).argmin()]))
    return found


def run_round(
    vectors: ArrayLike,
    centroids: ArrayLike,
    clusters: Sequence[int],
    replacements: Vectors,
    iterations: int,
    *,
    spherical: bool = False,
) -> Clustering:
    """Put other vectors in some centroids' places, and go on with k-means from there.

    centroids: (n_clusters, n_features), of which those of `clusters` are replaced by the rows of `replacements`,
    (len(clusters), n_features). A cluster that isn't named keeps its centroid.
    iterations: at most; fewer when an assignment changes nothing
    spherical: rows, centroids and replacements are scaled to unit length
    An empty cluster takes the row farthest from its own centroid. Raises Rejected as check_vectors does.
    """
    rows = unit_rows(vectors) if spherical else check_vectors(vectors)
    start = check_centroids(centroids, rows.shape[1]).copy()
    if len(clusters):
        given = check_centroids(replacements, rows.shape[1])
        start[list(clusters)] = unit_rows(given) if spherical else given
    return _lloyd(rows, start, iterations, spherical=spherical)


def _lloyd(rows: Vectors, centroids: Vectors, iterations: int, *, spherical: bool) -> Clustering:
    nearest, k = NearestCentroid(rows), len(centroids)
    labels = np.full(len(rows), -1, dtype=np.int32)
    done, converged = 0, False
    while not converged and done < iterations:
        assigned = nearest.assign(centroids)
        if not np.bincount(assigned, minlength=k).all():
            assigned = fill_empty_clusters(assigned, squared_distances_to_own(rows, assigned, centroids), k)
        done += 1
        converged = np.array_equal(assigned, labels)
        if not converged:
            labels, centroids = assigned, _moved(rows, assigned, centroids, spherical=spherical)
    if not converged:
        labels = nearest.assign(centroids)  # the centroids have moved since
    objective = float(squared_distances_to_own(rows, labels, centroids).sum())
    return Clustering(labels, centroids, objective, done, converged, k - len(np.unique(labels)))


def _moved(rows: Vectors, labels: Labels, centroids: Vectors, *, spherical: bool) -> Vectors:
    """The mean of each cluster's rows, or its direction; where there is none, the centroid that was there."""
    sizes = np.bincount(labels, minlength=len(centroids))
    sums = cluster_sums(rows, labels, len(centroids))
    scale = np.sqrt(np.einsum("ij,ij->i", sums, sums)) if spherical else sizes.astype(np.float64)
    known = scale > (SHORTEST_MEAN_DIRECTION * sizes if spherical else 0)
    means = sums / np.where(known, scale, 1.0)[:, None]
    moved: Vectors = np.where(known[:, None], means, centroids).astype(np.float32)
    return moved
