"""The nearest texts, against a slow and obvious way to find them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Rejected
from domain.nearest import PLACE, NearestTexts, cosines


def naive(query, vectors, places, limit):
    """Every vector with a direction, by float64 cosine; of a text the first; the first `limit`."""
    query = np.asarray(query, dtype=np.float64)
    rows = []
    for vector, place in zip(vectors.astype(np.float64), places, strict=True):
        length = np.sqrt((vector * vector).sum())
        if length > 0 and np.isfinite(length):
            similarity = (vector * (query / np.sqrt((query * query).sum()))).sum() / length
            rows.append(
                (-round(float(similarity), 12), int(place["position"]), int(place["input_index"]), bytes(place["text"]))
            )
    found, seen = [], set()
    for row in sorted(rows):
        if row[3] not in seen:
            seen.add(row[3])
            found.append((-row[0], row[1], row[2]))
    return found[:limit]


@given(seed=st.integers(0, 1000), limit=st.integers(1, 30), cuts=st.lists(st.integers(0, 200), max_size=6))
def test_in_any_blocks_the_nearest_are_those_of_looking_at_all(seed, limit, cuts):
    rng = np.random.default_rng(seed)
    vectors = np.round(rng.standard_normal((200, 3))).astype(np.float32)  # many are equal, some are zero
    vectors[rng.integers(0, 200, 3)] *= 1e25
    vectors[rng.integers(0, 200, 3)] *= 1e-25
    places = np.zeros(200, dtype=PLACE)
    places["position"] = rng.permutation(200) // 4
    places["input_index"] = np.arange(200)
    places["text"] = [b"%32d" % number for number in rng.integers(0, 120, 200)]
    nearest = NearestTexts([1.0, 2.0, -1.0], limit)
    order = rng.permutation(200)
    for rows in np.split(order, sorted(cuts)):
        nearest.offer(vectors[rows], places[rows])
    found = [(near.similarity, near.position, near.input_index) for near in nearest.found()]
    expected = naive([1.0, 2.0, -1.0], vectors, places, limit)
    assert [place[1:] for place in found] == [place[1:] for place in expected]
    assert [place[0] for place in found] == pytest.approx([place[0] for place in expected], abs=1e-12)


def test_a_vectors_similarity_does_not_depend_on_those_beside_it():
    rng = np.random.default_rng(0)
    vectors, query = rng.standard_normal((300, 384)).astype(np.float32), rng.standard_normal(384)
    together = cosines(vectors, query)
    assert [cosines(vectors[row : row + 1], query)[0] for row in range(300)] == together.tolist()


def test_vectors_of_unknown_texts_are_told_apart_by_where_they_lie():
    places = np.zeros(3, dtype=PLACE)
    places["input_index"] = [0, 1, 1]
    nearest = NearestTexts([1.0, 0.0], 5)
    nearest.offer(np.ones((3, 2), dtype=np.float32), places)
    assert [near.input_index for near in nearest.found()] == [0, 1]


@pytest.mark.parametrize("query", [[0.0, 0.0], [np.nan, 1.0], [np.inf, 0.0], [[1.0, 0.0]]])
def test_a_query_without_direction_is_refused(query):
    with pytest.raises(Rejected):
        NearestTexts(np.asarray(query), 5)


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_limit_out_of_bounds_is_refused(limit):
    with pytest.raises(Rejected, match="1 to 1000"):
        NearestTexts([1.0], limit)
