from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist
from sklearn import metrics

from domain.clustering import (
    Stability,
    adjusted_rand_index,
    calinski_harabasz,
    clustering_accuracy,
    completeness,
    coverage,
    davies_bouldin,
    dispersion,
    homogeneity,
    k_means,
    normalized_mutual_information,
    pairwise_ari,
    representatives,
    silhouette_cosine,
    silhouette_euclidean,
    stability,
    v_measure,
)
from domain.clustering.compactness import compactness
from domain.clustering.separation import separation
from domain.clustering.stability import agreement
from domain.clustering.threads import at_most
from domain.errors import Rejected
from tests.domain.clustering import naive
from tests.domain.clustering.blobs import blobs

LABEL_PAIRS = st.integers(1, 30).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(0, 4), min_size=n, max_size=n)] * 2)
)
LABELLED_TABLES = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        arrays(np.float32, st.tuples(st.just(n), st.integers(1, 3)), elements=st.integers(-3, 3)),
        st.lists(st.integers(0, 4), min_size=n, max_size=n),
    )
)
AGREEMENTS = [
    adjusted_rand_index,
    normalized_mutual_information,
    clustering_accuracy,
    homogeneity,
    completeness,
    v_measure,
]
SILHOUETTES = [silhouette_cosine, silhouette_euclidean]


@settings(deadline=None)
@given(LABEL_PAIRS)
def test_agreement_is_what_counting_says(pair):
    first, second = pair
    assert adjusted_rand_index(first, second) == pytest.approx(naive.adjusted_rand_index(first, second), abs=1e-12)
    assert adjusted_rand_index(first, second) == pytest.approx(metrics.adjusted_rand_score(first, second), abs=1e-12)
    shared = normalized_mutual_information(first, second)
    assert shared == pytest.approx(naive.normalized_mutual_information(first, second), abs=1e-12)
    assert shared == pytest.approx(metrics.normalized_mutual_info_score(first, second), abs=1e-12)
    assert clustering_accuracy(first, second) == pytest.approx(naive.clustering_accuracy(first, second), abs=1e-12)


@settings(deadline=None)
@given(LABEL_PAIRS)
def test_all_that_is_told_of_classes_at_once_is_what_each_function_tells(pair):
    labels, classes = pair
    assert agreement(labels, classes) == (
        clustering_accuracy(labels, classes),
        adjusted_rand_index(classes, labels),
        normalized_mutual_information(classes, labels),
        homogeneity(labels, classes),
        completeness(labels, classes),
        v_measure(labels, classes),
    )


def test_noise_is_wrong_for_the_accuracy_and_a_cluster_for_the_others():
    classes = ["a", "a", "b", "b"]
    found = agreement([-1, 0, 1, 1], classes)
    assert found.accuracy == 0.75
    assert found.v_measure == pytest.approx(metrics.v_measure_score(classes, [2, 0, 1, 1]))
    assert agreement([-1, -1, -1, -1], classes) == (0.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@settings(deadline=None)
@given(LABEL_PAIRS, st.permutations(range(5)))
def test_agreement_does_not_depend_on_the_names_of_clusters(pair, names):
    first, second = pair
    renamed = [f"cluster {names[label]}" for label in first]
    for agree in AGREEMENTS:
        assert agree(renamed, second) == pytest.approx(agree(first, second), abs=1e-12)
        assert agree(renamed, first) == pytest.approx(1, abs=1e-12)


def test_the_rand_index_of_very_many_samples_does_not_overflow():
    first, second = np.arange(200_000) % 2, np.arange(200_000) // 2 % 2
    assert adjusted_rand_index(first, second) == pytest.approx(metrics.adjusted_rand_score(first, second), abs=1e-12)
    assert abs(adjusted_rand_index(first, second)) < 1e-4


@pytest.mark.parametrize("agree", AGREEMENTS)
def test_agreement_takes_any_whole_numbers_and_never_a_table_of_their_range(agree):
    first, second = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 2, 2])
    expected = agree(first, second)
    for left in (first - 7, first * 10**12, first.astype(np.uint64) + 2**63, first.astype(np.int8), first == 1):
        left.flags.writeable = False
        if left.dtype != bool:
            assert agree(left, second) == pytest.approx(expected, abs=1e-12)
        assert agree(left, left[::-1].copy()[::-1]) == 1


@pytest.mark.parametrize("agree", [each for each in AGREEMENTS if each is not clustering_accuracy])
def test_labelings_with_a_cluster_for_almost_every_sample_are_counted_without_a_table(agree):
    chance = np.random.default_rng(0)
    first, second = chance.permutation(50_000), chance.integers(0, 40_000, 50_000)
    first[:100] = 7
    assert 0 <= agree(first, second) < 1
    assert agree(first, chance.permutation(60_000)[first]) == pytest.approx(1, abs=1e-12)


def test_pairs_of_labelings_with_very_many_clusters_agree_as_one_by_one():
    labelings = np.random.default_rng(0).integers(0, 700, size=(3, 1000))
    indices = [metrics.adjusted_rand_score(labelings[i], labelings[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert pairwise_ari(list(labelings)) == pytest.approx((np.mean(indices), np.std(indices)), abs=1e-12)


@settings(deadline=None)
@given(
    st.integers(1, 12).flatmap(
        lambda n: st.lists(st.lists(st.integers(-2, 3), min_size=n, max_size=n), min_size=2, max_size=4)
    )
)
def test_stability_of_any_labelings_is_what_counting_pairs_says(labelings):
    indices = [naive.adjusted_rand_index(first, second) for first, second in combinations(labelings, 2)]
    assert pairwise_ari(labelings) == pytest.approx((np.mean(indices), np.std(indices)), abs=1e-12)


@pytest.mark.parametrize("agree", AGREEMENTS)
def test_labelings_of_other_lengths_or_of_nothing_are_rejected(agree):
    with pytest.raises(Rejected):
        agree([0, 1], [0, 1, 2])
    with pytest.raises(Rejected):
        agree([], [])


def test_stability_is_the_mean_and_deviation_over_all_pairs():
    labelings = [[0, 0, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1]]
    pairs = [naive.adjusted_rand_index(labelings[i], labelings[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert pairwise_ari(labelings) == pytest.approx((np.mean(pairs), np.std(pairs)), abs=1e-12)
    assert pairwise_ari(labelings[:1]) == Stability(None, None)
    assert stability(k_means(blobs(spread=0.01)[0], 3, restarts=3)) == Stability(1.0, 0.0)


@pytest.mark.parametrize(("measured", "metric"), [(silhouette_cosine, "cosine"), (silhouette_euclidean, "euclidean")])
def test_silhouettes_agree_with_the_slow_ones_and_with_scikit_learn(measured, metric):
    rows, _ = blobs(n_samples=70, spread=1.0)
    rows[3] = rows[4]
    rows[5] = 0
    labels = np.random.default_rng(0).integers(0, 4, 70)
    labels[10] = 9
    distance = naive.cosine_distance if metric == "cosine" else lambda a, b: naive.squared_distance(a, b) ** 0.5
    assert measured(rows, labels) == pytest.approx(naive.silhouette(rows, labels, distance), abs=1e-6)
    assert measured(rows, labels) == pytest.approx(metrics.silhouette_score(rows, labels, metric=metric), abs=1e-6)


@pytest.mark.parametrize(("measured", "metric"), [(silhouette_cosine, "cosine"), (silhouette_euclidean, "euclidean")])
def test_silhouettes_are_right_over_several_slices(measured, metric):
    rows, classes = blobs(n_samples=2500, n_clusters=5, spread=1.0)
    assert measured(rows, classes) == pytest.approx(metrics.silhouette_score(rows, classes, metric=metric), abs=1e-6)


@settings(deadline=None)
@given(LABELLED_TABLES)
def test_silhouettes_of_any_table_are_those_of_the_slow_ones(labelled):
    rows, labels = labelled
    if len(set(labels)) > 1:
        slow = naive.silhouette(rows, labels, naive.exact_cosine_distance)
        assert silhouette_cosine(rows, labels) == pytest.approx(slow, abs=1e-6)
        slow = naive.silhouette(rows, labels, lambda a, b: naive.squared_distance(a, b) ** 0.5)
        assert silhouette_euclidean(rows, labels) == pytest.approx(slow, abs=1e-6)


@pytest.mark.parametrize("closeness", [1e-2, 1e-4, 3e-7])
def test_cosine_silhouettes_are_right_where_one_minus_a_product_has_no_digits_left(closeness):
    chance = np.random.default_rng(1)
    centres = np.ones((3, 4)) + closeness * chance.normal(size=(3, 4))
    labels = np.arange(30) % 3
    rows = (centres[labels] + 0.3 * closeness * chance.normal(size=(30, 4))).astype(np.float32)
    slow = naive.silhouette(rows, labels, naive.exact_cosine_distance)
    assert silhouette_cosine(rows, labels) == pytest.approx(slow, abs=1e-6)


def badly_conditioned(kind):
    """(1300, 6) rows in 4 clusters, more than two tiles."""
    chance = np.random.default_rng(2)
    rows, labels = blobs(n_samples=1300, n_features=6, n_clusters=4, spread=0.5)
    if kind == "duplicates":
        rows = rows[chance.integers(0, 9, 1300)]
    elif kind == "far from the origin":
        rows = rows + np.float32(3000)
    elif kind == "narrow clusters far apart":
        rows = rows * np.float32(1e-3) + (1000 * labels[:, None]).astype(np.float32)
    elif kind == "narrow clumps across clusters":
        rows = rows * np.float32(1e-3) + (1000 * chance.integers(0, 3, (1300, 1))).astype(np.float32)
    elif kind == "very long":
        rows = rows * np.float32(1e30)
    elif kind == "very short":
        rows = rows * np.float32(1e-30)
    elif kind == "zeros among them":
        rows[::3] = 0
    return rows, labels


@pytest.mark.parametrize(
    "kind",
    [
        "duplicates",
        "far from the origin",
        "narrow clusters far apart",
        "narrow clumps across clusters",
        "very long",
        "very short",
        "zeros among them",
    ],
)
def test_silhouettes_are_right_on_badly_conditioned_rows(kind):
    rows, labels = badly_conditioned(kind)
    doubles = rows.astype(np.float64)
    values = metrics.silhouette_samples(cdist(doubles, doubles), labels, metric="precomputed")
    assert silhouette_euclidean(rows, labels) == pytest.approx(values.mean(), abs=1e-6)
    lengths = np.linalg.norm(doubles, axis=1, keepdims=True)
    units = doubles / np.where(lengths > 0, lengths, 1.0)
    cosine = cdist(units, units, "sqeuclidean") / 2
    zero = ~units.any(axis=1)
    cosine[zero], cosine[:, zero] = 1.0, 1.0
    np.fill_diagonal(cosine, 0.0)
    values = metrics.silhouette_samples(cosine, labels, metric="precomputed")
    assert silhouette_cosine(rows, labels) == pytest.approx(values.mean(), abs=1e-6)


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


@pytest.mark.parametrize("measured", SILHOUETTES)
def test_silhouettes_of_degenerate_clusterings_are_defined(measured):
    rows, classes = blobs()
    assert measured(rows, np.zeros(60)) is None
    assert measured(rows[:1], [0]) is None
    assert measured(rows, np.arange(60)) == 0
    assert measured(np.ones((6, 3)), [0, 0, 0, 1, 1, 1]) == pytest.approx(0, abs=1e-6)
    assert measured(rows, classes) == pytest.approx(measured(rows, [f"class {name}" for name in classes]), abs=1e-12)
    with pytest.raises(Rejected, match="60"):
        measured(rows, [0, 1])


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
@given(LABEL_PAIRS)
def test_homogeneity_and_completeness_are_what_the_entropies_say(pair):
    labels, classes = pair
    assert homogeneity(labels, classes) == pytest.approx(naive.homogeneity(labels, classes), abs=1e-9)
    assert completeness(labels, classes) == pytest.approx(naive.homogeneity(classes, labels), abs=1e-9)
    assert v_measure(labels, classes, 0.0) == pytest.approx(
        homogeneity(labels, classes) if completeness(labels, classes) > 0 else 0.0, abs=1e-9
    )
    for beta in (0.5, 1.0, 3.0):
        found = homogeneity(labels, classes), completeness(labels, classes), v_measure(labels, classes, beta)
        theirs = metrics.homogeneity_completeness_v_measure(classes, labels, beta=beta)
        assert found == pytest.approx(theirs, abs=1e-9)
    assert v_measure(labels, classes) == pytest.approx(normalized_mutual_information(labels, classes), abs=1e-9)


@pytest.mark.parametrize("beta", [-0.1, np.nan, np.inf])
def test_a_weight_of_completeness_that_is_none_is_rejected(beta):
    with pytest.raises(Rejected, match="beta"):
        v_measure([0, 1], [0, 1], beta)


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
