"""Which labels two labelings give the same samples, and how often."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from domain.clustering.vectors import LABELS_PER_SAMPLE, check_labels, number_labels

# A table of this many cells is counted in whatever few samples there are; else it has a few cells a sample.
SMALL_TABLE = 2**16
CELLS_PER_SAMPLE = 4


class Meetings(NamedTuple):
    """How many samples each pair of labels has, and each label; zeros are as good as none. All int64."""

    cells: NDArray[np.int64]  # (pairs that may occur,)
    first: NDArray[np.int64]  # (labels in first,)
    second: NDArray[np.int64]  # (labels in second,)


def meetings(first: ArrayLike, second: ArrayLike) -> Meetings:
    """Count where two labelings meet, in memory that grows with the samples, never with the product of the labels.

    first, second: (n_samples,) of any sortable type. Raises Rejected if the lengths differ or are 0.
    """
    left, right = _numbered_both(first, second)
    if left.span * right.span <= max(SMALL_TABLE, CELLS_PER_SAMPLE * len(left.ids)):
        table = _table(left, right)
        return Meetings(table.ravel(), table.sum(axis=1), table.sum(axis=0))
    rows, columns = left.ids - left.lowest, right.ids - right.lowest
    _, counts = np.unique(rows * right.span + columns, return_counts=True)
    return Meetings(counts.astype(np.int64), np.bincount(rows), np.bincount(columns))


def contingency_table(first: ArrayLike, second: ArrayLike) -> NDArray[np.int64]:
    """Count the samples for each pair of labels: (distinct in first, distinct in second) int64, in sorted order."""
    table = _table(*_numbered_both(first, second))
    return table[table.any(axis=1)][:, table.any(axis=0)]


class Numbered(NamedTuple):
    """Labels as whole numbers in a range that is small beside the number of samples."""

    ids: NDArray[np.int64]  # (n_samples,) from the lowest to before lowest + span
    lowest: int
    span: int


def _numbered_both(first: ArrayLike, second: ArrayLike) -> tuple[Numbered, Numbered]:
    left = check_labels(first)
    right = check_labels(second, len(left))
    return numbered(left), numbered(right)


def numbered(labels: NDArray[Any]) -> Numbered:
    """Take labels as they are where they are such numbers, else number them in the order of the labels."""
    from domain.clustering.counting import lowest_and_highest

    if labels.dtype.kind in "iu" and labels.dtype != np.uint64:
        whole = np.ascontiguousarray(labels, dtype=np.int64)
        lowest, highest = lowest_and_highest(whole)
        if highest - lowest < LABELS_PER_SAMPLE * len(labels):
            return Numbered(whole, lowest, highest - lowest + 1)
    ids, sizes = number_labels(labels, len(labels))
    return Numbered(ids.astype(np.int64), 0, len(sizes))


def _table(left: Numbered, right: Numbered) -> NDArray[np.int64]:
    from domain.clustering.counting import count_meetings

    table = np.zeros((left.span, right.span), dtype=np.int64)
    count_meetings(left.ids, left.lowest, right.ids, right.lowest, table)
    return table
