import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from threadpoolctl import threadpool_limits

from domain.clustering import adjusted_rand_index, best, k_means, k_subspaces
from domain.clustering.subspaces import NearestSubspace
from domain.errors import Rejected
from tests.domain.clustering import naive
from tests.domain.clustering.blobs import blobs, fingerprint, planes

SMALL_TABLES = arrays(np.float32, st.tuples(st.integers(2, 12), st.integers(2, 4)), elements=st.integers(-3, 3))


def least_residuals(rows, bases):
    return np.array([[naive.residual(row, basis) for basis in bases] for row in rows])


@pytest.mark.parametrize("start", ["k-means", "random"])
def test_rows_on_planes_are_told_apart_by_plane(start):
    rows, classes = planes()
    found = best(k_subspaces(rows, 3, 2, start=start, restarts=20))
    assert adjusted_rand_index(found.labels, classes) > 0.9
    assert found.objective < 0.001 * np.square(rows).sum()


@settings(deadline=None, max_examples=40)
@given(SMALL_TABLES, st.data())
def test_labels_and_objective_are_those_of_the_nearest_subspaces_for_any_table(rows, data):
    n_clusters = data.draw(st.integers(1, len(rows)))
    rank = data.draw(st.integers(1, rows.shape[1]))
    for found in k_subspaces(
        rows, n_clusters, rank, restarts=2, start=data.draw(st.sampled_from(["k-means", "random"]))
    ):
        residuals = least_residuals(rows, found.bases)
        own = residuals[np.arange(len(rows)), found.labels]
        np.testing.assert_allclose(own, residuals.min(axis=1), atol=1e-9)
        assert found.objective == pytest.approx(own.sum(), abs=1e-9)
        assert found.empty_clusters == n_clusters - len(set(found.labels.tolist()))


def test_bases_are_orthonormal_and_keep_as_much_of_their_rows_as_any_could():
    rows, _ = blobs(n_samples=200, n_features=6, spread=1.0)
    found = best(k_subspaces(rows, 4, 2))
    for cluster, basis in enumerate(found.bases):
        own = rows[found.labels == cluster].astype(np.float64)
        np.testing.assert_allclose(basis @ basis.T, np.eye(2), atol=1e-12)
        most = np.square(np.linalg.svd(own, compute_uv=False)[:2]).sum()
        assert np.square(own @ basis.T).sum() == pytest.approx(most, rel=1e-10)
        np.testing.assert_allclose(found.centroids[cluster], own.mean(axis=0), atol=1e-6)


def test_subspaces_lower_the_objective_they_start_from():
    rows, _ = blobs(n_samples=200, n_features=6, spread=1.0)
    for started, found in zip(k_means(rows, 4, restarts=4), k_subspaces(rows, 4, 1, restarts=4), strict=True):
        before = 0.0
        for cluster in range(4):
            own = rows[started.labels == cluster].astype(np.float64)
            before += np.square(np.linalg.svd(own, compute_uv=False)[1:]).sum()
        assert found.objective <= before * (1 + 1e-9)


def test_subspaces_of_full_rank_leave_nothing_over_and_tie_at_the_lowest_index():
    rows, _ = blobs()
    found = best(k_subspaces(rows, 3, 5))
    assert found.objective == 0
    assert not found.labels.any()
    assert found.empty_clusters == 2


def test_a_cluster_with_fewer_directions_than_rank_has_zero_rows_in_its_basis():
    found = k_subspaces([[2.0, 0.0, 0.0], [0.0, 3.0, 0.0]], 2, 2, restarts=1)[0]
    assert np.square(found.bases).sum(axis=2).tolist() == [[1, 0], [1, 0]]
    assert found.objective == 0


def test_a_decision_within_rounding_is_made_in_float64():
    chance = np.random.default_rng(0)
    rows = (chance.normal(size=(300, 6)) + 100).astype(np.float32)
    bases = np.linalg.qr(np.ones((4, 6, 1)) + 1e-6 * chance.normal(size=(4, 6, 1)))[0].transpose(0, 2, 1)
    kept = np.square(np.einsum("nd,krd->nkr", rows.astype(np.float64), bases)).sum(axis=2)
    assert NearestSubspace(rows).assign(bases).tolist() == kept.argmax(axis=1).tolist()


def test_the_same_bits_come_back_with_one_and_two_blas_threads():
    rows, _ = blobs(n_samples=1500, n_features=33, n_clusters=9, spread=1.5)
    found = []
    for threads in (1, 2, 1):
        with threadpool_limits(threads):
            found.append(fingerprint(k_subspaces(rows, 9, 2, restarts=1, max_iterations=8)))
    assert len(set(found)) == 1


@pytest.mark.parametrize(
    ("change", "field"),
    [({"rank": 0}, "rank"), ({"rank": 6}, "rank"), ({"start": "warm"}, "start"), ({"n_clusters": 61}, "n_clusters")],
)
def test_impossible_requests_are_rejected_by_name(change, field):
    with pytest.raises(Rejected) as caught:
        k_subspaces(blobs()[0], **({"n_clusters": 3} | change))
    assert caught.value.fields == (field,)


def test_one_row_of_zeros_lies_in_every_subspace():
    found = k_subspaces([[0.0, 0.0]], 1, 2, restarts=1)[0]
    assert found.labels.tolist() == [0]
    assert found.objective == 0
    assert not found.bases.any()
