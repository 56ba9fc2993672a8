"""Hierarchies, graphs, mixtures, dense regions: what scikit-learn finds, in the shape of all methods."""

import warnings

import numpy as np
import pytest
from sklearn.cluster import HDBSCAN, AgglomerativeClustering
from sklearn.datasets import make_moons
from sklearn.mixture import GaussianMixture

from domain.clustering import METHODS, adjusted_rand_index, agglomerate, best, gaussian_mixture, spectral
from domain.clustering.clusterings import cluster_means
from domain.errors import Rejected
from tests.domain.clustering import naive
from tests.domain.clustering.blobs import blobs, fingerprint

FURTHER = ("agglomerative", "spectral", "gaussian-mixture", "hdbscan")


def fit(name, rows, k=3, restarts=2, seed=0, **parameters):
    return METHODS[name].fit(rows, k, restarts, 100, seed, parameters)


@pytest.mark.parametrize("name", FURTHER)
def test_every_method_has_the_shape_of_all_and_the_same_bits_for_the_same_seed(name):
    rows, classes = blobs(n_samples=90, spread=0.1)
    found = fit(name, rows)
    assert len(found) == (2 if METHODS[name].by_chance else 1)
    for clustering in found:
        assert (clustering.labels.dtype, clustering.centroids.dtype) == (np.int32, np.float32)
        assert clustering.centroids.shape == (3, 5)
        assert np.isfinite(clustering.objective)
        assert clustering.empty_clusters == 0
        means = naive.means(rows, clustering.labels, clustering.centroids)
        np.testing.assert_allclose(clustering.centroids, means, rtol=1e-5)
    assert adjusted_rand_index(best(found).labels, classes) == 1.0
    assert fingerprint(found) == fingerprint(fit(name, rows))


@pytest.mark.parametrize("name", [name for name in FURTHER if not METHODS[name].finds_k])
@pytest.mark.parametrize("k", [1, 2, 6])
def test_few_rows_and_equal_rows_have_an_answer(name, k):
    for rows in (np.arange(12, dtype=np.float32).reshape(6, 2), np.ones((6, 3), dtype=np.float32)):
        for clustering in fit(name, rows, k):
            assert clustering.labels.min() >= 0
            assert clustering.labels.max() < k
            assert np.isfinite(clustering.centroids).all()
            assert clustering.empty_clusters == k - len(np.unique(clustering.labels))


@pytest.mark.parametrize("linkage", ["ward", "complete", "average"])
@pytest.mark.parametrize("k", [1, 2, 5, 17, 80])
def test_the_tree_is_cut_where_scikit_learn_cuts_it(linkage, k):
    rows, _ = blobs(n_samples=80, spread=1.0)
    mine = agglomerate(rows, k, linkage=linkage)
    theirs = AgglomerativeClustering(k, linkage=linkage).fit_predict(rows.astype(np.float64))
    assert adjusted_rand_index(mine.labels, theirs) == 1.0
    assert len(np.unique(mine.labels)) == k
    assert mine.labels[0] == 0
    assert mine.objective == pytest.approx(naive.objective(rows, mine.labels, mine.centroids), rel=1e-6, abs=1e-9)


def test_more_rows_than_can_be_compared_in_pairs_are_rejected_with_what_to_do():
    with pytest.raises(Rejected, match=r"at most 15,000 rows, not 15,001; cluster a sample"):
        agglomerate(np.zeros((15_001, 1)), 2)


def test_the_graph_of_neighbours_tells_clusters_of_any_shape_apart():
    moons, classes = make_moons(300, noise=0.05, random_state=0)
    assert adjusted_rand_index(best(fit("spectral", moons, 2)).labels, classes) == 1.0
    assert adjusted_rand_index(best(fit("k-means", moons, 2)).labels, classes) < 0.6


@pytest.mark.parametrize("k", [2, 4, 5])
def test_a_graph_in_parts_is_cut_between_them(k):
    rows = np.repeat(np.eye(4) * 100, 250, axis=0) + np.random.default_rng(0).normal(size=(1000, 4))
    parts = np.repeat(np.arange(4), 250)
    found = best(spectral(rows, k, restarts=5)).labels
    if k == 4:
        assert adjusted_rand_index(found, parts) == 1.0
    assert all(k < 4 or len(set(parts[found == cluster])) == 1 for cluster in range(k))


def test_a_mixture_is_no_worse_than_scikit_learns_and_has_its_criterion():
    rows, _ = blobs(n_samples=200, spread=0.5)
    mine = best(gaussian_mixture(rows, 3, restarts=3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = GaussianMixture(3, covariance_type="diag", n_init=3, random_state=0).fit(rows.astype(np.float64))
    assert mine.objective <= -theirs.score(rows.astype(np.float64)) * len(rows) + 0.5
    free = 2 + 3 * 5 + 3 * 5  # weights, means, variances
    assert mine.bic == pytest.approx(2 * mine.objective + free * np.log(200))


@pytest.mark.parametrize("covariance", ["full", "tied", "diag", "spherical"])
def test_every_shape_of_a_mixture_finds_clusters_far_apart(covariance):
    rows, classes = blobs(n_samples=90, spread=0.1)
    assert adjusted_rand_index(best(fit("gaussian-mixture", rows, covariance=covariance)).labels, classes) == 1.0


def test_the_criterion_chooses_the_mixture_that_is_there():
    rows, _ = blobs(n_samples=150, n_clusters=4, spread=0.1, seed=2)
    bics = {k: best(fit("gaussian-mixture", rows, k)).bic for k in range(2, 7)}
    assert min(bics, key=bics.get) == 4


def test_dense_regions_are_those_of_scikit_learn_and_the_rest_is_noise():
    chance = np.random.default_rng(0)
    rows = np.concatenate(
        [chance.normal(0, 0.1, (40, 2)), chance.normal(5, 0.1, (30, 2)), chance.uniform(-20, 20, (9, 2))]
    )
    (found,) = fit("hdbscan", rows, min_cluster_size=10)
    theirs = HDBSCAN(min_cluster_size=10, copy=True).fit_predict(rows.astype(np.float32).astype(np.float64))
    assert np.array_equal(found.labels < 0, theirs < 0)
    assert adjusted_rand_index(found.labels, theirs) == 1.0
    assert len(found.centroids) == 2
    assert found.labels[0] == 0
    assert (found.labels == -1).sum() >= 5
    means, objective = cluster_means(rows.astype(np.float32), found.labels, 2)
    np.testing.assert_allclose(
        means, [rows[found.labels == 0].mean(axis=0), rows[found.labels == 1].mean(axis=0)], rtol=1e-5
    )
    assert objective == found.objective


def test_where_everything_is_noise_there_is_no_clustering():
    rows = np.random.default_rng(0).uniform(size=(12, 3))
    with pytest.raises(Rejected, match=r"no cluster of 12 or more rows: all 12 are noise") as caught:
        fit("hdbscan", rows, min_cluster_size=12)
    assert "min_cluster_size" in caught.value.fields
    with pytest.raises(Rejected, match="min_samples"):
        fit("hdbscan", rows, min_cluster_size=2, min_samples=13)
