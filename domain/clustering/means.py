"""The means of clusters and how far rows lie from them, in float64, in parts that are added up in their order."""

import numpy as np

from domain.clustering.threads import in_parts
from domain.clustering.vectors import Doubles, Labels, Vectors, row_parts


def scales_to_unit(rows: Vectors) -> Doubles:
    """Find what brings each row to length 1: (n_samples,) float64, 0 for a row of zeros."""
    from domain.clustering.distances import measure_rows

    squares = np.empty(len(rows))
    in_parts(lambda part: measure_rows(rows[part], squares[part]), row_parts(len(rows)))
    lengths = np.sqrt(squares)
    scales: Doubles = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return scales


def cluster_means(rows: Vectors, scales: Doubles, ids: Labels, sizes: Doubles) -> Doubles:
    """Average the rows, times their scales, of each cluster: (n_clusters, n_features) float64.

    rows: (n_samples, n_features); scales, ids: (n_samples,); sizes: (n_clusters,), at least 1
    """
    from domain.clustering.distances import add_rows

    def sums(part: slice) -> Doubles:
        added = np.zeros((len(sizes), rows.shape[1]))
        add_rows(rows[part], scales[part], ids[part], added)
        return added

    means: Doubles = sum(in_parts(sums, row_parts(len(rows))), np.zeros(())) / sizes[:, None]
    return means


def distances_to_means(rows: Vectors, scales: Doubles, ids: Labels, means: Doubles) -> tuple[Doubles, Doubles]:
    """Add up the distances of each cluster's rows, times their scales, to its mean, and their squares.

    Returns two of (n_clusters,) float64, by differences.
    """
    from domain.clustering.distances import add_distances_to_means

    def widths(part: slice) -> Doubles:
        added = np.zeros((2, len(means)))
        add_distances_to_means(rows[part], scales[part], ids[part], means, added[0], added[1])
        return added

    distances, squares = sum(in_parts(widths, row_parts(len(rows))), np.zeros(()))
    return distances, squares
