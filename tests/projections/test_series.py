"""Sums are told as people read them."""

from decimal import Decimal

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from domain.pricing import plain
from projections.points import DIGITS
from projections.series import decimals

AMOUNTS = st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**DIGITS - 1)), min_size=1)


@given(AMOUNTS)
def test_amounts_are_written_as_decimals_are(amounts):
    wholes, rests = np.array(amounts, np.int64).T
    exact = [Decimal(whole) + Decimal(rest).scaleb(-DIGITS) for whole, rest in amounts]
    assert decimals(wholes, rests) == list(map(plain, exact))


def test_noughts_are_left_out_behind_the_point_alone():
    wholes, rests = np.array([[0, 0], [100, 0], [20, 5 * 10**9], [7, 1]], np.int64).T
    assert decimals(wholes, rests) == ["0", "100", "20.5", "7.0000000001"]
