from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.pricing import Price, PriceTable, Usage, cost_of, plain, total_of

AMOUNTS = st.decimals(0, 1000, places=4)
COUNTS = st.integers(0, 10**9)
MINI = Price(provider="openai", model="gpt-4o-mini", input=Decimal("0.15"), output=Decimal("0.60"))
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ENDPOINT = "https://api.openai.com/v1"


def usage(prompt=10, completion=5, cached=None, operation="chat"):
    return Usage(operation=operation, prompt=prompt, completion=completion, cached=cached)


@given(prompt=COUNTS, completion=COUNTS, share=st.floats(0, 1), amounts=st.tuples(AMOUNTS, AMOUNTS, AMOUNTS))
def test_the_cost_is_the_exact_fraction_to_ten_decimals(prompt, completion, share, amounts):
    cached = int(prompt * share)
    price = Price(provider="p", model="m", input=amounts[0], cached_input=amounts[1], output=amounts[2])
    cost = cost_of(usage(prompt, completion, cached), price)
    uncached, cached_input, output = (Fraction(each) for each in amounts)
    exact = ((prompt - cached) * uncached + cached * cached_input + completion * output) / 10**6
    assert abs(Fraction(cost) - exact) <= Fraction(1, 2 * 10**10)
    assert cost >= 0
    assert cost.as_tuple().exponent == -10


@given(known=st.lists(AMOUNTS), unknown=st.integers(0, 5))
def test_a_total_is_exact_and_takes_nothing_unknown_for_zero(known, unknown):
    total = total_of([*known, *[None] * unknown])
    assert total.unknown == unknown
    if not known and unknown:
        assert total.usd is None
    else:
        assert Fraction(total.usd) == sum(map(Fraction, known))


@given(prompt=COUNTS, completion=COUNTS, more=COUNTS, amounts=st.tuples(AMOUNTS, AMOUNTS))
def test_more_tokens_never_cost_less(prompt, completion, more, amounts):
    price = Price(provider="p", model="m", input=amounts[0], output=amounts[1])
    cost = cost_of(usage(prompt, completion), price)
    assert cost_of(usage(prompt + more, completion), price) >= cost
    assert cost_of(usage(prompt, completion + more), price) >= cost


@pytest.mark.parametrize(
    "unknown",
    [
        usage(prompt=None),
        usage(completion=None),
        usage(prompt=-1),
        usage(completion=-1),
        usage(cached=-1),
        usage(cached=11),
        usage(prompt=10**18),
    ],
)
def test_counts_that_are_missing_or_make_no_sense_leave_the_cost_unknown(unknown):
    assert cost_of(unknown, MINI) is None


def test_what_has_no_price_of_its_own_costs_what_is_next_to_it_or_is_unknown():
    assert cost_of(usage(cached=10, completion=0), MINI) == Decimal("0.0000015000")
    embedding = replace(MINI, output=None)
    assert cost_of(usage(completion=None, operation="embeddings"), embedding) == Decimal("0.0000015000")
    assert cost_of(usage(completion=3, operation="embeddings"), embedding) == Decimal("0.0000015000")
    assert cost_of(usage(completion=3), embedding) is None


def found(table, *models, endpoint=ENDPOINT, provider="openai", at=NOON):
    return table.find(provider=provider, endpoint=endpoint, models=models, at=at)


def test_the_served_model_counts_before_the_asked_one_and_a_date_at_its_end_may_be_left_away():
    dated = replace(MINI, model="gpt-4o-2024-05-13")
    plain_name = replace(MINI, model="gpt-4o")
    table = PriceTable([MINI, plain_name, dated])
    assert found(table, "gpt-4o-2024-05-13", "gpt-4o-mini") is dated
    assert found(table, "gpt-4o-2024-08-06", "gpt-4o-mini") is plain_name
    assert found(table, None, "gpt-4o-mini-2024-07-18") is MINI
    assert found(table, "my-model", "my-deployment") is None
    assert found(table, "gpt-4o", provider="azure") is None


def test_a_price_holds_at_its_endpoint_on_its_days():
    price = replace(MINI, endpoint=ENDPOINT + "/", valid_from=date(2026, 3, 1), valid_until=date(2026, 3, 2))
    table = PriceTable([price])
    assert found(table, "gpt-4o-mini") is price
    assert found(table, "gpt-4o-mini", endpoint="http://localhost:8000/v1") is None
    day = timedelta(days=1)
    assert found(table, "gpt-4o-mini", at=NOON - day) is None
    assert found(table, "gpt-4o-mini", at=NOON + day) is None
    west = timezone(timedelta(hours=-13))
    assert found(table, "gpt-4o-mini", at=(NOON - timedelta(hours=12)).astimezone(west)) is price


def test_an_earlier_table_counts_before_a_later_one_also_under_a_less_exact_name():
    own, all_others = replace(MINI, model="gpt-4o"), replace(MINI, model="*")
    table = PriceTable([own], [replace(MINI, model="gpt-4o-2024-08-06"), all_others])
    assert found(table, "gpt-4o-2024-08-06") is own
    assert found(table, "anything") is all_others


def test_amounts_are_read_without_an_exponent():
    assert [plain(each) for each in (None, Decimal("0E-10"), Decimal("1.500E-7"), Decimal(10), Decimal("1.0"))] == [
        None,
        "0",
        "0.00000015",
        "10",
        "1",
    ]
