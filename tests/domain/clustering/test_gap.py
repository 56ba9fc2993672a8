"""The gap statistic and prediction strength: what naive ones measure, and the K that is there."""

from typing import NamedTuple

import numpy as np
import pytest

from domain.clustering import best, choose_k, gap_statistic, k_means, k_subspaces, prediction_strength
from domain.clustering.gap import ReferenceBox
from domain.clustering.prediction_strength import weakest_cluster
from domain.errors import Rejected
from tests.domain.clustering import naive
from tests.domain.clustering.blobs import blobs, planes


class Measured(NamedTuple):
    k: int
    objective: float
    gap: float | None = None
    gap_s: float | None = None
    prediction_strength: float | None = None
    silhouette: float | None = None
    stability_ari_mean: float | None = None


def into(k, restarts=3):
    return lambda rows: k_means(rows, k, restarts=restarts, seed=5)


def apart(k, n_samples=90, seed=0):
    """Rows around k centres, at most four, that lie well apart in a plane."""
    chance = np.random.default_rng(seed)
    centres = np.array([[0, 0], [9, 1], [2, 10], [12, 11]])
    return (centres[np.arange(n_samples) % k] + chance.normal(size=(n_samples, 2))).astype(np.float32)


def test_the_gap_is_what_clustering_references_one_by_one_says():
    rows, _ = blobs(n_samples=40, n_features=3, spread=1.0)
    clustering = best(into(3)(rows))
    found = gap_statistic(rows, clustering, into(3), references=4, seed=9)
    box = ReferenceBox(rows)
    logs = []
    for number in range(4):
        reference = box.draw(9, number)
        own = best(into(3)(reference))
        logs.append(np.log(naive.objective(reference, own.labels, own.centroids)))
    mean = sum(logs) / 4
    deviation = np.sqrt(sum((each - mean) ** 2 for each in logs) / 4)
    assert found.log_w == pytest.approx(np.log(naive.objective(rows, clustering.labels, clustering.centroids)))
    assert found.log_w_expected == pytest.approx(mean)
    assert found.gap == pytest.approx(mean - found.log_w)
    assert found.s == pytest.approx(deviation * np.sqrt(1.25))


def test_references_fill_the_box_along_the_principal_axes_and_no_more():
    chance = np.random.default_rng(0)
    turned = np.linalg.qr(chance.normal(size=(3, 3)))[0]
    rows = ((chance.uniform(size=(2500, 3)) * [10, 3, 0.5] + 7) @ turned).astype(np.float32)
    reference = ReferenceBox(rows).draw(0, 0)
    assert reference.shape == rows.shape
    mean = rows.mean(axis=0)
    axes = np.linalg.svd(rows - mean, full_matrices=False)[2]
    for axis in axes:
        own, drawn = (rows - mean) @ axis, (reference - mean) @ axis
        margin = 1e-4 * np.ptp(own)
        assert own.min() - margin <= drawn.min() <= own.min() + 0.05 * np.ptp(own)
        assert own.max() - 0.05 * np.ptp(own) <= drawn.max() <= own.max() + margin


def test_a_reference_depends_on_the_seed_and_its_number_alone():
    rows, _ = blobs()
    first = ReferenceBox(rows).draw(3, 1)
    assert np.array_equal(first, ReferenceBox(rows).draw(3, 1))
    assert not np.array_equal(first, ReferenceBox(rows).draw(3, 2))
    assert not np.array_equal(first, ReferenceBox(rows).draw(4, 1))


def test_rows_that_all_equal_their_centroids_have_no_gap():
    rows = np.repeat(np.eye(3, dtype=np.float32), 4, axis=0)
    found = gap_statistic(rows, best(into(3)(rows)), into(3), references=2)
    assert (found.gap, found.s, found.log_w) == (None, None, None)


def test_subspaces_are_measured_by_what_they_leave_over():
    rows, _ = planes(n_per_plane=15, n_planes=2)
    fit = lambda given: k_subspaces(given, 2, 2, restarts=2)  # noqa: E731 - as a sweep hands it over
    clustering = best(fit(rows))
    found = gap_statistic(rows, clustering, fit, references=2, distance="subspace")
    left = sum(naive.residual(row, clustering.bases[label]) for row, label in zip(rows, clustering.labels, strict=True))
    assert found.log_w == pytest.approx(np.log(left), rel=1e-4)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_the_gap_and_prediction_strength_find_the_clusters_that_are_there(k):
    rows = apart(k)
    steps = []
    for tried in range(1, 8):
        clustering = best(into(tried)(rows))
        gap = gap_statistic(rows, clustering, into(tried), references=5)
        strength = prediction_strength(rows, tried, into(tried), splits=3)
        steps.append(Measured(tried, clustering.objective, gap.gap, gap.s, strength.mean))
    assert choose_k(steps, "gap").k == k
    assert choose_k(steps, "prediction-strength").k == k


def test_rows_without_clusters_are_one():
    rows = np.random.default_rng(1).uniform(size=(120, 2)).astype(np.float32)
    steps = []
    for tried in range(1, 5):
        clustering = best(into(tried)(rows))
        gap = gap_statistic(rows, clustering, into(tried), references=8)
        steps.append(Measured(tried, clustering.objective, gap.gap, gap.s))
    assert choose_k(steps, "gap").k == 1


def test_the_weakest_cluster_is_found_by_counting_pairs():
    labels, predicted = [0, 0, 0, 1, 1, 1, 1, 2], [5, 5, 6, 7, 7, 7, 8, 5]
    fractions = []
    for cluster in (0, 1):
        members = [row for row in range(8) if labels[row] == cluster]
        pairs = [(a, b) for a in members for b in members if a != b]
        fractions.append(sum(predicted[a] == predicted[b] for a, b in pairs) / len(pairs))
    assert fractions == [1 / 3, 1 / 2]
    assert weakest_cluster(np.array(labels[:7]), np.array(predicted[:7])) == pytest.approx(1 / 3)
    assert weakest_cluster(np.array(labels), np.array(predicted)) == 0  # a row alone confirms nothing


def test_halves_with_fewer_rows_than_clusters_have_no_strength():
    rows, _ = blobs(n_samples=9)
    assert prediction_strength(rows, 5, into(5)) == (None, None)
    assert prediction_strength(rows, 1, into(1)) == (1.0, 0.0)


def test_nothing_to_compare_with_is_rejected():
    rows, _ = blobs()
    with pytest.raises(Rejected, match="references"):
        gap_statistic(rows, best(into(2)(rows)), into(2), references=0)
    with pytest.raises(Rejected, match="splits"):
        prediction_strength(rows, 2, into(2), splits=0)
