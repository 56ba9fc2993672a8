import re

import phonenumbers
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from stdnum import iban, luhn

from domain.errors import Rejected
from domain.personal_data import checked_region, without_personal_data

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
STYLES = (phonenumbers.PhoneNumberFormat.E164, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
BBANS = {
    "DE": "18n",
    "GB": "4a14n",
    "FR": "10n11c2n",
    "NO": "11n",
    "MT": "4a5n18c",
    "BE": "12n",
    "SE": "20n",
    "CH": "5n12c",
}

# What is around: anything but what would make another number or address of it.
AROUND = st.text(st.characters(exclude_categories=("Nd", "Nl", "No", "Cs"), exclude_characters="@"), max_size=12)


@st.composite
def phones(draw):
    region = draw(st.sampled_from(REGIONS))
    kind = draw(st.sampled_from((0, 1, 3)))
    number = phonenumbers.example_number_for_type(region, kind) or phonenumbers.example_number(region)
    assume(number is not None)
    return phonenumbers.format_number(number, draw(st.sampled_from(STYLES)))


def groups(digits, sizes):
    out, at = [], 0
    while at < len(digits):
        size = sizes[min(len(out), len(sizes) - 1)]
        out.append(digits[at : at + size])
        at += size
    return out


@st.composite
def cards(draw):
    payload = draw(st.from_regex(r"[1-9][0-9]{11,17}", fullmatch=True))
    digits = payload + luhn.calc_check_digit(payload)
    separator = draw(st.sampled_from(["", " ", "-", "\u00a0"]))
    return separator.join(groups(digits, draw(st.sampled_from([(4,), (4, 6, 5), (6, 13), (5,)]))))


@st.composite
def ibans(draw):
    country = draw(st.sampled_from(sorted(BBANS)))
    alphabet = {"n": "0123456789", "a": "ABCXYZ", "c": "0123456789ABCXYZ"}
    account = "".join(
        draw(st.text(st.sampled_from(alphabet[kind]), min_size=int(size), max_size=int(size)))
        for size, kind in re.findall(r"(\d+)([nac])", BBANS[country])
    )
    number = country + iban.calc_check_digits(f"{country}00{account}") + account
    assert iban.is_valid(number, check_country=False)
    return draw(st.sampled_from([number, iban.format(number), iban.format(number, "-"), number.lower()]))


PLANTED = st.one_of(
    st.emails().map(lambda email: ("[EMAIL]", email)),
    phones().map(lambda phone: ("[PHONE]", phone)),
    cards().map(lambda card: ("[CARD]", card)),
    ibans().map(lambda number: ("[IBAN]", number)),
)


def digits_of(text):
    return "".join(char for char in text if char.isdecimal())


@given(items=st.lists(PLANTED, min_size=1, max_size=4), around=st.lists(AROUND, min_size=5, max_size=5))
@example(items=[("[EMAIL]", "a@b.org")], around=["", "@c.org", "", "", ""])
@example(items=[("[PHONE]", "+44 (0)20 7946 0958")], around=["call ", "", "", "", ""])
@example(items=[("[PHONE]", "＋４９ １７０ １２３４５６７")], around=["", "", "", "", ""])
@example(items=[("[CARD]", "3782-822463-10005")], around=["x", "y", "", "", ""])
def test_what_is_planted_never_survives_whole_or_as_its_digits(items, around):
    text = around[0] + "".join(f"\n{item}\n{behind}" for (_, item), behind in zip(items, around[1:], strict=False))
    masked, counts = without_personal_data(text)
    for kind, item in items:
        assert item not in masked
        if kind != "[EMAIL]":
            assert digits_of(item) not in digits_of(masked)
    assert sum(counts.values()) >= len(items)


@given(item=PLANTED, before=AROUND, behind=AROUND)
def test_nor_does_it_where_letters_and_signs_touch_it(item, before, behind):
    kind, planted = item
    masked, _ = without_personal_data(before + planted + behind)
    assert planted not in masked
    if kind != "[EMAIL]":
        assert not any(digits_of(planted) in digits_of(left) for left in [masked])


@given(digits=st.from_regex(r"[0-9]{13,19}", fullmatch=True))
def test_digits_that_fail_luhns_check_survive(digits):
    assume(not luhn.is_valid(digits))
    text = f"order {digits} of today"
    assert without_personal_data(text) == (text, {})


@given(
    text=st.one_of(
        st.dates().map(str),
        st.datetimes().map(lambda at: at.isoformat()),
        st.datetimes().map(lambda at: at.strftime("%d.%m.%Y %H:%M:%S")),
        st.floats(allow_nan=False, allow_infinity=False).map(str),
        st.floats(min_value=-1, max_value=1).map(lambda value: f"{value:.16f}"),
        st.uuids().map(str),
        st.from_regex(r"v?[0-9]{1,3}(\.[0-9]{1,3}){2}(-rc[0-9])?", fullmatch=True),
        st.from_regex(r"ORD-20[0-9]{2}-[0-9]{6}", fullmatch=True),
        st.from_regex(r"ISO [0-9]{4,5}-[0-9]:20[0-9]{2}", fullmatch=True),
        st.integers(-(10**11), 10**11).map(str),
    )
)
@example(text="12345678-1234-4111-8111-111111111111")
@example(text="react@18.2.0 @mention 1,234,567.89")
@example(text="0.4111111111111111 and 4111111111111111.5")
def test_other_numbers_survive(text):
    assert without_personal_data(f"It is {text} today") == (f"It is {text} today", {})


@pytest.mark.parametrize("region", ["US", "GB", "DE", "FR", "JP", "BR"])
def test_national_numbers_are_found_in_their_region_alone(region):
    number = phonenumbers.format_number(
        phonenumbers.example_number_for_type(region, 1), phonenumbers.PhoneNumberFormat.NATIONAL
    )
    text = f"Call me: {number}, please"
    assert without_personal_data(text, region=region) == ("Call me: [PHONE], please", {"[PHONE]": 1})
    assert without_personal_data(text) == (text, {})


def test_everything_is_counted_by_its_kind():
    text = "a@b.org or c@d.org, +1 650 253 0000; 4111 1111 1111 1111; DE89 3704 0044 0532 0130 00"
    masked, counts = without_personal_data(text)
    assert masked == "[EMAIL] or [EMAIL], [PHONE]; [CARD]; [IBAN]"
    assert counts == {"[EMAIL]": 2, "[PHONE]": 1, "[CARD]": 1, "[IBAN]": 1}


def test_a_region_must_be_one():
    assert checked_region("us") == "US"
    with pytest.raises(Rejected, match="'XX' is no region"):
        checked_region("XX")


@pytest.mark.parametrize("text", ["a" * 300_000, "@a." * 100_000, "1 " * 150_000, "+1 " * 100_000, "aa11" * 75_000])
def test_a_long_text_takes_no_square_of_time(text):
    masked, _ = without_personal_data(text)
    assert len(masked) <= len(text)
