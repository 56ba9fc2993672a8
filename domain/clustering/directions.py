"""The directions in which rows reach farthest, by covariance and a symmetric eigenproblem."""

import numpy as np

from domain.clustering.vectors import Doubles, Vectors, row_slices

# Beneath this part of the largest eigenvalue, a direction is rounding noise.
SMALLEST_RELATIVE_EIGENVALUE = 1e-12


def leading_directions(rows: Vectors, mean: Doubles, rank: int) -> tuple[Doubles, Doubles]:
    """Find the orthonormal directions that carry most of the sum of squares of rows − mean.

    rows: (n_samples, n_features) float32; mean: (n_features,) float64; rank: at most n_features
    Returns the sums of squares along each direction, (rank,) float64, falling, and the directions, (rank, n_features)
    float64, each with its entry of largest magnitude positive. Where the rows have fewer directions than rank, the
    rest are zeros. Works on the smaller of rows·rowsᵀ and rowsᵀ·rows, in float64.
    Two BLAS threads may round the last digit otherwise than one: hold BLAS to one thread for the same bits.
    """
    n_samples, n_features = rows.shape
    values, directions = np.zeros(rank), np.zeros((rank, n_features))
    if n_samples < n_features:
        centred = rows - mean
        found, weights = _largest(centred @ centred.T, min(rank, n_samples))
        vectors = weights.T @ centred
    else:
        found, weights = _largest(_scatter(rows, mean), rank)
        vectors = weights.T
    kept = int(np.count_nonzero(found > SMALLEST_RELATIVE_EIGENVALUE * found[0])) if found[0] > 0 else 0
    values[:kept] = found[:kept]
    directions[:kept] = _with_fixed_signs(_orthonormal(vectors[:kept]))
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


def _scatter(rows: Vectors, mean: Doubles) -> Doubles:
    total = np.zeros((rows.shape[1], rows.shape[1]))
    for part in row_slices(len(rows)):
        centred = rows[part] - mean
        total += centred.T @ centred
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
