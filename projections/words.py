"""Words of a text, as the search index holds them and as queries name them: one rule for both.

A word is a run of letters and digits; anything else only separates words, so that `os.path.join`, `call_id` and
`foo-bar` are found by each of their words, and by all of them in a row. Case, accents and the width of a letter don't
count. Scripts that put no spaces between words have a word for each character. Nothing is stemmed and nothing is too
frequent to be found, since people look for code and for any language.
"""

import re
import unicodedata
from collections.abc import Iterator

LONGEST_WORD = 64  # characters that count of one

# Thai, Lao, Burmese and Khmer; kana; Chinese characters.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"(?=[^\W_])[{_UNSPACED}]|(?:(?![{_UNSPACED}])[^\W_])(?:(?![{_UNSPACED}])[^\W_]|[\u0300-\u036f])*")
_ASCII_WORD = re.compile(r"[a-z0-9]+")


def words_of(text: str) -> list[str]:
    """The words in order, folded."""
    if text.isascii():
        return [word[:LONGEST_WORD] for word in _ASCII_WORD.findall(text.lower())]
    return [folded for word in _WORD.findall(text) if (folded := fold(word))]


def places_of_words(text: str) -> Iterator[tuple[str, int, int]]:
    """Each word folded, with where it begins and ends in the text."""
    if text.isascii():
        for match in _ASCII_WORD.finditer(text.lower()):
            yield match[0][:LONGEST_WORD], match.start(), match.end()
        return
    for match in _WORD.finditer(text):
        if folded := fold(match[0]):
            yield folded, match.start(), match.end()


def fold(word: str) -> str:
    """The form in which words are compared."""
    if word.isascii():
        return word.lower()[:LONGEST_WORD]
    apart = unicodedata.normalize("NFKD", word).casefold()
    plain = unicodedata.normalize("NFC", "".join(char for char in apart if char.isalnum()))
    return plain[:LONGEST_WORD]
