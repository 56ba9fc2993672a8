"""The gap statistic: how much tighter clusters are than those of rows that have none."""

from collections.abc import Callable
from math import log
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from domain.clustering.clusterings import Clustering, best
from domain.clustering.own_distance import Distance, own_distances
from domain.clustering.projection import pca
from domain.clustering.vectors import Vectors, check_vectors, row_slices
from domain.errors import Rejected

# Away from the streams of restarts, whose key is (n_clusters, restart).
REFERENCE_KEY = (0, 0x676170)

Cluster = Callable[[Vectors], list[Clustering]]


class Gap(NamedTuple):
    """How far log(W) of the data lies below its mean over references; None where W is 0, which has no logarithm."""

    gap: float | None
    s: float | None  # standard deviation over references · √(1 + 1 / references): the error of a gap
    log_w: float | None  # of the data
    log_w_expected: float | None  # mean over references


def gap_statistic(
    vectors: ArrayLike,
    clustering: Clustering,
    cluster: Cluster,
    *,
    references: int = 10,
    seed: int = 0,
    distance: Distance = "euclidean",
) -> Gap:
    """Compare the within-cluster dispersion W of a clustering with that of references clustered alike.

    vectors: (n_samples, n_features), those of the clustering
    cluster: clusters rows of the same shape into as many clusters; the best of what it returns counts
    references: drawn uniformly from the box around the data along their principal axes, each from a seed of its own,
        which doesn't depend on how many there are nor on the number of clusters
    distance: W is the sum of the distances to the own cluster that the method goes by
    Raises Rejected for references below 1.
    Source: Tibshirani, Walther & Hastie 2001, with its second kind of reference.
    """
    if references < 1:
        raise Rejected(f"references must be at least 1, not {references}", fields=("references",))
    rows = check_vectors(vectors)
    box = ReferenceBox(rows)
    expected = [
        _log_w(reference, best(cluster(reference)), distance)
        for reference in (box.draw(seed, number) for number in range(references))
    ]
    own = _log_w(rows, clustering, distance)
    known = [each for each in expected if each is not None]
    if own is None or len(known) < references:
        return Gap(None, None, own, None)
    mean = float(np.mean(known))
    return Gap(mean - own, float(np.std(known)) * float(np.sqrt(1 + 1 / references)), own, mean)


class ReferenceBox:
    """The box around rows, (n_samples, n_features), along their principal axes."""

    def __init__(self, rows: Vectors) -> None:
        self._n_samples = len(rows)
        found = pca(rows, min(rows.shape))
        self._axes, self._mean = found.components, found.mean
        self._low, self._high = found.projected.min(axis=0), found.projected.max(axis=0)

    def draw(self, seed: int, number: int) -> Vectors:
        """Draw as many rows as there were, uniformly: (n_samples, n_features) float32, always the same for a number."""
        chance = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(*REFERENCE_KEY, number)))
        drawn = np.empty((self._n_samples, self._axes.shape[1]), dtype=np.float32)
        for part in row_slices(self._n_samples):
            places = chance.uniform(self._low, self._high, (part.stop - part.start, len(self._low)))
            drawn[part] = self._mean + places @ self._axes
        return drawn


def _log_w(rows: Vectors, clustering: Clustering, distance: Distance) -> float | None:
    dispersion = float(own_distances(rows, clustering, distance).sum())
    return log(dispersion) if dispersion > 0 else None
