"""The directions in which rows reach farthest, by covariance and a symmetric eigenproblem."""

from itertools import combinations_with_replacement

import numpy as np

from domain.clustering.threads import in_parts, one_blas_thread
from domain.clustering.vectors import Doubles, Vectors, row_slices

# Beneath this part of the largest eigenvalue, a direction is rounding noise.
SMALLEST_RELATIVE_EIGENVALUE = 1e-12

COLUMNS_PER_BLOCK = 256


def leading_directions(rows: Vectors, mean: Doubles, rank: int) -> tuple[Doubles, Doubles]:
    """Find the orthonormal directions that carry most of the sum of squares of rows − mean.

    rows: (n_samples, n_features) float32; mean: (n_features,) float64; rank: at most n_features
    Returns the sums of squares along each direction, (rank,) float64, falling, and the directions, (rank, n_features)
    float64, each with its entry of largest magnitude positive. Where the rows have fewer directions than rank, the
    rest are zeros. Works on the smaller of rows·rowsᵀ and rowsᵀ·rows, in float64.
    The same bits for any number of threads.
    """
    n_samples, n_features = rows.shape
    values, directions = np.zeros(rank), np.zeros((rank, n_features))
    with one_blas_thread():
        if n_samples < n_features:
            centred = rows - mean
            found, weights = _largest(centred @ centred.T, min(rank, n_samples))
            kept = _count_real(found)
            vectors = _orthonormal(weights.T[:kept] @ centred)
        else:
            found, weights = _largest(_scatter(rows, mean), rank)
            kept = _count_real(found)
            vectors = weights.T[:kept]
    values[:kept] = found[:kept]
    directions[:kept] = _with_fixed_signs(vectors)
    return values, directions


def complete(directions: Doubles, kept: int) -> Doubles:
    """Replace the zero rows after the first `kept` by any orthonormal ones; always the same for the same input.

    directions: (rank, n_features) with rank at most n_features
    """
    from scipy.linalg import qr

    if kept == len(directions):
        return directions
    candidates = np.vstack([directions[:kept], np.eye(directions.shape[1])])
    orthonormal = qr(candidates.T, mode="economic")[0].T[: len(directions)]
    return np.vstack([directions[:kept], _with_fixed_signs(orthonormal[kept:])])


def _count_real(values: Doubles) -> int:
    return int(np.count_nonzero(values > SMALLEST_RELATIVE_EIGENVALUE * values[0])) if values[0] > 0 else 0


def _scatter(rows: Vectors, mean: Doubles) -> Doubles:
    """Sum centredᵀ·centred slice by slice; blocks of columns by pairs, each pair by whichever thread is free."""
    n_features = rows.shape[1]
    total = np.zeros((n_features, n_features))
    columns = list(row_slices(n_features, COLUMNS_PER_BLOCK))
    pairs = list(combinations_with_replacement(columns, 2))
    for part in row_slices(len(rows)):
        centred = rows[part] - mean

        def add(pair: tuple[slice, slice], centred: Doubles = centred) -> None:
            first, second = pair
            total[first, second] += centred[:, first].T @ centred[:, second]

        in_parts(add, pairs)
    for first, second in pairs:
        total[second, first] = total[first, second].T
    return total


def _largest(symmetric: Doubles, count: int) -> tuple[Doubles, Doubles]:
    from scipy.linalg import eigh

    size = len(symmetric)
    values, vectors = eigh(symmetric, subset_by_index=(size - count, size - 1), check_finite=False)
    return values[::-1], vectors[:, ::-1]


def _orthonormal(vectors: Doubles) -> Doubles:
    """Mend what the smaller eigenproblem lost of orthogonality, without turning any direction."""
    from scipy.linalg import qr

    if not len(vectors):
        return vectors
    orthonormal: Doubles = qr(vectors.T, mode="economic", check_finite=False)[0].T
    return orthonormal


def _with_fixed_signs(directions: Doubles) -> Doubles:
    """Turn each row so that its entry of largest magnitude is positive; ties go to the first such entry."""
    if not len(directions):
        return directions
    largest = directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)]
    turned: Doubles = directions * np.where(largest < 0, -1.0, 1.0)[:, None]
    return turned
