"""Products of rows with centroids, and the order in which rows lie for them, as machine code.

LANES rows lie side by side in a block, feature by feature, so that one instruction takes several of them. Products of
float32 are rounded as the processor likes: they may serve as estimates alone, of which the error is bounded.
"""

import numpy as np

from domain.clustering.compilation import ROWS, compiled, part_of_kernels
from domain.clustering.registers import product_of, square_of
from domain.clustering.vectors import Labels, Vectors

LANES = 64  # rows of a block
SIDE = 8  # of the square pieces in which rows are laid side by side


@compiled(f"void({ROWS}, float32[:, :, ::1])")
def lay_side_by_side(near: Vectors, blocks: Vectors) -> None:
    """Turn rows into blocks (n_blocks, n_features, LANES); places without a row or feature stay as they are."""
    n_samples, n_features = near.shape
    for first_row in range(0, n_samples, LANES):
        # Some features at a time: what is written stays in the nearest cache.
        for first in range(0, n_features, 16):
            for row in range(first_row, min(first_row + LANES, n_samples)):
                for feature in range(first, min(first + 16, n_features)):
                    blocks[first_row // LANES, feature, row - first_row] = near[row, feature]


# As many sums as a processor has registers for, beside what is multiplied.
_six_centroids, _four_centroids = product_of(6, 16), product_of(4, 16)
_two_centroids, _one_centroid = product_of(2, 32), product_of(1, 64)
_lay_square = square_of(SIDE)


@part_of_kernels
def multiply(faced: Vectors, block: Vectors, n_rows: int, products: Vectors) -> None:
    """Multiply the first rows of a block, (n_features, LANES), with all centroids: products (n_clusters, LANES).

    What BLAS does of such small tables is mostly to bring them into the order that blocks have already.
    """
    n_clusters = len(faced)
    cluster = 0
    while n_clusters - cluster >= 6:
        for lane in range(0, n_rows, 16):
            _six_centroids(faced, cluster, block, lane, products)
        cluster += 6
    if n_clusters - cluster >= 4:
        for lane in range(0, n_rows, 16):
            _four_centroids(faced, cluster, block, lane, products)
        cluster += 4
    if n_clusters - cluster >= 2:
        for lane in range(0, n_rows, 32):
            _two_centroids(faced, cluster, block, lane, products)
        cluster += 2
    if n_clusters - cluster >= 1:
        _one_centroid(faced, cluster, block, 0, products)


@part_of_kernels
def lay(near: Vectors, members: Labels, n_rows: int, block: Vectors) -> None:
    """Lay the first members, rows of near, side by side into a block, (n_features, LANES)."""
    n_features = near.shape[1]
    for lane in range(0, n_rows, SIDE):
        for feature in range(0, n_features - SIDE + 1, SIDE):
            _lay_square(near, members, lane, feature, block)
    for feature in range(n_features // SIDE * SIDE, n_features):
        for lane in range(n_rows):
            block[feature, lane] = near[np.uint32(members[lane]), feature]
