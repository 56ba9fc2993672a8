import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Rejected
from domain.identity import canonical_json, content_id
from domain.request_identity import embedding_request_hash, normalised_text

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=3), children, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), json_values))
def test_the_order_of_members_does_not_matter(value: dict[str, object]) -> None:
    turned = dict(reversed(list(value.items())))
    assert canonical_json(turned) == canonical_json(value)


def test_none_is_left_out_and_whole_floats_are_integers() -> None:
    assert canonical_json({"b": 1.0, "a": None, "c": [2.5, None]}) == b'{"b":1,"c":[2.5,null]}'


def test_content_makes_the_id() -> None:
    assert content_id("sweep", "a", "") != content_id("sweep", "a", "b")
    assert str(content_id("dataset", "x")) == str(content_id("dataset", "x"))


def test_texts_are_composed_stripped_and_rid_of_nul() -> None:
    assert normalised_text(" e\u0301t\0e\n", index=0) == "\u00e9te"
    with pytest.raises(Rejected, match="Text 7"):
        normalised_text("\0 ", index=7)


def test_everything_that_a_vector_depends_on_is_in_its_hash() -> None:
    base = {"provider": "p", "endpoint": "e", "model": "m", "text": "t", "dimensions": None}
    variants = [{**base, name: "other" if name != "dimensions" else 8} for name in base]
    hashes = {embedding_request_hash(**variant) for variant in [base, *variants]}  # type: ignore[arg-type]
    assert len(hashes) == len(variants) + 1
