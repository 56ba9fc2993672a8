from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from domain.clustering import (
    Stability,
    adjusted_rand_index,
    clustering_accuracy,
    completeness,
    homogeneity,
    k_means,
    normalized_mutual_information,
    pairwise_ari,
    stability,
    v_measure,
)
from domain.clustering.stability import agreement
from domain.errors import Rejected
from tests.domain.clustering import naive
from tests.domain.clustering.blobs import blobs

LABEL_PAIRS = st.integers(1, 30).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(0, 4), min_size=n, max_size=n)] * 2)
)
AGREEMENTS = [
    adjusted_rand_index,
    normalized_mutual_information,
    clustering_accuracy,
    homogeneity,
    completeness,
    v_measure,
]


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
