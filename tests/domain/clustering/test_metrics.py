import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics

from domain.clustering import (
    calinski_harabasz,
    coverage,
    davies_bouldin,
    dispersion,
    k_means,
    pairwise_ari,
    representatives,
    silhouette_cosine,
    silhouette_euclidean,
)
from domain.clustering.compactness import compactness
from domain.clustering.separation import separation
from domain.clustering.threads import at_most
from domain.errors import Rejected
from tests.domain.clustering import naive
from tests.domain.clustering.blobs import blobs

LABELLED_TABLES = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        arrays(np.float32, st.tuples(st.just(n), st.integers(1, 3)), elements=st.integers(-3, 3)),
        st.lists(st.integers(0, 4), min_size=n, max_size=n),
    )
)


def all_measured(rows, labels):
    """Everything that is measured, to the last bit."""
    return [
        float(number).hex()
        for number in (
            silhouette_cosine(rows, labels),
            silhouette_euclidean(rows, labels),
            calinski_harabasz(rows, labels),
            davies_bouldin(rows, labels),
            *pairwise_ari([labels, labels[::-1], np.sort(labels)]),
        )
    ]


def test_the_same_bits_come_back_with_any_number_of_threads():
    rows, labels = blobs(n_samples=70_000, n_features=3, n_clusters=12, spread=1.5)
    short = slice(0, 3000)
    with at_most(1):
        alone, little = all_measured(rows[short], labels[short]), calinski_harabasz(rows, labels)
    for threads in (2, 3, 1):
        with at_most(threads):
            assert all_measured(rows[short], labels[short]) == alone
            assert calinski_harabasz(rows, labels) == little


def test_dispersion_and_coverage_are_those_of_the_cosine_distances_to_the_own_centroid():
    rows, _ = blobs(spread=1.0)
    rows[0] = 0
    found = k_means(rows, 3, restarts=1)[0]
    distances = [
        naive.cosine_distance(row, found.centroids[label]) for row, label in zip(rows, found.labels, strict=True)
    ]
    assert dispersion(rows, found.labels, found.centroids) == pytest.approx(np.mean(distances), abs=1e-9)
    for threshold in (0.0, 0.2, 0.7, 2.0):
        covered = np.mean(np.asarray(distances) <= threshold)
        assert coverage(rows, found.labels, found.centroids, threshold) == covered
    assert coverage(rows, found.labels, found.centroids) == np.mean(np.asarray(distances) <= 0.2)


def test_what_is_measured_at_once_is_what_is_measured_alone():
    rows, classes = blobs(spread=1.0)
    found = k_means(rows, 3, restarts=1)[0]
    compact = compactness(rows, found.labels, found.centroids, 0.3)
    assert compact.dispersion == dispersion(rows, found.labels, found.centroids)
    assert compact.coverage == coverage(rows, found.labels, found.centroids, 0.3)
    for labels in (classes, np.arange(len(rows)), np.zeros(len(rows), dtype=int)):
        assert separation(rows, labels) == (calinski_harabasz(rows, labels), davies_bouldin(rows, labels))


@settings(deadline=None)
@given(LABELLED_TABLES)
def test_separation_is_what_exact_fractions_say_for_any_table(labelled):
    rows, labels = labelled
    for measured, slow in (
        (calinski_harabasz, naive.calinski_harabasz),
        (davies_bouldin, naive.davies_bouldin),
    ):
        expected = slow(rows, labels)
        assert measured(rows, labels) == (
            expected if expected is None else pytest.approx(expected, rel=1e-9, abs=1e-12)
        )


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_separation_agrees_with_scikit_learn_and_ignores_empty_ids(offset):
    rows, _ = blobs(n_samples=5000, n_features=7, spread=1.0)
    rows += np.float32(offset)
    labels = np.random.default_rng(0).integers(0, 40, 5000)
    labels[labels == 7] = 8
    labels[3] = 99
    doubles = rows.astype(np.float64)
    assert calinski_harabasz(rows, labels) == pytest.approx(metrics.calinski_harabasz_score(doubles, labels), rel=1e-6)
    assert davies_bouldin(rows, labels) == pytest.approx(metrics.davies_bouldin_score(doubles, labels), rel=1e-6)


def test_separation_of_degenerate_clusterings_is_defined():
    rows, _ = blobs()
    for one_cluster in (rows, np.zeros(60)), (rows[:1], [0]):
        assert calinski_harabasz(*one_cluster) is None
        assert davies_bouldin(*one_cluster) is None
    assert calinski_harabasz(rows, np.arange(60)) is None
    assert davies_bouldin(rows, np.arange(60)) == 0
    alike, halves = np.full((6, 3), 0.1), ["a", "a", "a", "b", "b", "b"]
    assert calinski_harabasz(alike, halves) == 1
    assert davies_bouldin(alike, halves) == 0
    for measured in (calinski_harabasz, davies_bouldin):
        with pytest.raises(Rejected, match="60"):
            measured(rows, [0, 1])
        with pytest.raises(Rejected, match="Row 0"):
            measured([[np.nan]], [0])


@pytest.mark.parametrize(
    "wrong",
    [
        {"labels": [0, 1]},
        {"labels": [0, 1, 3]},
        {"labels": [0, 1, -1]},
        {"labels": [0.0, 1.0, 2.0]},
        {"centroids": np.ones((3, 5))},
        {"threshold": 2.5},
    ],
)
def test_coverage_rejects_what_does_not_fit_together(wrong):
    fitting = {"vectors": np.ones((3, 4)), "labels": [0, 1, 2], "centroids": np.ones((3, 4))}
    assert coverage(**fitting) == 1
    with pytest.raises(Rejected):
        coverage(**(fitting | wrong))


def test_representatives_are_the_nearest_first_and_ties_the_lowest_index():
    rows = np.array([[3.0], [1.0], [-1.0], [9.0], [0.0], [10.0]])
    found = representatives(rows, [0, 0, 0, 1, 0, 1], [[0.0], [10.0], [50.0]], per_cluster=3)
    assert [indices.tolist() for indices in found] == [[4, 1, 2], [5, 3], []]


def test_representatives_agree_with_sorting_each_clusters_distances():
    rows, _ = blobs(n_samples=200, spread=1.0)
    found = k_means(rows, 5, restarts=1)[0]
    for cluster, indices in enumerate(representatives(rows, found.labels, found.centroids)):
        own = [row for row in range(200) if found.labels[row] == cluster]
        nearest = sorted(own, key=lambda row: naive.squared_distance(rows[row], found.centroids[cluster]))
        assert indices.tolist() == nearest[:5]
    with pytest.raises(Rejected, match="per_cluster"):
        representatives(rows, found.labels, found.centroids, per_cluster=0)
