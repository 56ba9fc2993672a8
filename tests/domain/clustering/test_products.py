"""Products of rows with centroids, and blocks of rows, against numpy."""

import numpy as np
import pytest
from numba import njit

from domain.clustering.products import LANES, lay, lay_side_by_side, multiply


@njit(nogil=True)
def multiplied(faced, block, products):
    multiply(faced, block, LANES, products)


@njit(nogil=True)
def laid(rows, members, block):
    lay(rows, members, LANES, block)


def random(*shape):
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


@pytest.mark.parametrize("n_features", [1, 2, 7, 64])
@pytest.mark.parametrize("n_clusters", [*range(1, 14), 150])
def test_a_block_is_multiplied_with_all_centroids(n_clusters: int, n_features: int) -> None:
    faced, block = random(n_clusters, n_features), random(n_features, LANES)
    products = np.full((n_clusters + 1, LANES), np.float32(7))
    multiplied(faced, block, products)
    exact = faced.astype(np.float64) @ block.astype(np.float64)
    error = n_features * 2.0**-24 * (np.abs(faced) @ np.abs(block)).astype(np.float64)
    assert (np.abs(products[:-1] - exact) <= error).all()
    assert (products[-1] == 7).all()


@pytest.mark.parametrize("n_features", [1, 7, 8, 9, 64, 385])
def test_rows_are_laid_side_by_side_as_they_are(n_features: int) -> None:
    rows = random(200, n_features)
    members = np.random.default_rng(1).permutation(200)[:LANES].astype(np.int32)
    block = np.zeros((n_features + 1, LANES), np.float32)
    laid(rows, members, block)
    assert np.array_equal(block[:-1], rows[members].T)
    assert not block[-1].any()
    blocks = np.zeros((4, n_features + 1, LANES), np.float32)
    lay_side_by_side(rows, blocks)
    assert np.array_equal(blocks[3, :-1, : 200 - 3 * LANES], rows[3 * LANES :].T)
