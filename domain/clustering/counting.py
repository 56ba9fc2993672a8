"""How often labels meet, as machine code. Specified by tests/domain/clustering/naive.py."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.clustering.compilation import compiled

Counts = NDArray[Any]

LABELS = "Array(int64, 1, 'C', readonly=True)"


@compiled(f"UniTuple(int64, 2)({LABELS})")
def lowest_and_highest(labels: Counts) -> tuple[int, int]:
    """Find the least and the greatest of at least one label."""
    lowest = highest = labels[0]
    for label in labels:
        lowest = min(lowest, label)
        highest = max(highest, label)
    return lowest, highest


@compiled(f"void({LABELS}, int64, {LABELS}, int64, int64[:, ::1])")
def count_meetings(first: Counts, lowest_first: int, second: Counts, lowest_second: int, table: Counts) -> None:
    """Count each pair of labels of one sample.

    first, second: (n_samples,) from their lowest; table: (labels in first, labels in second), zeros at first
    """
    for sample in range(len(first)):
        table[first[sample] - lowest_first, second[sample] - lowest_second] += 1


@compiled("void(int32[:, ::1], int64[::1], int64[::1], int64[:, ::1])")
def count_pairs_together(labelings: Counts, n_labels: Counts, table: Counts, together: Counts) -> None:
    """Count, for each two labelings, the pairs of samples that share a label in both.

    labelings: (n_labelings, n_samples) from 0; n_labels: (n_labelings,), above the largest label of each
    table: scratch for the square of the largest number of labels, which is below 2³²
    together: (n_labelings, n_labelings), of which what lies below the diagonal is filled, and the diagonal
    """
    n_labelings, n_samples = labelings.shape
    for i in range(n_labelings):
        for j in range(i + 1):
            width = n_labels[j]
            used = n_labels[i] * width
            table[:used] = 0
            for sample in range(n_samples):
                # Unsigned, so that no index is looked at for being negative.
                table[np.uint32(labelings[i, sample]) * np.uint32(width) + np.uint32(labelings[j, sample])] += 1
            pairs = 0
            for cell in range(used):
                pairs += table[cell] * (table[cell] - 1) // 2
            together[i, j] = pairs
