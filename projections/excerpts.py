"""The part of a text that a search found it by, with the places of the words in it.

Places are numbers beside the text, not marks in it, so that nothing in a text can be taken for one.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

from msgspec import Struct

from projections.search_query import Term
from projections.words import LONGEST_WORD, places_of_words

LONGEST_EXCERPT = 240
BEFORE_FIRST = 60
MOST_MARKS = 20


class Excerpt(Struct, frozen=True, kw_only=True):
    """Some characters of a text. marks: [begin, end) of each word found, in `text`; omitted: what of it isn't shown."""

    text: str
    marks: list[tuple[int, int]]
    omitted_before: bool
    omitted_after: bool


def excerpt_of(pieces: Sequence[str], terms: Sequence[Term]) -> Excerpt | None:
    """Around the first place where one of the terms is found, or the beginning; None where there is no text."""
    return excerpt_around(pieces, lambda piece: found_places(piece, terms))


def excerpt_around(pieces: Sequence[str], places_in: Callable[[str], list[tuple[int, int]]]) -> Excerpt | None:
    """Around the first of the places that are found in the pieces, or the beginning; None where there is no text."""
    first = next((piece for piece in pieces if piece), None)
    for piece in pieces:
        places = places_in(piece)
        if places:
            return _cut(piece, places, several=len(pieces) > 1)
    return None if first is None else _cut(first, [], several=len(pieces) > 1)


def found_places(text: str, terms: Sequence[Term]) -> list[tuple[int, int]]:
    """[begin, end) of every word that belongs to a term found there, in order."""
    found: set[tuple[int, int]] = set()
    if text.isascii() and all(len(word) < LONGEST_WORD for term in terms for word in term.words):
        lowered = text.lower()
        for term in terms:
            found.update(place for match in _pattern(term).finditer(lowered) for place in match.regs[1:])
        return sorted(found)
    words = list(places_of_words(text))
    for term in terms:
        length, last = len(term.words), term.words[-1]
        for at, (word, _, _) in enumerate(words):
            if length == 1:
                fits = word.startswith(last) if term.beginning else word == last
            else:
                row = tuple(each for each, _, _ in words[at : at + length])
                fits = row[:-1] == term.words[:-1] and len(row) == length
                fits = fits and (row[-1].startswith(last) if term.beginning else row[-1] == last)
            if fits:
                found.update((begin, end) for _, begin, end in words[at : at + length])
    return sorted(found)


@lru_cache(maxsize=256)
def _pattern(term: Term) -> re.Pattern[str]:
    """What finds a term in a text of ASCII in small letters: a group for each of its words."""
    *words, last = (f"({word})" for word in term.words)
    last = f"{last[:-1]}[a-z0-9]*)" if term.beginning else f"{last}(?![a-z0-9])"
    # Looked ahead, so that the same words may belong to two rows of them.
    return re.compile(f"(?<![a-z0-9])(?={'[^a-z0-9]+'.join([*words, last])})")


def _cut(text: str, places: list[tuple[int, int]], *, several: bool) -> Excerpt:
    begin = max(0, places[0][0] - BEFORE_FIRST) if places else 0
    while 0 < begin < (places[0][0] if places else 0) and text[begin - 1].isalnum():
        begin += 1  # at the beginning of a word
    end = min(len(text), begin + LONGEST_EXCERPT)
    marks = [(at - begin, until - begin) for at, until in places if until <= end][:MOST_MARKS]
    return Excerpt(
        text=text[begin:end],
        marks=marks,
        omitted_before=begin > 0 or several,
        omitted_after=end < len(text) or several,
    )
