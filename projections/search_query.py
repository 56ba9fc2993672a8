"""What people write to search, as the index is asked: no text is an error but one without a word, or too long.

    primes rome          both words          "prime numbers"   these words in a row
    primes OR integers   either              -rome             not this word, or "not this phrase"
    prim*                words that begin so

A term with several words in it, as `os.path.join`, is a phrase. AND binds closer than OR.
"""

import re
from typing import NamedTuple

from domain.errors import Rejected
from projections.words import words_of

MOST_CHARACTERS = 1000
MOST_WORDS = 64

_TERM = re.compile(r'(?P<no>-?)(?:"(?P<phrase>[^"]*)"?|(?P<term>[^\s"]+))')


class Term(NamedTuple):
    """Words in a row that a text must have, or must not; `beginning` says that the last is only how a word begins."""

    words: tuple[str, ...]
    wanted: bool
    beginning: bool


class SearchQuery(NamedTuple):
    """Alternatives, of which a text fulfils one; each is terms, of which it fulfils all."""

    alternatives: tuple[tuple[Term, ...], ...]

    def tsquery(self, era: str = "") -> str:
        """As Postgres is asked, of an era. Words are letters and digits: nothing in them means anything else."""
        return " | ".join(f"({' & '.join(_written(term, era) for term in terms)})" for terms in self.alternatives)

    def wanted(self) -> "SearchQuery":
        """What a text is ranked by: ts_rank knows no word that must not be there, and would rank all texts alike."""
        wanted = (tuple(term for term in terms if term.wanted) for terms in self.alternatives)
        kept = tuple(terms for terms in wanted if terms)
        return SearchQuery(kept) if kept else self

    @property
    def only_without(self) -> bool:
        """Whether an alternative only says which words a text must not have."""
        return any(not any(term.wanted for term in terms) for terms in self.alternatives)

    def marked(self) -> list[Term]:
        """The terms that a text is found by, to be shown in it."""
        return [term for terms in self.alternatives for term in terms if term.wanted]


def parsed(text: str) -> SearchQuery:
    """What is asked for. Raises Rejected for a text without a word, or with more than 64 or 1,000 characters."""
    if len(text) > MOST_CHARACTERS:
        raise Rejected(
            f"A search has at most {MOST_CHARACTERS:,} characters, not {len(text):,}; name fewer words", fields=("q",)
        )
    alternatives: list[list[Term]] = [[]]
    for found in _TERM.finditer(text):
        if found[0] == "OR":
            alternatives.append([])
            continue
        written = found["phrase"] if found["phrase"] is not None else found["term"]
        words = tuple(words_of(written))
        if words:
            alternatives[-1].append(Term(words, not found["no"], found["term"] is not None and written.endswith("*")))
    kept = tuple(tuple(terms) for terms in alternatives if terms)
    count = sum(len(term.words) for terms in kept for term in terms)
    if not count:
        raise Rejected(
            f"There is no word to search for in {text[:40]!r}; a word has letters or digits, and `*` goes behind one",
            fields=("q",),
        )
    if count > MOST_WORDS:
        raise Rejected(f"A search has at most {MOST_WORDS} words, not {count}; leave some out", fields=("q",))
    return SearchQuery(kept)


def _written(term: Term, era: str) -> str:
    words = [f"'{era}{word}'" for word in term.words]
    if term.beginning:
        words[-1] += ":*"
    phrase = words[0] if len(words) == 1 else f"({' <-> '.join(words)})"
    return phrase if term.wanted else f"!{phrase}"
