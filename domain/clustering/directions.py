"""The directions in which rows reach farthest, by covariance and a symmetric eigenproblem."""

from functools import partial
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np

from domain.clustering.threads import in_parts, one_blas_thread
from domain.clustering.vectors import Doubles, Rows, row_slices
from domain.errors import Rejected

COLUMNS_PER_BLOCK = 256
ROWS_PER_BLOCK = 256  # that one thread centres at a time


class Directions(NamedTuple):
    """Where rows reach farthest from their mean."""

    squares: Doubles  # (rank,) float64, falling: the sum of squares along each direction
    directions: Doubles  # (rank, n_features) float64, each with its entry of largest magnitude positive
    total: float  # the sum of squares in all directions


def leading_directions(rows: Rows, mean: Doubles, rank: int) -> Directions:
    """Find the orthonormal directions that carry most of the sum of squares of rows − mean.

    rows: (n_samples, n_features) float32; mean: (n_features,) float64; rank: at most n_features
    Directions are orthonormal. Where the rows have fewer of them than rank, the rest are zeros. Works on the smaller of
    rows·rowsᵀ and rowsᵀ·rows, in float64. The same bits for any number of threads.
    """
    n_samples, n_features = rows.shape
    squares, directions = np.zeros(rank), np.zeros((rank, n_features))
    with one_blas_thread():
        if n_samples < n_features:
            centred = rows[: len(rows)] - mean
            products = centred @ centred.T
            total = float(np.trace(products))
            found, weights = _largest(products, min(rank, n_samples))
            vectors = _with_fixed_signs(_orthonormal(weights @ centred))
        else:
            products = _scatter(rows, mean)
            total = float(np.trace(products))
            found, vectors = _largest(products, rank)
    squares[: len(found)] = found
    directions[: len(found)] = vectors
    return Directions(squares, directions, total)


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


def _largest(symmetric: Doubles, count: int) -> tuple[Doubles, Doubles]:
    """Find the largest eigenvalues that are no rounding noise, count at most, and their eigenvectors as rows."""
    from domain.clustering.eigenvectors import dsyevr, find_leading

    values, vectors = np.empty(count), np.empty((count, len(symmetric)))
    kept = find_leading(dsyevr(), symmetric, values, vectors)
    check_found(kept >= 0)
    return values[:kept], vectors[:kept]


def check_found(found: bool) -> None:
    """Raise Rejected if LAPACK found no eigenvectors, as of numbers whose squares are too large for float64."""
    if not found:
        raise Rejected("LAPACK found no principal directions; scale the vectors down", fields=("vectors",))


def _scatter(rows: Rows, mean: Doubles) -> Doubles:
    """Sum centredᵀ·centred slice by slice; blocks of columns by pairs, each pair by whichever thread is free."""
    n_features = rows.shape[1]
    total = np.zeros((n_features, n_features))
    columns = list(row_slices(n_features, COLUMNS_PER_BLOCK))
    pairs = list(combinations_with_replacement(columns, 2))

    def centre(part: slice, centred: Doubles, block: slice) -> None:
        np.subtract(rows[part.start + block.start : part.start + block.stop], mean, out=centred[block])

    def add(centred: Doubles, pair: tuple[slice, slice]) -> None:
        first, second = pair
        total[first, second] += centred[:, first].T @ centred[:, second]

    for part in row_slices(len(rows)):
        centred = np.empty((part.stop - part.start, n_features))
        in_parts(partial(centre, part, centred), row_slices(len(centred), ROWS_PER_BLOCK))
        in_parts(partial(add, centred), pairs)
    for first, second in pairs:
        total[second, first] = total[first, second].T
    return total


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
