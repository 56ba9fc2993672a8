"""Prediction strength: whether one half of the rows tells how the other half is clustered."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from domain.clustering.clusterings import Clustering, best
from domain.clustering.contingency import contingency_table
from domain.clustering.own_distance import Distance, nearest_clusters
from domain.clustering.vectors import Labels, Vectors, check_vectors
from domain.errors import Rejected

SPLIT_KEY = (0, 0x7073)

Cluster = Callable[[Vectors], list[Clustering]]


class PredictionStrength(NamedTuple):
    """Over the splits: 0 to 1; None where a half has fewer rows than clusters."""

    mean: float | None
    std: float | None  # of the population of splits


def prediction_strength(
    vectors: ArrayLike,
    n_clusters: int,
    cluster: Cluster,
    *,
    splits: int = 5,
    seed: int = 0,
    distance: Distance = "euclidean",
) -> PredictionStrength:
    """Cluster both halves of the rows, and see whether pairs that one puts together are so by the other's clusters.

    vectors: (n_samples, n_features); cluster: clusters any rows into n_clusters; the best of what it returns counts
    splits: how often the rows are halved by chance; each half is predicted by the other, and their mean counts
    distance: by which a row is nearest to one of the other half's clusters
    A half's strength is that of its weakest cluster: the fraction of its pairs that the other half's nearest clusters
    put together. A cluster of one row has no pair that confirms it and counts 0; an empty one doesn't count.
    Raises Rejected for splits below 1. Source: Tibshirani & Walther 2005.
    """
    if splits < 1:
        raise Rejected(f"splits must be at least 1, not {splits}", fields=("splits",))
    rows = check_vectors(vectors)
    if len(rows) // 2 < n_clusters:
        return PredictionStrength(None, None)
    strengths = [_of_split(rows, cluster, seed, split, distance) for split in range(splits)]
    return PredictionStrength(float(np.mean(strengths)), float(np.std(strengths)))


def weakest_cluster(labels: Labels, predicted: Labels) -> float:
    """Find the least fraction, over clusters, of pairs that are together in the prediction too: 0 to 1.

    labels, predicted: (n_rows,) of the same rows
    """
    table = contingency_table(labels, predicted)
    sizes = table.sum(axis=1)
    together = (table * (table - 1)).sum(axis=1)
    return float(np.min(together / np.maximum(sizes * (sizes - 1), 1)))


def _of_split(rows: Vectors, cluster: Cluster, seed: int, split: int, distance: Distance) -> float:
    chance = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(*SPLIT_KEY, split)))
    order = chance.permutation(len(rows))
    half = len(rows) // 2
    halves = [rows[np.sort(order[:half])], rows[np.sort(order[half:])]]
    found = [best(cluster(each)) for each in halves]
    return float(
        np.mean(
            [weakest_cluster(found[at].labels, nearest_clusters(halves[at], found[1 - at], distance)) for at in (0, 1)]
        )
    )
