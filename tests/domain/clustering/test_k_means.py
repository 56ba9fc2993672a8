import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from domain.clustering import best, best_restart, k_means, spherical_k_means, unit_rows
from domain.clustering.assignment import NearestCentroid, cluster_sums, fill_empty_clusters
from domain.clustering.ready_rows import ReadyRows
from domain.errors import Rejected
from tests.domain.clustering import naive
from tests.domain.clustering.blobs import blobs, fingerprint

SMALL_TABLES = arrays(np.float32, st.tuples(st.integers(1, 12), st.integers(1, 3)), elements=st.integers(-3, 3))


def test_lloyds_iterations_from_the_same_seeds_end_where_the_slow_ones_do():
    rows, _ = blobs(n_samples=90, spread=1.0)
    starts = ReadyRows(rows).seeds(4, restarts=3, seed=5)
    for seeds, clustering in zip(starts, k_means(rows, 4, restarts=3, seed=5, tolerance=0), strict=True):
        labels, centroids = naive.lloyd(rows, rows[seeds])
        assert clustering.labels.tolist() == labels
        np.testing.assert_allclose(clustering.centroids, centroids, rtol=1e-6)
        assert clustering.objective == pytest.approx(naive.objective(rows, labels, centroids), rel=1e-6)
        assert clustering.converged
        assert clustering.empty_clusters == 0


def test_the_best_restart_is_as_good_as_scikit_learns():
    rows, _ = blobs(n_samples=500, n_features=8, n_clusters=6, spread=0.6)
    mine = best(k_means(rows, 6, restarts=10))
    theirs = KMeans(6, n_init=10, tol=0, random_state=0).fit(rows)
    assert mine.objective <= theirs.inertia_ * (1 + 1e-5)


def test_clusters_far_apart_are_found():
    rows, classes = blobs(spread=0.01)
    found = best(k_means(rows, 3, restarts=3)).labels
    assert len(set(zip(found.tolist(), classes.tolist(), strict=True))) == 3


def test_results_have_the_promised_types_and_shapes():
    rows, _ = blobs()
    clusterings = k_means(rows.astype(np.float64), 3, restarts=2)
    assert len(clusterings) == 2
    assert clusterings[0].labels.dtype == np.int32
    assert clusterings[0].labels.shape == (60,)
    assert clusterings[0].centroids.dtype == np.float32
    assert clusterings[0].centroids.shape == (3, 5)
    assert clusterings[0].bases is None


@pytest.mark.parametrize("spherical", [False, True])
def test_the_same_bits_come_back_with_one_and_two_blas_threads(spherical):
    rows, _ = blobs(n_samples=3000, n_features=65, n_clusters=17, spread=1.5)
    found = []
    for threads in (1, 2, 1):
        with threadpool_limits(threads):
            found.append(fingerprint(k_means(rows, 17, restarts=2, max_iterations=30, spherical=spherical)))
    assert len(set(found)) == 1


def test_rows_halfway_between_centroids_get_the_same_labels_with_one_and_two_blas_threads():
    chance = np.random.default_rng(0)
    centroids = chance.normal(size=(20, 64)).astype(np.float32)
    pairs = chance.integers(0, 20, size=(6000, 2))
    rows = ((centroids[pairs[:, 0]] + centroids[pairs[:, 1]]) / 2).astype(np.float32)
    exact = cdist(rows, centroids, "sqeuclidean").argmin(axis=1)
    for threads in (1, 2):
        with threadpool_limits(threads):
            assert NearestCentroid(rows).assign(centroids).tolist() == exact.tolist()


def test_a_restart_does_not_depend_on_how_many_there_are_but_on_the_seed():
    rows, _ = blobs(n_samples=200, n_clusters=8, spread=1.0)
    assert fingerprint(k_means(rows, 5, restarts=2)) == fingerprint(k_means(rows, 5, restarts=4)[:2])
    assert fingerprint(k_means(rows, 5, seed=0)) != fingerprint(k_means(rows, 5, seed=1))


@settings(deadline=None, max_examples=60)
@given(SMALL_TABLES, st.data())
def test_labels_are_the_nearest_centroids_for_any_table(rows, data):
    n_clusters = data.draw(st.integers(1, len(rows)))
    for clustering in k_means(rows, n_clusters, restarts=2, max_iterations=data.draw(st.sampled_from([1, 2, 50]))):
        assert clustering.labels.tolist() == naive.nearest(rows, clustering.centroids)
        assert clustering.objective == pytest.approx(
            naive.objective(rows, clustering.labels, clustering.centroids), abs=1e-9
        )
        assert clustering.empty_clusters == n_clusters - len(set(clustering.labels.tolist()))
        if clustering.converged:
            distinct = len(np.unique(rows, axis=0))
            assert clustering.empty_clusters == max(0, n_clusters - distinct)


def test_ties_go_to_the_lowest_index_and_rounding_decides_nothing():
    centroids = np.array([[5, 5], [0, 1], [0, 1], [0, -1]], dtype=np.float32)
    rows = np.array([[0, 0], [3, 0], [0, 2], [0, -2], [5, 5]], dtype=np.float32)
    assert NearestCentroid(rows).assign(centroids).tolist() == [1, 1, 1, 3, 0]


@pytest.mark.parametrize("scale", [1e-30, 1e-18, 1.0, 1e15, 1e30])
def test_labels_are_right_at_any_scale_and_far_from_the_origin(scale):
    chance = np.random.default_rng(0)
    for offset in (0.0, 1000.0):
        rows = ((chance.normal(size=(300, 6)) + offset) * scale).astype(np.float32)
        centroids = rows[:7]
        exact = cdist(rows.astype(np.float64), centroids.astype(np.float64)).argmin(axis=1)
        assert NearestCentroid(rows).assign(centroids).tolist() == exact.tolist()


def test_cluster_sums_add_each_clusters_rows_over_all_slices():
    rows, _ = blobs(n_samples=5000)
    labels = (np.arange(5000) % 7).astype(np.int32)
    sums = cluster_sums(rows, labels, 8)
    for cluster in range(8):
        np.testing.assert_allclose(sums[cluster], rows[labels == cluster].sum(axis=0, dtype=np.float64), atol=1e-9)


def test_an_empty_cluster_takes_the_farthest_row_that_another_can_spare():
    labels = np.array([0, 0, 0, 2], dtype=np.int32)
    filled = fill_empty_clusters(labels, np.array([1.0, 3.0, 3.0, 9.0]), 5)
    assert filled.tolist() == [0, 1, 3, 2]
    assert labels.tolist() == [0, 0, 0, 2]
    assert fill_empty_clusters(labels, np.zeros(4), 5).tolist() == [0, 0, 0, 2]


@pytest.mark.parametrize(
    ("rows", "n_clusters", "objective", "empty"),
    [
        ([[3.0, 4.0]], 1, 0, 0),
        ([[0.0], [1.0], [10.0], [11.0]], 2, 1, 0),
        ([[0.0], [2.0]], 1, 2, 0),
        ([[1.0, 2.0]] * 5, 3, 0, 2),
        ([[1.0, 7.0], [2.0, 7.0], [8.0, 7.0]], 3, 0, 0),
    ],
    ids=["one sample", "one feature", "one cluster", "duplicates", "a constant column, n = K"],
)
def test_small_inputs_have_their_obvious_answers(rows, n_clusters, objective, empty):
    clustering = best(k_means(rows, n_clusters, restarts=5))
    assert clustering.objective == objective
    assert clustering.empty_clusters == empty
    assert clustering.converged


def test_running_out_of_iterations_is_told():
    rows, _ = blobs(n_samples=400, spread=2.0)
    assert not k_means(rows, 9, restarts=1, max_iterations=1)[0].converged


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"n_clusters": 61}, "n_clusters"),
        ({"n_clusters": 0}, "n_clusters"),
        ({"restarts": 0}, "restarts"),
        ({"max_iterations": 0}, "max_iterations"),
        ({"seed": -1}, "seed"),
    ],
)
def test_impossible_requests_are_rejected_by_name(change, field):
    with pytest.raises(Rejected) as caught:
        k_means(blobs()[0], **({"n_clusters": 3} | change))
    assert caught.value.fields == (field,)


def test_best_takes_the_earliest_of_equals_and_rejects_nothing_to_choose_from():
    clusterings = k_means([[0.0], [1.0]], 2, restarts=3)
    assert best_restart(clusterings) == 0
    assert best(clusterings) is clusterings[0]
    with pytest.raises(Rejected, match="restart"):
        best([])


def test_spherical_k_means_ignores_the_length_of_rows():
    rows, _ = blobs(n_samples=100, spread=0.8)
    lengths = np.random.default_rng(1).choice([0.5, 1.0, 4.0], size=(100, 1))
    plain, scaled = spherical_k_means(rows, 4, restarts=2), spherical_k_means(rows * lengths, 4, restarts=2)
    assert [c.labels.tolist() for c in plain] == [c.labels.tolist() for c in scaled]


def test_spherical_centroids_are_the_unit_directions_of_their_rows_mean():
    rows, _ = blobs(spread=0.8)
    found = best(spherical_k_means(rows, 3))
    units = unit_rows(rows)
    np.testing.assert_allclose(found.centroids, unit_rows(naive.means(units, found.labels, found.centroids)), atol=1e-6)
    cosines = np.einsum("ij,ij->i", units, found.centroids[found.labels])
    assert found.objective == pytest.approx(2 * (1 - cosines).sum(), rel=1e-5)


def test_rows_that_cancel_out_leave_their_spherical_centroid_where_it_was():
    found = spherical_k_means([[1.0, 0.0], [-1.0, 0.0]], 1, restarts=1)[0]
    assert np.abs(found.centroids).tolist() == [[1, 0]]
    assert not spherical_k_means(np.zeros((3, 2)), 2, restarts=1)[0].labels.any()
