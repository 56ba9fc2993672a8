"""The pure parts of k-llmmeans: what is drawn, and where k-means goes from there."""

import numpy as np
import pytest

from domain.clustering import k_means, spherical_k_means
from domain.clustering.llm_means import (
    draw,
    go_on_from_rows,
    go_on_from_summaries,
    medoids,
    run_round,
    sample_members,
)
from domain.clustering.step import placed, prepare
from domain.errors import Rejected
from domain.sweeps import SweepConfig
from tests.domain.clustering import naive
from tests.domain.clustering.blobs import blobs, fingerprint


def config(**parameters):
    return SweepConfig(method="k-llmmeans", k_values=(3,), pca_dim=3, parameters=parameters)


def clustered(n_clusters=4, seed=0):
    rows, _ = blobs(n_samples=60, n_features=4, n_clusters=4, seed=seed)
    return rows, k_means(rows, n_clusters, restarts=1, seed=seed)[0]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("most", [1, 2, 5, 100])
def test_what_is_drawn_is_what_k_means_plus_plus_draws(seed, most):
    rows, found = clustered(seed=seed)
    streams = [np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(4, 2, cluster))) for cluster in range(4)]
    expected = naive.unlike_members(
        rows, found.labels, found.centroids, most, lambda cluster: streams[cluster].random()
    )
    drawn = sample_members(rows, found.labels, found.centroids, most, seed=seed, round_number=2)
    assert [list(sample) for sample in drawn] == expected
    assert medoids(rows, drawn) == [naive.medoid(rows, sample) for sample in expected]


def test_a_sample_holds_each_row_once_its_clusters_own_and_at_most_so_many():
    rows, found = clustered()
    drawn = sample_members(rows, found.labels, found.centroids, 5, seed=1, round_number=1)
    for cluster, sample in enumerate(drawn):
        assert len(sample) == len(set(sample)) == 5
        assert (found.labels[sample] == cluster).all()
    everything = sample_members(rows, found.labels, found.centroids, 1000, seed=1, round_number=1)
    assert sorted(np.concatenate(everything)) == list(range(60))


def test_another_round_draws_others_and_another_cluster_changes_nothing():
    rows, found = clustered()
    one, other = (sample_members(rows, found.labels, found.centroids, 5, seed=1, round_number=n) for n in (1, 2))
    assert [list(sample) for sample in one] != [list(sample) for sample in other]
    moved = rows.copy()
    moved[found.labels == 0] += 0.25
    again = sample_members(moved, found.labels, found.centroids, 5, seed=1, round_number=1)
    assert [list(sample) for sample in again[1:]] == [list(sample) for sample in one[1:]]


def test_equal_rows_are_drawn_once_and_an_empty_cluster_has_nothing_to_draw():
    rows = np.array([[1, 0]] * 5 + [[0, 1]], dtype=np.float32)
    drawn = sample_members(rows, [0] * 6, [[1, 0], [9, 9]], 4, seed=0, round_number=1)
    assert [list(sample) for sample in drawn] == [[0, 5], []]
    assert medoids(rows, drawn) == [0, None]
    with pytest.raises(Rejected, match="at least 1 text"):
        sample_members(rows, [0] * 6, [[1, 0], [9, 9]], 0, seed=0, round_number=1)


@pytest.mark.parametrize("seed", range(4))
def test_a_round_is_lloyd_from_the_replaced_centroids(seed):
    rows, found = clustered(seed=seed)
    replacement = rows[[7]]
    start = found.centroids.copy()
    start[2] = rows[7]
    labels, centroids = naive.lloyd(rows, start)
    after = run_round(rows, found.centroids, [2], replacement, 100)
    assert list(after.labels) == labels
    np.testing.assert_allclose(after.centroids, centroids, rtol=1e-6)
    assert after.converged
    assert after.objective == pytest.approx(naive.objective(rows, after.labels, after.centroids))


def test_where_nothing_is_replaced_k_means_stands_still():
    rows, found = clustered()
    after = run_round(rows, found.centroids, [], rows[:0], 100)
    assert fingerprint([after]) == fingerprint([found])
    directions = spherical_k_means(rows, 4, restarts=1)[0]
    after = run_round(rows, directions.centroids, [], rows[:0], 100, spherical=True)
    assert fingerprint([after]) == fingerprint([directions])


def test_a_bounded_round_labels_by_the_centroids_it_returns():
    rows, found = clustered()
    after = run_round(rows, found.centroids, [0, 1, 2, 3], rows[:4], 1)
    assert (after.iterations, after.converged) == (1, False)
    assert list(after.labels) == naive.nearest(rows, after.centroids)


def test_a_round_of_directions_has_centroids_of_unit_length():
    rows, found = clustered()
    after = run_round(rows, found.centroids, [1], 5 * rows[[3]], 50, spherical=True)
    np.testing.assert_allclose(np.linalg.norm(after.centroids, axis=1), 1, rtol=1e-6)


def test_other_vectors_are_placed_where_equal_rows_lie():
    rows, _ = blobs(n_samples=30, n_features=5)
    for pca_dim in (3, None):
        how = SweepConfig(method="k-means", k_values=(3,), pca_dim=pca_dim)
        prepared = prepare(rows, how)
        np.testing.assert_allclose(placed(prepared, 3 * rows[:4], how), prepared.vectors[:4], atol=1e-6)


def test_along_components_without_spread_others_have_no_place():
    flat = np.zeros((10, 4), dtype=np.float32)
    flat[:, 0], flat[::2, 1] = 1, 1
    how = SweepConfig(method="k-means", k_values=(2,), pca_dim=3)
    found = placed(prepare(flat, how), np.array([[0, 0, 1, 0]], dtype=np.float32), how)
    assert found[0, 0] != 0
    assert (found[0, 1:] == 0).all()


def test_going_on_from_a_rows_vector_is_going_on_from_the_row():
    rows, _ = blobs(n_samples=60, n_features=5)
    how = config(iterations=4)
    prepared = prepare(rows, how)
    start = k_means(prepared.vectors, 3, restarts=1)[0]
    by_row = go_on_from_rows(prepared, start.centroids, [0, 2], [5, 9], how)
    by_vector = go_on_from_summaries(prepared, start.centroids, [0, 2], rows[[5, 9]], how)
    assert list(by_row.labels) == list(by_vector.labels)
    np.testing.assert_allclose(by_row.centroids, by_vector.centroids, atol=1e-6)
    nothing = go_on_from_summaries(prepared, start.centroids, [], rows[:0], how)
    assert fingerprint([nothing]) == fingerprint([start])


def test_the_same_seed_draws_the_same_and_the_sample_is_as_large_as_was_said():
    rows, _ = blobs(n_samples=60, n_features=5)
    for spherical in (False, True):
        how = config(sample=4, spherical=spherical)
        prepared = prepare(rows, how)
        start = k_means(prepared.vectors, 3, restarts=1)[0]
        one, other = (draw(prepared, start.labels, start.centroids, how, 1) for _ in range(2))
        assert [list(sample) for sample in one.samples] == [list(sample) for sample in other.samples]
        assert all(len(sample) == 4 for sample in one.samples)
        assert all(row in sample for row, sample in zip(one.medoids, one.samples, strict=True))
