import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Rejected
from domain.templates import MOST_FIELDS, MOST_TEMPLATE_CHARACTERS, filled_in

NAMES = ("language", "tone", "été")
WORDS = st.text(st.sampled_from("ab{}!:.[]0 \n"), max_size=12)
PIECES = st.one_of(WORDS.map(lambda text: ("text", text)), st.sampled_from(NAMES).map(lambda name: ("field", name)))


@given(
    before=st.lists(PIECES, max_size=6),
    behind=st.lists(PIECES, max_size=6),
    user_input=WORDS,
    values=st.tuples(WORDS, WORDS, WORDS),
)
def test_a_template_is_its_words_and_its_fields_and_nothing_else(before, behind, user_input, values):
    fields = dict(zip(NAMES, values, strict=True))
    known = {**fields, "user_input": user_input}
    pieces = [*before, ("field", "user_input"), *behind]
    template = "".join(
        f"{{{text}}}" if kind == "field" else text.replace("{", "{{").replace("}", "}}") for kind, text in pieces
    )
    naive = "".join(known[text] if kind == "field" else text for kind, text in pieces)
    assert filled_in(template, user_input, fields) == naive


@pytest.mark.parametrize(
    "placeholder",
    [
        *"{user_input.__class__} {user_input.__class__.__mro__[1]} {user_input!r} {0} {} {-}".split(),
        *"{a[b]} {a[0]} {a.b} {a!r} {a:>9} {a!s:>9} {a:{b}}".split(),
        "{a b}",
        "{ a}",
    ],
)
def test_no_placeholder_reaches_further_than_its_field(placeholder):
    with pytest.raises(Rejected, match="no plain name") as rejected:
        filled_in("{user_input} " + placeholder, "?", {"a": "A", "b": "B"})
    assert placeholder in str(rejected.value)


def test_an_unknown_placeholder_is_answered_with_the_known_ones():
    with pytest.raises(Rejected, match=r"\{tone\}, which isn't given; there are user_input, language"):
        filled_in("{user_input} {tone}", "?", {"language": "French"})


@pytest.mark.parametrize("template", ["{user_input", "user_input}", "{user_input} }", "{user_input} {a!}"])
def test_a_template_that_cannot_be_read_is_rejected(template):
    with pytest.raises(Rejected, match=r"can't be read|no plain name"):
        filled_in(template, "?", {"a": "A"})


def test_a_template_without_the_prompt_would_lose_it():
    with pytest.raises(Rejected, match="would be lost"):
        filled_in("{{user_input}} {language}", "?", {"language": "French"})


@pytest.mark.parametrize("name", ["user_input", "0", "", "a.b", "a b"])
def test_a_field_needs_a_name_that_a_placeholder_can_have(name):
    with pytest.raises(Rejected, match="can't be a field's name"):
        filled_in("{user_input}", "?", {name: "A"})


def test_templates_fields_and_what_they_come_to_are_bounded():
    with pytest.raises(Rejected, match="longer than"):
        filled_in("{user_input}" + "x" * MOST_TEMPLATE_CHARACTERS, "?", {})
    with pytest.raises(Rejected, match="at most 100 fields, not 101"):
        filled_in("{user_input}", "?", {f"f{number}": "" for number in range(MOST_FIELDS + 1)})
    with pytest.raises(Rejected, match="come to 10,000,001 characters"):
        filled_in("{user_input}" * 1000 + "x", "y" * 10_000, {})
    assert len(filled_in("{user_input}" * 1000, "y" * 10_000, {})) == 10_000_000
