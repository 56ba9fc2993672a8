"""Which subspace keeps most of each row, as machine code. Specified by tests/domain/clustering/naive.py."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.clustering.compilation import compiled

Numbers = NDArray[Any]

LANES = 256  # rows compared at once


@compiled("void(float32[:, ::1], int64, float32[::1], int32[::1], boolean[::1])")
def find_best(products: Numbers, rank: int, margins: Numbers, labels: Numbers, undecided: Numbers) -> None:
    """Label each row with the subspace whose products with it have the largest sum of squares.

    products: (n_clusters · rank, n), directions by rows; margins: (n,) by which the best has to win, or else the row is
    left undecided, as it is when squares overflow; labels, undecided: (n,)
    """
    n_directions, n_rows = products.shape
    best, second = np.empty(LANES, dtype=np.float32), np.empty(LANES, dtype=np.float32)
    kept, label = np.empty(LANES, dtype=np.float32), np.empty(LANES, dtype=np.int32)
    for start in range(0, n_rows, LANES):
        count = min(LANES, n_rows - start)
        best[:] = -np.inf
        second[:] = -np.inf
        label[:] = 0
        for cluster in range(n_directions // rank):
            kept[:] = 0.0
            for direction in range(cluster * rank, cluster * rank + rank):
                product = products[direction, start : start + count]
                for lane in range(count):
                    kept[lane] += product[lane] * product[lane]
            number = np.int32(cluster)
            for lane in range(count):
                rival = min(best[lane], kept[lane])
                second[lane] = max(second[lane], rival)
                label[lane] = number if kept[lane] > best[lane] else label[lane]
                best[lane] = max(best[lane], kept[lane])
        for lane in range(count):
            labels[start + lane] = label[lane]
            wins = second[lane] < best[lane] - margins[start + lane]
            undecided[start + lane] = not (wins and best[lane] < np.inf)
