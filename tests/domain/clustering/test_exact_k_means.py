"""The compiled k-means against the slow one, and its bits against themselves on every way there."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist
from threadpoolctl import threadpool_limits

from domain.clustering import k_means, spherical_k_means
from domain.clustering.assignment import NearestCentroid, fill_empty_clusters
from domain.clustering.kmeans import k_means_of_each
from domain.clustering.ready_rows import ReadyRows, draw
from domain.clustering.threads import at_most
from domain.errors import Rejected
from tests.domain.clustering import naive
from tests.domain.clustering.blobs import blobs

TABLES = arrays(np.float32, st.tuples(st.integers(1, 14), st.integers(1, 4)), elements=st.integers(-3, 3))
ODD_ROWS = {
    "without structure": lambda chance: chance.normal(size=(900, 16)),
    "clustered": lambda chance: blobs(900, 16, 9, spread=0.4)[0],
    "far from the origin": lambda chance: chance.normal(size=(900, 7)) + 1000,
    "tiny": lambda chance: chance.normal(size=(300, 6)) * 1e-30,
    "huge": lambda chance: chance.normal(size=(300, 6)) * 1e30,
    "duplicates": lambda chance: chance.integers(0, 3, size=(400, 3)),
    "on a grid, full of ties": lambda chance: chance.integers(-2, 3, size=(700, 4)),
    "constant columns": lambda chance: chance.normal(size=(300, 5)) * [1, 0, 0, 1, 0] + 3,
    "one feature": lambda chance: chance.normal(size=(500, 1)),
    "a row a million times longer": lambda chance: np.vstack([chance.normal(size=(300, 5)), [[1e6] * 5]]),
}


def bits(clusterings):
    digest = hashlib.sha256()
    for each in clusterings:
        digest.update(each.labels.tobytes() + each.centroids.tobytes())
        digest.update(repr((each.objective, each.iterations, each.converged, each.empty_clusters)).encode())
    return digest.hexdigest()


@settings(deadline=None, max_examples=80)
@given(TABLES, st.data())
def test_every_iteration_is_that_of_the_slow_ones_for_any_table(rows, data):
    n_clusters = data.draw(st.integers(1, len(rows)))
    tolerance = data.draw(st.sampled_from([0.0, 1e-4, 0.1]))
    max_iterations = data.draw(st.sampled_from([1, 2, 60]))
    ready = ReadyRows(rows)
    found = k_means(rows, n_clusters, restarts=2, seed=3, tolerance=tolerance, max_iterations=max_iterations)
    for seeds, clustering in zip(ready.seeds(n_clusters, 2, 3), found, strict=True):
        shift = tolerance * ready.scatter / rows.size
        labels, centroids, iterations, converged = naive.lloyd_until_settled(
            rows, rows[seeds], shift, max_iterations, fill_empty_clusters
        )
        assert clustering.labels.tolist() == labels
        np.testing.assert_allclose(clustering.centroids, centroids, rtol=1e-6, atol=1e-6)
        assert (clustering.iterations, clustering.converged) == (iterations, converged)
        assert clustering.objective == pytest.approx(naive.objective(rows, labels, centroids), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("kind", ODD_ROWS)
@pytest.mark.parametrize("spherical", [False, True])
def test_labels_are_those_of_the_nearest_centroids_and_the_objective_is_theirs(kind, spherical):
    ready = ReadyRows(ODD_ROWS[kind](np.random.default_rng(4)), spherical)
    rows = ready.rows.astype(np.float64)
    for max_iterations in (1, 6, 300):
        for n_clusters in (1, 2, 3, 11):
            for found in k_means_of_each(ready, [n_clusters], restarts=2, max_iterations=max_iterations, seed=1)[0]:
                squares = cdist(rows, found.centroids.astype(np.float64), "sqeuclidean")
                assert found.labels.tolist() == NearestCentroid(ready.rows).assign(found.centroids).tolist()
                assert found.objective == pytest.approx(squares.min(axis=1).sum(), rel=1e-9, abs=1e-12 * squares.max())
                assert found.empty_clusters == n_clusters - len(set(found.labels.tolist()))


@pytest.mark.parametrize("kind", ODD_ROWS)
def test_no_bit_depends_on_which_rows_were_compared_with_which_centroids(kind):
    rows = ODD_ROWS[kind](np.random.default_rng(5))
    by_blocks, row_by_row = ReadyRows(rows), ReadyRows(rows)
    row_by_row.blocks = row_by_row.blocks[:0]
    seeds = by_blocks.seeds(12, 3, 0)
    options = {"restarts": 3, "max_iterations": 50, "seed": 0, "seeds": seeds}
    for n_clusters in (2, 5, 12):
        assert bits(k_means_of_each(by_blocks, [n_clusters], **options)[0]) == bits(
            k_means_of_each(row_by_row, [n_clusters], **options)[0]
        )


@pytest.mark.parametrize("spherical", [False, True])
def test_the_same_bits_for_any_number_of_threads_and_of_k_beside_it(spherical):
    rows, _ = blobs(n_samples=3000, n_features=65, n_clusters=17, spread=1.5)
    alone = {k: bits(k_means(rows, k, restarts=3, seed=7, spherical=spherical)) for k in (2, 9, 17)}
    for threads in (1, 2, 3):
        for blas_threads in (1, 2):
            with at_most(threads), threadpool_limits(blas_threads):
                together = k_means_of_each(
                    ReadyRows(rows, spherical), [2, 9, 17], restarts=3, max_iterations=200, seed=7
                )
            assert dict(zip(alone, map(bits, together), strict=True)) == alone


OTHER_PROCESS = """
import numpy as np
from domain.clustering import k_means
from tests.domain.clustering.test_exact_k_means import bits, overlapping
print(bits(k_means(overlapping(), 40, restarts=4)))
"""


def overlapping():
    return blobs(n_samples=3000, n_features=48, n_clusters=20, spread=1.2)[0]


def test_the_same_bits_in_another_process_whose_blas_multiplies_otherwise():
    here = bits(k_means(overlapping(), 40, restarts=4))
    # OpenBLAS then takes the kernels of the first 64-bit processors: other blocks, no fused multiplication.
    environment = {**os.environ, "OPENBLAS_CORETYPE": "Prescott", "OPENBLAS_NUM_THREADS": "1"}
    there = subprocess.run(
        [sys.executable, "-c", OTHER_PROCESS], check=False, env=environment, capture_output=True, text=True
    )
    assert there.stdout.strip() == here, there.stderr


@settings(deadline=None, max_examples=60)
@given(TABLES, st.integers(0, 1000))
def test_seeds_are_those_of_the_slow_choice_for_any_table(rows, seed):
    for restart, seeds in enumerate(ReadyRows(rows).seeds(len(rows), restarts=2, seed=seed)):
        first, chances = draw(len(rows), len(rows), seed, restart)
        assert seeds.tolist() == naive.greedy_seeds(rows.tolist(), len(rows), first, chances)
        assert sorted(seeds) == list(range(len(rows)))


def test_the_first_seeds_are_those_of_fewer_clusters():
    rows, _ = blobs(n_samples=700, n_features=5, n_clusters=9, spread=1.0)
    ready = ReadyRows(rows)
    most = ready.seeds(20, restarts=4, seed=2)
    for n_clusters in (1, 2, 7, 20):
        assert ready.seeds(n_clusters, restarts=3, seed=2).tolist() == most[:3, :n_clusters].tolist()
    assert bits(k_means(rows, 7, seed=2, restarts=3)) == bits(k_means(rows, 7, seed=2, restarts=3, seeds=most))


def test_tables_that_can_only_be_read_are_clustered():
    rows, _ = blobs()
    locked = rows.copy()
    locked.flags.writeable = False
    assert bits(k_means(locked, 3)) == bits(k_means(rows, 3)) == bits(k_means(np.asfortranarray(rows), 3))
    assert bits(spherical_k_means(locked, 3)) == bits(spherical_k_means(rows, 3))


def test_a_smaller_tolerance_goes_on_for_longer_and_no_worse():
    rows = np.random.default_rng(0).normal(size=(3000, 24)).astype(np.float32)
    strict, loose = k_means(rows, 6, restarts=3, tolerance=0), k_means(rows, 6, restarts=3, tolerance=1e-2)
    assert sum(each.iterations for each in strict) > sum(each.iterations for each in loose)
    for longer, shorter in zip(strict, loose, strict=True):
        assert longer.iterations >= shorter.iterations
        assert longer.objective <= shorter.objective <= longer.objective * 1.02
        assert longer.converged
        assert shorter.converged


@pytest.mark.parametrize("tolerance", [-1e-9, float("nan")])
def test_a_tolerance_below_zero_is_rejected(tolerance):
    with pytest.raises(Rejected, match="tolerance"):
        k_means([[0.0], [1.0]], 1, tolerance=tolerance)
