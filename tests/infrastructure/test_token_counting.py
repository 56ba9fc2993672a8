"""The real library over an encoding that is made here, so that nothing is fetched."""

import sys

import pytest
import tiktoken
from hypothesis import example, given
from hypothesis import strategies as st

from domain.errors import Rejected
from infrastructure.token_counting import EncodedTexts, PublishedEncodings

# Every byte is a token, and so are some pairs and longer runs that the merges lead to.
MERGES = ["ab", "abc", "  ", "    ", "ca", "é", "el"]
RANKS = {bytes([byte]): byte for byte in range(256)} | {
    text.encode(): 256 + place for place, text in enumerate(dict.fromkeys(MERGES))
}
ENCODING = tiktoken.Encoding(
    name="small", pat_str=r"[a-z]+| +(?![a-z ])|.|\n", mergeable_ranks=RANKS, special_tokens={"<|end|>": 1000}
)
TEXTS = EncodedTexts(ENCODING)


@given(
    text=st.text(st.one_of(st.sampled_from("abcel é👩‍💻\n"), st.characters(exclude_categories=("Cs",)))),
    most=st.integers(0, 20),
)
@example(text="👩‍💻", most=2)
@example(text="    a", most=1)
@example(text="<|end|>", most=3)
def test_the_first_tokens_are_a_bounded_beginning_of_the_text(text, most):
    start = TEXTS.first(text, most)
    assert text.startswith(start)
    assert TEXTS.count(start) <= most
    assert TEXTS.first(start, most) == start
    assert TEXTS.first(text, TEXTS.count(text)) == text


def test_tokens_are_counted_as_the_encoding_merges_them():
    assert [TEXTS.count(text) for text in ("", "a", "ab", "abcabc", "é")] == [0, 1, 1, 2, 1]
    assert TEXTS.first("abcabcab", 2) == "abcabc"
    assert TEXTS.first("a👩b", 3) == "a"
    assert TEXTS.name == "small"


def test_what_looks_like_a_special_token_is_text():
    assert TEXTS.count("<|end|>") == len("<|end|>")


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("gpt-4o-mini", "o200k_base"),
        ("gpt-4o-mini-2024-07-18", "o200k_base"),
        ("gpt-3.5-turbo", "cl100k_base"),
        ("meta-llama/Llama-3.3-70B-Instruct", "o200k_base"),
    ],
)
def test_the_encoding_is_the_models_or_the_newest(model, encoding, monkeypatch):
    import tiktoken.registry

    monkeypatch.setitem(tiktoken.registry.ENCODINGS, encoding, ENCODING)
    assert PublishedEncodings().for_model(model).count("ab") == 1


def test_an_encoding_that_cannot_be_loaded_says_what_to_do(tmp_path, monkeypatch):
    import tiktoken.registry

    (tmp_path / "no folder").write_text("")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "no folder"))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    with pytest.raises(Rejected, match=r"o200k_base can't be loaded .* set TIKTOKEN_CACHE_DIR"):
        PublishedEncodings().for_model("gpt-4o")


def test_without_the_library_it_is_said_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    with pytest.raises(Rejected, match=r"pip install 'study-query-llm\[tokens\]'"):
        PublishedEncodings().for_model("gpt-4o")
