import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist
from sklearn import metrics

from domain.clustering import (
    silhouette_cosine,
    silhouette_euclidean,
)
from domain.errors import Rejected
from tests.domain.clustering import naive
from tests.domain.clustering.blobs import blobs

LABELLED_TABLES = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        arrays(np.float32, st.tuples(st.just(n), st.integers(1, 3)), elements=st.integers(-3, 3)),
        st.lists(st.integers(0, 4), min_size=n, max_size=n),
    )
)
SILHOUETTES = [silhouette_cosine, silhouette_euclidean]


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
