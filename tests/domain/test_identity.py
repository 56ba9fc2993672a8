import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Rejected
from domain.identity import canonical_json, content_id, sha256_hex
from domain.request_identity import embedding_request_hashes, normalised_texts

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
    assert normalised_texts([" e\u0301t\0e\n", "\0\u2003a b\x1f"]) == ["\u00e9te", "a b"]
    with pytest.raises(Rejected, match="Text 1") as rejected:
        normalised_texts(["a", "\0 "])
    assert rejected.value.fields == ("texts[1]",)


@pytest.mark.parametrize(("texts", "named"), [("abc", "texts"), (["a", 1], "texts[1]"), (["a", None], "texts[1]")])
def test_what_is_no_list_of_texts_is_named(texts, named):
    with pytest.raises(Rejected) as rejected:
        normalised_texts(texts)
    assert rejected.value.fields == (named,)


def test_everything_that_a_vector_depends_on_is_in_its_hash() -> None:
    base = {"provider": "p", "endpoint": "e", "model": "m", "text": "t", "dimensions": None}
    variants = [{**base, name: "other" if name != "dimensions" else 8} for name in base]
    hashes = [hash_of(**variant) for variant in [base, *variants]]
    assert len({*hashes}) == len(variants) + 1


@given(
    st.lists(st.text(), max_size=3),
    st.fixed_dictionaries({name: st.text() for name in ("provider", "endpoint", "model")}),
    st.none() | st.integers(1, 5000),
)
def test_the_hash_of_a_text_is_that_of_the_canonical_json_of_all_it_depends_on(texts, circumstances, dimensions):
    found = embedding_request_hashes(texts, **circumstances, dimensions=dimensions)
    whole = {"v": 1, "encoding": "float32", "dimensions": dimensions, **circumstances}
    assert found == [sha256_hex(canonical_json({**whole, "text": text})) for text in texts]


def test_stored_hashes_are_found_again_for_ever():
    base = {"provider": "openai", "endpoint": "https://api.openai.com/v1", "model": "text-embedding-3-small"}
    golden = {
        ("a cat", None): "8298a8332f40900f736291e6db51d56aefc007047143a6a88ec6286fc3d0628b",
        ("a cat", 256): "13a59a60a9a7074654786ba8a493bb713669715d8da816d50966b9ff58475b3e",
        ("  cafe\u0301 \0", None): "cafc7ee23e267d731442d10a74e3758003263893c95d022026231f7aa49e773d",
        ('"text":""\n\t\u2028\U0001f600', None): "4ffe5a071f6148dc78fb8dfeb42202f9648a808f97323c53a4bc1182d002f595",
    }
    assert {
        asked: embedding_request_hashes(normalised_texts([asked[0]]), **base, dimensions=asked[1])[0]
        for asked in golden
    } == golden


def test_half_a_character_is_named():
    with pytest.raises(Rejected, match="Text 1") as rejected:
        embedding_request_hashes(["a", "\ud800"], provider="p", endpoint="e", model="m", dimensions=None)
    assert rejected.value.fields == ("texts[1]",)


def hash_of(*, text, **circumstances):
    return embedding_request_hashes([text], **circumstances)[0]
