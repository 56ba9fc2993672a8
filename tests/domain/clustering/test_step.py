"""One step: what belongs together does, by the distance of its method, and noise has no part in what it isn't."""

import numpy as np
import pytest
from sklearn.metrics import calinski_harabasz_score, davies_bouldin_score, silhouette_score, v_measure_score
from sklearn.preprocessing import normalize

from domain.clustering import METHODS, best_restart, check_vectors, pca, unit_rows
from domain.clustering.choosing import check_asked, choose_step
from domain.clustering.clusterings import Clustering
from domain.clustering.measuring import measure
from domain.clustering.own_distance import nearest_clusters, nearest_rows, own_distances
from domain.clustering.step import prepare, run_step
from domain.errors import Rejected
from domain.sweeps import Choosing, Preparation, SweepConfig
from tests.domain.clustering import naive
from tests.domain.clustering.blobs import blobs, planes

BY_K = ("k-means", "spherical-k-means", "k-subspaces", "agglomerative", "spectral", "gaussian-mixture")


def config_of(method="k-means", **changes):
    return SweepConfig(**{"method": method, "k_values": (3,), "restarts": 4, "pca_dim": None, **changes})


def step(rows, k=3, true_labels=None, **changes):
    config = config_of(**changes)
    prepared = prepare(check_vectors(rows), config)
    return prepared.vectors, run_step(prepared, k, config, true_labels), config


def distance_of(method, row, clustering, cluster):
    if method == "k-subspaces":
        return naive.residual(row, clustering.bases[cluster])
    if method == "spherical-k-means":
        return naive.cosine_distance(row, clustering.centroids[cluster])
    return naive.squared_distance(row, clustering.centroids[cluster])


@pytest.mark.parametrize("method", BY_K)
def test_labels_centroids_objective_and_representatives_are_those_of_one_restart(method):
    # Rows of several lengths and far from well apart, so that restarts differ and so do the methods' distances.
    rows = blobs(n_samples=80, n_features=6, n_clusters=5, spread=1.0)[0] * np.linspace(0.2, 3, 80)[:, None]
    changes = {"method": method, "pca_dim": 4, "preparation": Preparation(unit_norm=False)}
    vectors, result, _ = step(rows, 5, **changes)
    restarts = METHODS[method].fit(vectors, 5, 4, 200, 0, {})
    number = best_restart(restarts)
    own = restarts[number]
    assert result.best_restart == number
    assert result.labels.tobytes() == own.labels.tobytes()
    assert result.centroids.tobytes() == own.centroids.tobytes()
    assert result.metrics.objective == own.objective == min(each.objective for each in restarts)
    for cluster, stand in enumerate(result.representatives):
        members = np.flatnonzero(own.labels == cluster)
        nearest = sorted(members, key=lambda row: (distance_of(method, vectors[row], own, cluster), row))
        assert [row for row in stand.tolist() if row >= 0] == [int(row) for row in nearest[:8]]


@pytest.mark.parametrize("method", ["k-means", "spherical-k-means", "k-subspaces"])
def test_the_nearest_cluster_of_clustered_rows_is_their_own(method):
    rows = unit_rows(planes()[0])
    clustering = METHODS[method].fit(rows, 3, 1, 100, 0, {})[0]
    distance = METHODS[method].distance
    assert nearest_clusters(rows, clustering, distance).tolist() == clustering.labels.tolist()
    measured = own_distances(rows, clustering, distance)
    for row in range(0, len(rows), 7):
        expected = distance_of(method, rows[row], clustering, clustering.labels[row])
        assert measured[row] == pytest.approx(expected, abs=1e-6)


def test_clusters_with_few_rows_have_few_representatives_and_ties_go_to_the_lowest_row():
    stand = nearest_rows(np.array([1.0, 0.5, 0.5, 0.0]), np.array([0, 0, 0, 2], dtype=np.int32), 3, 2)
    assert stand.tolist() == [[1, 2], [-1, -1], [3, -1]]


def test_further_numbers_are_those_of_scikit_learn_on_the_rows_that_were_clustered():
    rows, classes = blobs(n_samples=120, n_features=6, n_clusters=4, spread=0.8)
    changes = {"pca_dim": 3, "choosing": Choosing(also_measure=("silhouette-euclidean",))}
    vectors, result, _ = step(rows, 4, [f"class {each}" for each in classes], **changes)
    flat = result.metrics.flat()
    assert flat["silhouette_euclidean"] == pytest.approx(silhouette_score(vectors, result.labels), abs=1e-6)
    assert flat["calinski_harabasz"] == pytest.approx(calinski_harabasz_score(vectors, result.labels), rel=1e-5)
    assert flat["davies_bouldin"] == pytest.approx(davies_bouldin_score(vectors, result.labels), rel=1e-5)
    assert flat["v_measure"] == pytest.approx(v_measure_score(classes, result.labels))
    assert flat["noise"] == 0
    assert {name for name, value in flat.items() if value is None} == {
        "gap", "gap_s", "log_w", "log_w_expected", "prediction_strength", "prediction_strength_std", "bic"
    }  # fmt: skip


def test_rows_that_are_noise_have_no_part_in_what_clusters_are_like():
    rows, _ = blobs(n_samples=30, spread=0.2)
    labels = (np.arange(30) % 3).astype(np.int32)
    labels[20:] = -1
    inside = labels >= 0
    centroids = np.array([rows[labels == cluster].mean(axis=0) for cluster in range(3)], dtype=np.float32)
    chosen = Clustering(labels, centroids, 1.0, 1, True, 0)
    truth = [f"{row % 3}" for row in range(30)]
    config = config_of("hdbscan", k_values=(), coverage_threshold=2.0)
    found = measure(rows, [chosen], 0, chosen, config, METHODS["hdbscan"], truth)
    flat = found.metrics.flat()
    assert flat["noise"] == 10
    assert flat["silhouette"] == pytest.approx(
        silhouette_score(rows[inside], labels[inside], metric="cosine"), abs=1e-6
    )
    assert flat["calinski_harabasz"] == pytest.approx(calinski_harabasz_score(rows[inside], labels[inside]), rel=1e-5)
    assert flat["coverage"] == pytest.approx(20 / 30)  # all that are clustered are within 2
    assert flat["acc"] == pytest.approx(20 / 30)  # and all are right
    assert flat["v_measure"] == pytest.approx(v_measure_score(truth, labels))
    assert found.representatives.max() < 20


@pytest.mark.parametrize(
    ("preparation", "pca_dim", "expected"),
    [
        (Preparation(), None, normalize),
        (Preparation(), 2, lambda rows: pca(normalize(rows), 2).projected),
        (Preparation(unit_norm=False), None, lambda rows: rows),
        (Preparation(centre=True), None, lambda rows: normalize(rows) - normalize(rows).mean(axis=0)),
        (Preparation(centre=False), 2, lambda rows: pca(normalize(rows), 2, centre=False).projected),
        (Preparation(centre=False), None, normalize),
        (Preparation(unit_norm_after=True), 3, lambda rows: normalize(pca(normalize(rows), 3).projected)),
    ],
)
def test_rows_are_prepared_as_asked(preparation, pca_dim, expected):
    rows, _ = blobs()
    prepared = prepare(rows, config_of(preparation=preparation, pca_dim=pca_dim))
    np.testing.assert_allclose(prepared.vectors, expected(rows), atol=1e-5)
    assert prepared.vectors.dtype == np.float32
    assert prepared.vectors.flags.c_contiguous
    assert prepared.scatter.shape == (60, 2)


def test_what_a_rule_needs_is_measured_when_asked_and_is_the_same_again():
    rows, _ = blobs(n_samples=60, spread=0.2)
    choosing = Choosing(parameters={"references": 3, "restarts": 2}, also_measure=("prediction-strength",))
    first, again = [step(rows, choose_by="gap", choosing=choosing)[1].metrics for _ in range(2)]
    assert first == again
    assert first.internal.gap > 0
    assert first.internal.gap_s > 0
    assert 0 <= first.internal.prediction_strength <= 1
    assert step(rows)[1].metrics.internal.gap is None


def test_a_sweep_chooses_by_its_rule_with_its_parameters():
    rows, _ = blobs(n_samples=90, n_clusters=3, spread=0.05)
    config = config_of(choose_by="stability", k_values=(2, 3, 4), choosing=Choosing(parameters={"stable_ari": 1.0}))
    prepared = prepare(rows, config)
    steps = [run_step(prepared, k, config, None).metrics for k in config.k_values]
    chosen = choose_step(steps, config, METHODS["k-means"])
    assert (chosen.k, chosen.rule) == (3, "stability")
    assert "at least 1.00" in chosen.explanation


def test_what_finds_the_number_of_clusters_itself_chooses_none():
    rows, _ = blobs(n_samples=60, spread=0.05)
    _, result, config = step(rows, 0, method="hdbscan", k_values=())
    chosen = choose_step([result.metrics], config, METHODS["hdbscan"])
    assert (chosen.k, chosen.rule) == (3, "hdbscan")
    assert chosen.explanation == "hdbscan found K=3 clusters; 0 rows belong to none (noise)."
    assert result.metrics.stability_ari_mean is None


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"choose_by": "elbow"}, "choose_by"),
        ({"choose_by": "gap", "choosing": Choosing(parameters={"draws": 3})}, "draws"),
        ({"choosing": Choosing(also_measure=("elbow",))}, "choose_by"),
        ({"choose_by": "stability", "restarts": 1}, "restarts"),
        ({"choose_by": "stability", "method": "agglomerative"}, "choose_by"),
        ({"choose_by": "bic"}, "choose_by"),
        ({"method": "hdbscan"}, "k_min"),
        ({"method": "hdbscan", "k_values": (), "choose_by": "gap"}, "choose_by"),
        ({"k_values": ()}, "k_min"),
        ({"parameters": {"rank": 2}}, "rank"),
    ],
)
def test_what_cannot_be_done_is_rejected_before_anything_is_computed(changes, field):
    config = config_of(**changes)
    with pytest.raises(Rejected) as caught:
        check_asked(config, METHODS[config.method])
    assert field in caught.value.fields
