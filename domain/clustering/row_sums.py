"""Sums over rows and their features, in their order, as machine code."""

from typing import Any

import numpy as np

from domain.clustering.compilation import ROWS, compiled, part_of_kernels, rough_part_of_kernels
from domain.clustering.vectors import Doubles, Labels, Vectors

UNIT_ROUNDOFF = 2.0**-24  # of float32

Index = Any
"""A whole number of any kind."""


@compiled(f"void({ROWS}, float64[::1])")
def average(rows: Vectors, mean: Doubles) -> None:
    """Average the rows, added up in their order; mean: (n_features,)."""
    mean[:] = 0.0
    for row in range(len(rows)):
        for feature in range(rows.shape[1]):
            mean[feature] += np.float64(rows[row, feature])
    for feature in range(len(mean)):
        mean[feature] /= len(rows)


@compiled(f"float64({ROWS}, float64[::1])")
def scatter_about(rows: Vectors, mean: Doubles) -> float:
    """Add up the squared distances of the rows from their mean, feature by feature in the order of the rows."""
    squares = np.zeros(rows.shape[1])
    for row in range(len(rows)):
        for feature in range(rows.shape[1]):
            away = np.float64(rows[row, feature]) - mean[feature]
            squares[feature] += away * away
    total = 0.0
    for feature in range(rows.shape[1]):
        total += squares[feature]
    return total


@rough_part_of_kernels
def dot(rows: Vectors, row: Index, others: Vectors, other: Index) -> np.float32:
    """Multiply a row with another; the product may be rounded in any order, and serves as an estimate alone."""
    product = np.float32(0.0)
    for feature in range(rows.shape[1]):
        product += rows[row, feature] * others[other, feature]
    return product


@compiled(f"void({ROWS}, float32[::1])")
def measure_lengths(near: Vectors, lengths: Vectors) -> None:
    """Bound the length of each row from above, (n_samples,), also where squares are too small for float32."""
    n_features = near.shape[1]
    for row in range(len(near)):
        length = np.sqrt(np.float64(dot(near, row, near, row)))
        lengths[row] = np.float32(length * (1.0 + UNIT_ROUNDOFF * (n_features + 8)) + n_features * 1e-22)


@part_of_kernels
def squared_distance(rows: Vectors, row: Index, centroids: Vectors, cluster: Index) -> float:
    """Add up the squared differences of a row and a centroid, in float64."""
    total = 0.0
    for feature in range(rows.shape[1]):
        difference = np.float64(rows[row, feature]) - np.float64(centroids[cluster, feature])
        total += difference * difference
    return total


@compiled(f"float64({ROWS}, int32[::1], {ROWS})")
def add_up_squared_distances(rows: Vectors, labels: Labels, centroids: Vectors) -> float:
    """Add up the squared distances of rows to their own centroids, by differences, in the order of the rows."""
    total = 0.0
    for row in range(len(rows)):
        total += squared_distance(rows, row, centroids, labels[row])
    return total
