"""How much labelings agree: with each other (stability) and with known classes."""

from collections.abc import Sequence
from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from domain.clustering.clusterings import Clustering
from domain.clustering.contingency import (
    CELLS_PER_SAMPLE,
    SMALL_TABLE,
    Meetings,
    contingency_table,
    meetings,
    numbered,
)
from domain.clustering.vectors import check_labels
from domain.errors import Rejected


class Stability(NamedTuple):
    """Agreement of restarts: adjusted Rand indices of all pairs; None with fewer than two restarts."""

    ari_mean: float | None
    ari_std: float | None  # of the population of pairs, not of a sample


class Agreement(NamedTuple):
    """What the functions of the same names tell of labels and classes, and clustering_accuracy."""

    accuracy: float
    adjusted_rand_index: float
    normalized_mutual_information: float
    homogeneity: float
    completeness: float
    v_measure: float


def stability(clusterings: Sequence[Clustering]) -> Stability:
    """Say how alike the restarts of one method and K label the same samples."""
    return pairwise_ari([clustering.labels for clustering in clusterings])


def pairwise_ari(labelings: Sequence[ArrayLike]) -> Stability:
    """Average the adjusted Rand index over all pairs of labelings of the same samples.

    labelings: each (n_samples,) of any sortable type. Raises Rejected if the lengths differ or are 0.
    """
    if len(labelings) < 2:
        return Stability(None, None)
    indices = _all_pairs(labelings)
    return Stability(float(np.mean(indices)), float(np.std(indices)))


def _all_pairs(labelings: Sequence[ArrayLike]) -> list[float]:
    from domain.clustering.counting import count_pairs_together

    n_samples = len(check_labels(labelings[0]))
    counted = [numbered(check_labels(labels, n_samples)) for labels in labelings]
    n_labels = np.array([labels.span for labels in counted])
    cells = int(n_labels.max()) ** 2
    if cells > max(SMALL_TABLE, CELLS_PER_SAMPLE * n_samples):
        return [adjusted_rand_index(first, second) for first, second in combinations(labelings, 2)]
    together = np.zeros((len(labelings), len(labelings)), dtype=np.int64)
    table = np.empty(cells, dtype=np.int64)
    from_zero = np.stack([labels.ids - labels.lowest for labels in counted]).astype(np.int32)
    count_pairs_together(from_zero, n_labels, table, together)
    total = comb(n_samples, 2)
    return [
        _adjusted(int(together[j, i]), int(together[i, i]), int(together[j, j]), total)
        for i, j in combinations(range(len(labelings)), 2)
    ]


def adjusted_rand_index(first: ArrayLike, second: ArrayLike) -> float:
    """Measure how many pairs of samples two labelings treat alike, corrected for chance.

    first, second: (n_samples,) labels of any sortable type
    Returns 1 for equal partitions, about 0 for unrelated ones, at least −0.5. Pairs are counted in whole numbers.
    Raises Rejected if the lengths differ or are 0.
    Source: Hubert & Arabie 1985, as in scikit-learn.
    """
    return _rand_index(meetings(first, second))


def _rand_index(met: Meetings) -> float:
    return _adjusted(_pairs(met.cells), _pairs(met.first), _pairs(met.second), comb(int(met.first.sum()), 2))


def _adjusted(together: int, in_first: int, in_second: int, total: int) -> float:
    """Correct for chance the pairs of samples that two labelings put together; the same for both puts out 1."""
    if together == in_first == in_second:
        return 1.0
    only_first, only_second = in_first - together, in_second - together
    apart = total - together - only_first - only_second
    return (
        2.0
        * (together * apart - only_first * only_second)
        / ((together + only_first) * (only_first + apart) + (together + only_second) * (only_second + apart))
    )


def normalized_mutual_information(first: ArrayLike, second: ArrayLike) -> float:
    """Measure the information two labelings share, over the arithmetic mean of their entropies.

    first, second: (n_samples,) labels of any sortable type
    Returns 0 to 1; 1 if both have a single cluster. Raises Rejected if the lengths differ or are 0.
    """
    return _information(meetings(first, second)).over_mean


def homogeneity(labels: ArrayLike, classes: ArrayLike) -> float:
    """Measure how far each cluster holds samples of one class alone: what labels tell of the classes' entropy.

    labels, classes: (n_samples,) of any sortable type, in this order; scikit-learn takes the classes first
    Returns 0 to 1; 1 if there is only one class. Raises Rejected if the lengths differ or are 0.
    Source: Rosenberg & Hirschberg 2007, as completeness and v_measure.
    """
    return _information(meetings(classes, labels)).homogeneity


def completeness(labels: ArrayLike, classes: ArrayLike) -> float:
    """Measure how far each class lies in one cluster alone: what classes tell of the labels' entropy.

    As homogeneity otherwise, with the two changed about; 1 if there is only one cluster.
    """
    return _information(meetings(classes, labels)).completeness


def v_measure(labels: ArrayLike, classes: ArrayLike, beta: float = 1.0) -> float:
    """Take the harmonic mean of homogeneity and completeness; beta above 1 gives completeness more weight.

    As homogeneity otherwise; beta: at least 0. Returns 0 where both are 0. With beta 1 it is the normalized mutual
    information, in which labels and classes may change places.
    """
    if not 0 <= beta < np.inf:
        raise Rejected(f"beta must be a number of at least 0, not {beta}", fields=("beta",))
    return _information(meetings(classes, labels)).mean(beta)


def agreement(labels: ArrayLike, classes: ArrayLike) -> Agreement:
    """Find at once what labels and known classes have in common; see the functions of the same names.

    labels: (n_samples,) from 0, −1 for noise; classes: (n_samples,) of any sortable type
    Noise counts as wrong for the accuracy, and is one more cluster for the others. Raises Rejected as each of them.
    """
    found = check_labels(labels)
    known = check_labels(classes, len(found))
    met = meetings(known, found)
    shared, clustered = _information(met), found >= 0
    accuracy = 0.0
    if clustered.any():
        right = clustering_accuracy(found[clustered], known[clustered]) * np.count_nonzero(clustered)
        accuracy = float(right / len(found))
    return Agreement(
        accuracy, _rand_index(met), shared.over_mean, shared.homogeneity, shared.completeness, shared.mean(1.0)
    )


def clustering_accuracy(labels: ArrayLike, classes: ArrayLike) -> float:
    """Find the fraction of samples in their class when clusters are matched to classes one to one, at best.

    labels, classes: (n_samples,) of any sortable type; unmatched clusters count as wrong
    Raises Rejected if the lengths differ or are 0. Source: Kuhn 1955, by scipy's linear_sum_assignment.
    """
    from scipy.optimize import linear_sum_assignment

    table = contingency_table(labels, classes)
    clusters, matched = linear_sum_assignment(table, maximize=True)
    return float(table[clusters, matched].sum() / table.sum())


class _Information(NamedTuple):
    """What two labelings share of their entropy, as fractions."""

    over_mean: float  # of the mean of both
    homogeneity: float  # of the first's, the classes'
    completeness: float  # of the second's, the labels'

    def mean(self, beta: float) -> float:
        weighted = beta * self.homogeneity + self.completeness
        return (1 + beta) * self.homogeneity * self.completeness / weighted if weighted > 0 else 0.0


def _information(met: Meetings) -> _Information:
    of_classes, of_labels = _entropy(met.first), _entropy(met.second)
    both = of_classes + of_labels
    shared = both - _entropy(met.cells)

    def part(of: float) -> float:
        # Rounding can lead a little below 0 or above 1.
        return min(max(shared / of, 0.0), 1.0) if of > 0 else 1.0

    return _Information(over_mean=part(both / 2), homogeneity=part(of_classes), completeness=part(of_labels))


def _pairs(counts: NDArray[np.int64]) -> int:
    # Python's whole numbers: their products below pass 64 bits from some 60,000 samples on.
    return int((counts * (counts - 1)).sum()) // 2


def _entropy(counts: NDArray[np.int64]) -> float:
    from scipy.special import xlogy

    fractions = counts / counts.sum()
    return float(-xlogy(fractions, fractions).sum())
