import numpy as np
import pytest
from scipy.linalg import eigh
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.preprocessing import normalize

from domain.clustering import (
    best,
    calinski_harabasz,
    check_vectors,
    davies_bouldin,
    k_subspaces,
    mean_pool,
    pca,
    silhouette_cosine,
    silhouette_euclidean,
    unit_rows,
)
from domain.clustering.directions import check_found
from domain.clustering.threads import at_most, in_parts
from domain.errors import Rejected
from tests.domain.clustering.blobs import blobs


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_a_row_that_is_not_finite_in_float32_is_rejected_by_its_number(bad):
    rows = np.ones((3000, 2))
    rows[2500, 1] = bad
    with pytest.raises(Rejected, match="Row 2500 of vectors") as caught:
        check_vectors(rows)
    assert caught.value.fields == ("vectors",)


@pytest.mark.parametrize(
    "wrong",
    [np.ones(3), np.ones((2, 2, 2)), np.ones((0, 4)), np.ones((4, 0)), np.array([["a"]]), np.array([[1j]])],
    ids=["one dimension", "three dimensions", "no rows", "no columns", "text", "complex"],
)
def test_what_is_not_a_table_of_real_numbers_is_rejected(wrong):
    with pytest.raises(Rejected):
        check_vectors(wrong)


def test_checked_vectors_are_contiguous_float32():
    rows = check_vectors(np.arange(12).reshape(3, 4).T)
    assert rows.dtype == np.float32
    assert rows.flags.c_contiguous
    assert rows.shape == (4, 3)


def test_unit_rows_have_length_one_and_zero_rows_stay_zero():
    rows, _ = blobs()
    rows[7] = 0
    units = unit_rows(rows)
    np.testing.assert_allclose(units, normalize(rows), atol=1e-6)
    assert not units[7].any()


def test_unit_rows_are_right_for_very_long_and_very_short_rows():
    units = unit_rows(np.array([[3e37, 4e37], [3e-30, 4e-30]]))
    np.testing.assert_allclose(units, [[0.6, 0.8], [0.6, 0.8]], rtol=1e-6)


def test_mean_pool_leaves_masked_tokens_out_whatever_they_hold():
    tokens = np.array([[[1, 2], [3, 4], [np.nan, np.inf]], [[5, 6], [7, 8], [9, 10]]], dtype=np.float32)
    pooled = mean_pool(tokens, [[1, 1, 0], [1, 1, 1]])
    assert pooled.tolist() == [[2, 3], [7, 8]]
    assert pooled.dtype == np.float32
    assert mean_pool(tokens[0], [True, False, False]).tolist() == [1, 2]
    assert mean_pool(tokens[1]).tolist() == [7, 8]


def test_mean_pool_rejects_a_text_without_tokens_and_shapes_that_disagree():
    with pytest.raises(Rejected, match="Text 1 "):
        mean_pool(np.ones((2, 3, 4)), [[1, 0, 0], [0, 0, 0]])
    with pytest.raises(Rejected, match="mask"):
        mean_pool(np.ones((2, 3, 4)), [1, 0, 0])
    with pytest.raises(Rejected, match="token_vectors"):
        mean_pool(np.ones(3))
    with pytest.raises(Rejected, match="Row 0"):
        mean_pool(np.full((2, 3), np.nan))


@pytest.mark.parametrize("shape", [(60, 5), (12, 30), (3000, 7)])
def test_pca_agrees_with_scikit_learn_but_for_signs(shape):
    rows, _ = blobs(*shape, n_clusters=4)
    mine = pca(rows, 4)
    theirs = PCA(4, svd_solver="full").fit(rows.astype(np.float64))
    signs = np.sign((mine.components * theirs.components_).sum(axis=1))
    np.testing.assert_allclose(mine.components, theirs.components_ * signs[:, None], atol=1e-7)
    np.testing.assert_allclose(mine.projected, theirs.transform(rows.astype(np.float64)) * signs, atol=1e-5)
    np.testing.assert_allclose(mine.explained_variance_ratio, theirs.explained_variance_ratio_, atol=1e-10)
    np.testing.assert_allclose(mine.mean, theirs.mean_, atol=1e-10)
    assert mine.projected.dtype == np.float32


@pytest.mark.parametrize("shape", [(60, 5), (12, 30), (5000, 300)])
def test_singular_values_and_variances_agree_with_scikit_learn(shape):
    rows, _ = blobs(*shape, n_clusters=4)
    rows *= np.logspace(0, -3, shape[1]).astype(np.float32)
    mine = pca(rows, 4)
    theirs = PCA(4, svd_solver="full").fit(rows.astype(np.float64))
    np.testing.assert_allclose(mine.singular_values, theirs.singular_values_, rtol=1e-9)
    np.testing.assert_allclose(mine.explained_variance, theirs.explained_variance_, rtol=1e-9)
    assert pca(rows[:1], 1).explained_variance.tolist() == [0]


def test_rows_brought_to_unit_length_on_the_way_project_as_those_brought_there_before():
    rows, _ = blobs(n_samples=5000, n_features=9)
    rows[7] = 0
    on_the_way, before = pca(rows, 3, unit=True), pca(unit_rows(rows), 3)
    assert on_the_way.projected.tobytes() == before.projected.tobytes()
    assert on_the_way.components.tobytes() == before.components.tobytes()


def test_projections_are_the_same_bits_for_any_number_of_threads():
    rows, _ = blobs(n_samples=70_000, n_features=3)
    wide, _ = blobs(n_samples=3000, n_features=600)
    found = set()
    for threads in (1, 2, 3, 1):
        with at_most(threads):
            found.add(b"".join(pca(each, 3).projected.tobytes() for each in (rows, wide)) + unit_rows(wide).tobytes())
    assert len(found) == 1


@pytest.mark.parametrize(("size", "count"), [(1, 1), (2, 2), (9, 3), (64, 2), (64, 64), (150, 7)])
def test_eigenvectors_are_those_of_scipy_whatever_other_threads_find_at_the_same_time(size, count):
    from domain.clustering.eigenvectors import dsyevr, find_leading

    rows = np.random.default_rng(size).normal(size=(40, 2 * size, size))

    def find(table):
        values, vectors = np.empty(count), np.empty((count, size))
        assert find_leading(dsyevr(), table.T @ table, values, vectors) == count
        return values, vectors

    with at_most(6):
        found = in_parts(find, [*rows, *rows])
    for table, (values, vectors) in zip([*rows, *rows], found, strict=True):
        theirs, _ = eigh(table.T @ table)
        np.testing.assert_allclose(values, theirs[::-1][:count], rtol=1e-9)
        np.testing.assert_allclose(vectors @ vectors.T, np.eye(count), atol=1e-12)
        np.testing.assert_allclose(vectors @ table.T @ table, values[:, None] * vectors, atol=1e-9 * values[0])


def test_what_lapack_cannot_solve_is_told():
    from domain.clustering.eigenvectors import dsyevr, find_leading

    assert find_leading(dsyevr(), np.full((3, 3), np.nan), np.empty(1), np.empty((1, 3))) in (-1, 0)
    with pytest.raises(Rejected, match="scale the vectors down"):
        check_found(False)


def test_vectors_that_may_not_be_written_to_are_taken_as_they_are():
    rows, classes = blobs(n_samples=200)
    rows.flags.writeable = classes.flags.writeable = False
    assert pca(rows, 2).projected.shape == (200, 2)
    assert best(k_subspaces(rows, 3)).labels.shape == (200,)
    for measured in (silhouette_cosine, silhouette_euclidean, calinski_harabasz, davies_bouldin):
        assert measured(rows, classes) > 0


def test_pca_without_centring_agrees_with_a_truncated_svd():
    rows, _ = blobs()
    mine = pca(rows, 2, centre=False)
    theirs = TruncatedSVD(2, algorithm="arpack", random_state=0).fit(rows.astype(np.float64))
    np.testing.assert_allclose(np.abs(mine.components), np.abs(theirs.components_), atol=1e-7)
    assert not mine.mean.any()


def test_every_component_has_its_largest_loading_positive():
    components = pca(blobs()[0], 5).components
    assert (components[np.arange(5), np.abs(components).argmax(axis=1)] > 0).all()


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (1, 3), (5, 1), (1, 1)])
def test_components_beyond_the_smaller_side_are_clipped_and_all_are_orthonormal(shape):
    rows = np.random.default_rng(0).normal(size=shape)
    projection = pca(rows, 100)
    rank = min(shape)
    assert projection.projected.shape == (shape[0], rank)
    assert projection.components.shape == (rank, shape[1])
    np.testing.assert_allclose(projection.components @ projection.components.T, np.eye(rank), atol=1e-12)
    np.testing.assert_allclose(projection.mean + projection.projected @ projection.components, rows, atol=1e-5)


def test_constant_data_project_to_zeros():
    projection = pca(np.full((50, 3), 0.1), 2)
    assert not projection.projected.any()
    assert projection.explained_variance_ratio.tolist() == [0, 0]


def test_a_constant_column_has_no_weight():
    rows, _ = blobs()
    rows[:, 2] = 0.1
    assert np.abs(pca(rows, 4).components[:, 2]).max() < 1e-12


def test_no_components_are_rejected():
    with pytest.raises(Rejected, match="n_components"):
        pca(np.ones((3, 3)), 0)
