from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.datasets import Sampling, sample_id_of, sampled_rows, sampling_of
from domain.errors import Rejected

COLUMNS = {"text": [f"text {number}" for number in range(100)], "kind": ["ab"[number % 2] for number in range(100)]}
ID = UUID(int=1)


@given(rows=st.integers(1, 50), seed=st.integers(0, 2**63 - 1), kind=st.sampled_from([None, "a", "b"]))
def test_a_sample_is_distinct_fitting_rows_in_their_order_and_the_same_for_the_same_seed(rows, seed, kind) -> None:
    sampling = sampling_of(rows, seed, {} if kind is None else {"kind": kind})
    drawn = sampled_rows(COLUMNS, sampling)
    assert len(drawn) == rows
    assert drawn == sorted(set(drawn))
    assert all(kind is None or COLUMNS["kind"][row] == kind for row in drawn)
    assert drawn == sampled_rows(COLUMNS, sampling)


def test_a_seed_gives_these_rows_for_ever() -> None:
    assert sampled_rows(COLUMNS, sampling_of(5, 7, {})) == [57, 60, 67, 88, 90]
    assert sampled_rows(COLUMNS, sampling_of(None, None, {"kind": "b"})) == list(range(1, 100, 2))


def test_without_chance_there_is_no_seed_and_with_chance_there_is_one() -> None:
    assert sampling_of(None, 7, {"kind": "a"}) == Sampling(where={"kind": "a"})
    assert sampling_of(3, None, {}) == Sampling(rows=3, seed=0)


def test_parent_and_drawing_make_the_id() -> None:
    one = sampling_of(3, 1, {"kind": "a", "text": "b"})
    assert sample_id_of(ID, one) == sample_id_of(ID, sampling_of(3, 1, {"text": "b", "kind": "a"}))
    others = {sample_id_of(UUID(int=2), one), sample_id_of(ID, sampling_of(3, 2, {"kind": "a", "text": "b"}))}
    assert len(others | {sample_id_of(ID, one)}) == 3


def test_a_missing_value_counts_as_empty() -> None:
    assert sampled_rows({"kind": ["a", None, ""]}, sampling_of(None, None, {"kind": ""})) == [1, 2]


@pytest.mark.parametrize(
    ("rows", "seed", "where", "why"),
    [
        (None, None, {}, "Say which rows"),
        (0, None, {}, "at least one row"),
        (1, -1, {}, "A seed is 0"),
        (101, None, {}, "101 rows are wanted, and there are 100"),
        (60, None, {"kind": "a"}, "60 rows are wanted, and there are 50 where kind = 'a'"),
        (None, None, {"kind": "c"}, "there are 0 where kind = 'c'"),
        (1, None, {"color": "a"}, "no column 'color'; the columns are text, kind"),
    ],
)
def test_a_sample_that_can_not_be_drawn_is_rejected(rows, seed, where, why) -> None:
    with pytest.raises(Rejected, match=why):
        sampled_rows(COLUMNS, sampling_of(rows, seed, where))
