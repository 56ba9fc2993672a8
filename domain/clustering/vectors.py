"""What every clustering function takes: rows of finite float32, walked in fixed slices."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from domain.clustering.threads import in_parts
from domain.errors import Rejected

Vectors = NDArray[np.float32]
"""(n_samples, n_features) float32, one sample a row."""

Labels = NDArray[np.int32]
"""(n_samples,) int32, cluster ids from 0."""

Doubles = NDArray[np.float64]

# Slices never depend on the machine, so that every sum is added up in the same order everywhere.
ROWS_PER_SLICE = 2048

# Each part of a sum holds memory of its own until it is added up, so there are only so many.
PARTS = 32

# Whole numbers within so many times the number of samples, or so few, are counted and not sorted.
LABELS_PER_SAMPLE = 2
FEW_LABELS = 1024


def check_vectors(vectors: ArrayLike, name: str = "vectors") -> Vectors:
    """Take vectors as C-ordered float32, or say what is wrong with them.

    vectors: (n_samples, n_features) of any real dtype, both at least 1
    Raises Rejected for another number of dimensions, no samples, no features, text or complex numbers, and for the
    first row that holds NaN, infinity, or a number too large for float32.
    """
    given = np.asarray(vectors)
    if given.dtype.kind not in "fiub":
        raise Rejected(f"{name} must hold real numbers, not {given.dtype}", fields=(name,))
    if given.ndim != 2:
        raise Rejected(f"{name} must be (n_samples, n_features), not of shape {given.shape}", fields=(name,))
    if 0 in given.shape:
        raise Rejected(f"{name} must have at least one row and one column, not the shape {given.shape}", fields=(name,))
    with np.errstate(over="ignore", invalid="ignore"):
        rows = np.ascontiguousarray(given, dtype=np.float32)
        # One pass: a sum of squares is finite only if each of them is. Without BLAS, whose threads would be woken and
        # then wait for more, at full speed, on the cores that are needed next.
        if np.isfinite(np.einsum("ij,ij->", rows, rows)):
            return rows
    for part in row_slices(len(rows)):
        finite = np.isfinite(rows[part]).all(axis=1)
        if not finite.all():
            row = part.start + int(finite.argmin())
            raise Rejected(
                f"Row {row} of {name} holds NaN, infinity or a number beyond float32; embed it again or leave it out",
                fields=(name,),
            )
    return rows


def check_labels(labels: ArrayLike, n_samples: int | None = None, name: str = "labels") -> NDArray[Any]:
    """Take one label a sample, of any sortable type.

    Raises Rejected for another number of dimensions, no labels, or a length other than n_samples.
    """
    given = np.asarray(labels)
    if given.ndim != 1 or not len(given):
        raise Rejected(f"{name} must be (n_samples,) with at least one, not of shape {given.shape}", fields=(name,))
    if n_samples is not None and len(given) != n_samples:
        raise Rejected(f"{name} must have one entry a sample: {n_samples}, not {len(given)}", fields=(name,))
    return given


def check_cluster_ids(labels: ArrayLike, n_samples: int, n_clusters: int) -> Labels:
    """Take labels that index centroids: whole numbers from 0 to n_clusters − 1. Raises Rejected for others."""
    given = check_labels(labels, n_samples)
    if given.dtype.kind not in "iu" or given.min() < 0 or given.max() >= n_clusters:
        raise Rejected(
            f"labels must be whole numbers from 0 to {n_clusters - 1}, one for each centroid", fields=("labels",)
        )
    return given.astype(np.int32)


def number_labels(labels: ArrayLike, n_samples: int) -> tuple[Labels, Doubles]:
    """Number the clusters that have a sample from 0, in the order of their labels.

    labels: (n_samples,) of any sortable type
    Returns ids, (n_samples,), and sizes, (n_clusters,) float64. Raises Rejected as check_labels does.
    """
    given = check_labels(labels, n_samples)
    if given.dtype.kind in "iu" and given.dtype != np.uint64:
        # Sorting is the slow part, and whole numbers in a small range need none.
        lowest = int(given.min())
        span = int(given.max()) - lowest + 1
        if span <= LABELS_PER_SAMPLE * n_samples + FEW_LABELS:
            counts = np.bincount(given.astype(np.int64) - lowest, minlength=span)
            present = counts > 0
            numbers = np.cumsum(present, dtype=np.int32) - np.int32(1)
            ids: Labels = numbers[given.astype(np.int64) - lowest]
            return ids, counts[present].astype(np.float64)
    names, inverse = np.unique(given, return_inverse=True)
    return inverse.astype(np.int32), np.bincount(inverse, minlength=len(names)).astype(np.float64)


def check_centroids(centroids: ArrayLike, n_features: int) -> Vectors:
    """Take centroids as check_vectors does. Raises Rejected also if they have another width than the vectors."""
    centres = check_vectors(centroids, "centroids")
    if centres.shape[1] != n_features:
        raise Rejected(
            f"centroids have {centres.shape[1]} features and vectors {n_features}; project both alike",
            fields=("centroids",),
        )
    return centres


def row_slices(n_samples: int, rows_per_slice: int = ROWS_PER_SLICE) -> Iterator[slice]:
    """Cut rows 0 to n_samples into consecutive slices of a fixed length."""
    for start in range(0, n_samples, rows_per_slice):
        yield slice(start, min(start + rows_per_slice, n_samples))


def row_parts(n_samples: int) -> list[slice]:
    """Cut rows into at most PARTS parts of whole slices, for sums that are added up part by part."""
    slices = -(-n_samples // ROWS_PER_SLICE)
    return list(row_slices(n_samples, ROWS_PER_SLICE * -(-slices // PARTS)))


def slices_of(part: slice) -> Iterator[slice]:
    """Cut a part into slices."""
    for inner in row_slices(part.stop - part.start):
        yield slice(part.start + inner.start, part.start + inner.stop)


def squared_lengths(rows: Vectors) -> Doubles:
    """Sum the squares of each row: (n_samples,) float64."""
    lengths = np.empty(len(rows))
    for part in row_slices(len(rows)):
        doubles = rows[part].astype(np.float64)
        lengths[part] = np.einsum("ij,ij->i", doubles, doubles)
    return lengths


class UnitRows:
    """Rows scaled to length 1 slice by slice, whenever they are looked at, so that there is no second copy of them.

    rows: (n_samples, n_features) as check_vectors gives them; a row of zeros stays zero
    """

    def __init__(self, rows: Vectors) -> None:
        self.shape = rows.shape
        self._rows = rows
        parts = in_parts(lambda part: squared_lengths(rows[part]), row_parts(len(rows)))
        self._lengths = np.sqrt(np.concatenate(parts))
        self._lengths[self._lengths == 0] = 1.0

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, part: slice) -> Vectors:
        from domain.clustering.distances import divide_rows

        rows = self._rows[part]
        scaled = np.empty(rows.shape, dtype=np.float32)
        divide_rows(rows, self._lengths[part], scaled)
        return scaled


Rows = Vectors | UnitRows
"""Rows that are looked at slice by slice."""


def unit_rows(vectors: ArrayLike) -> Vectors:
    """Scale each row to length 1; a row of zeros has no direction and stays zero, as in scikit-learn.

    vectors: (n_samples, n_features)
    Returns the same shape, float32. Cosine distances to a zero row are 1.
    """
    units = UnitRows(check_vectors(vectors))
    scaled = np.empty(units.shape, dtype=np.float32)

    def scale(part: slice) -> None:
        scaled[part] = units[part]

    in_parts(scale, row_slices(len(scaled)))
    return scaled
