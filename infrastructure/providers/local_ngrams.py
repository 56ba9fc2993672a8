"""The model local-ngrams: texts that share words or parts of words get vectors that point the same way.

It knows spelling, not meaning: "car" and "automobile" are strangers to it. Only English words are damped and stemmed;
other languages work by their bare spelling.

Every weight is a whole number until a row is brought to length 1: sums depend neither on the order nor on the machine.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

DEFAULT_DIMENSIONS = 512
LEAST_DIMENSIONS, MOST_DIMENSIONS = 8, 4096

WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
VOWEL = re.compile(r"[aeiouy]")
LETTERS_PER_NGRAM = (3, 4, 5)
LONGEST_WORD_CHARACTERS = 40  # longer ones are keys and addresses, and need no more n-grams than this
WORDS_REMEMBERED = 20_000

# Whole numbers, relative to each other: a word, all its n-grams together, and a pair of neighbours.
WORD_WEIGHT, NGRAMS_WEIGHT, PAIR_WEIGHT = 1000.0, 600.0, 300.0
FUNCTION_WORD_SHARE, GENERIC_WORD_SHARE = 0.02, 0.3

# Words that build sentences and say nothing of their topic.
FUNCTION_WORDS = frozenset(
    WORD.findall(
        """
        a about above after again against ago all almost along already also although always am among an and another
        any anybody anyone anything anyway are aren't around as at away be became because become been before behind
        being below between both but by can can't cannot could couldn't did didn't do does doesn't doing don't done
        down during each either else enough even ever every everybody everyone everything except far few for from
        further had hadn't has hasn't have haven't having he he'd he'll he's her here hers herself him himself his how
        however i i'd i'll i'm i've if in inside instead into is isn't it it'd it'll it's its itself just least less
        let let's like lot many may maybe me might mine more most much must my myself near nearly neither never no
        nobody none nor not nothing now of off often on once one only onto or other others otherwise our ours
        ourselves out outside over own per perhaps please quite rather really same shall she she'd she'll she's should
        shouldn't since so some somebody someone something sometimes soon still such than thank thanks that that's the
        their theirs them themselves then there there's these they they'd they'll they're they've this those though
        through till to together too toward towards under unless until up upon us very via was wasn't we we'd we'll
        we're we've well were weren't what what's when whenever where where's whether which while who who's whoever
        whole whom whose why will with within without won't would wouldn't yet you you'd you'll you're you've your
        yours yourself
        """
    )
)

# Words that occur in texts on anything: they count for little and never name a topic.
GENERIC_WORDS = frozenset(
    WORD.findall(
        """
        able actually add afternoon allow answer anywhere appear ask available bad back bag begin believe best better
        big bit bottom break bring brought busy buy call came care careful case change chance check choose clear close
        come common complete correct couple day days decide deep different difficult do early easily easy effort end
        ended entire evening exactly expect explain extra fact fail fairly fall fast feel felt fill final finally find
        fine finish first fix five fold follow forget forgot forward found four friend front full gave get getting
        give given go goes going gone good got great guess half hand handle happen happy hard hardly heard help here
        high hold home hope hour hours idea important includes instead issue item job keep kept kind knew know large
        last late later lately learn leave left length let life likely list little local long longer look looking lose
        lost low made main make makes making mean means mention middle mind minute minutes miss moment month months
        morning move name need needed needs neighbour new next nice night note number obvious odd ok okay old open
        order ordinary page part particular pass past pay people person piece place plan point possible prefer pretty
        price probably problem properly put question quick quickly quiet quietly read ready real reason recent
        recently recommend remember reply rest right rule run said sat save say says second see seem seems seen send
        set several share short show shows side simple simply single sit sitting six size slow slowly small sort sound
        speak special spend spent stand start started stay stayed step stop stopped straight strange suddenly suggest
        suppose sure take taken takes taking talk tell ten thing things think third thought three time times tiny
        today told tomorrow tonight took top total tried true try trying turn turned twice two type understand unusual
        use used useful using usual usually wait waited waiting want wanted way week weekend weeks went wish wonder
        word words work worked working works worse worst worth wrong year years yesterday young
        """
    )
)


class Word(NamedTuple):
    """A word as it stood in the text, lower-cased, and what is left of it without its endings."""

    surface: str
    stem: str


class _Features(NamedTuple):
    """What a word or pair adds to a row: where (before it is folded into the dimensions) and how much."""

    places: NDArray[np.int64]
    weights: NDArray[np.float64]  # signed whole numbers


def embed_ngrams(texts: Sequence[str], dimensions: int = DEFAULT_DIMENSIONS) -> NDArray[np.float32]:
    """Embed texts by their words, pairs of neighbours and runs of 3-5 letters, hashed with signs (Weinberger 2009).

    Returns (n_texts, dimensions) float32, rows of length 1, also for texts without letters or without anything.
    """
    rows = np.empty((len(texts), dimensions), np.float32)
    for row, text in zip(rows, texts, strict=True):
        row[:] = _embed(text, dimensions)
    return rows


def words_of(text: str) -> list[Word]:
    """Take the text apart; letters and digits make words, an apostrophe may stand inside."""
    plain = unicodedata.normalize("NFKC", text).lower().replace("’", "'")
    return [Word(surface, stem_of(surface)) for surface in WORD.findall(plain)]


def is_telling(word: Word) -> bool:
    """Whether the word may say what a text is about."""
    return share_of(word) == 1.0 and len(word.stem) > 2 and not word.surface.isdecimal()


@lru_cache(WORDS_REMEMBERED)
def share_of(word: Word) -> float:
    """How much of its weight the word keeps."""
    if word.surface in FUNCTION_WORDS or len(word.surface) == 1:
        return FUNCTION_WORD_SHARE
    return GENERIC_WORD_SHARE if word.surface in GENERIC_WORDS or word.stem in GENERIC_STEMS else 1.0


@lru_cache(WORDS_REMEMBERED)
def stem_of(word: str) -> str:
    """Drop the English endings -s, -ed, -ing and -ly, so that "bakes", "baked" and "baking" meet at "bak"."""
    stem = word.removesuffix("'s").replace("'", "")
    if len(stem) > 4 and stem.endswith("ies"):
        stem = stem[:-3] + "y"
    elif len(stem) > 4 and stem.endswith(("sses", "xes", "zes", "ches", "shes")):
        stem = stem[:-2]
    elif len(stem) > 3 and stem.endswith("s") and not stem.endswith(("ss", "us", "is")):
        stem = stem[:-1]
    for ending in ("ing", "ed", "ly"):
        shorter = stem.removesuffix(ending)
        if shorter != stem and len(shorter) > 2 and VOWEL.search(shorter):
            doubled = ending != "ly" and shorter[-1] == shorter[-2] and shorter[-1] not in "lsz"
            stem = shorter[:-1] if doubled else shorter
            break
    return stem.removesuffix("e") if len(stem) > 3 else stem


GENERIC_STEMS = frozenset(map(stem_of, GENERIC_WORDS))


def _embed(text: str, dimensions: int) -> NDArray[np.float64]:
    words = words_of(text)
    found = list(_features(words)) if words else [_letters(" ".join(text.split()))]
    places = np.concatenate([features.places for features in found]) % dimensions
    weights = np.concatenate([features.weights for features in found])
    row = np.bincount(places, weights, minlength=dimensions)
    length = sqrt(float(np.square(row).sum()))
    if not length:  # nothing to hash, or it cancelled out
        row[_hash(text)[0] % dimensions] = length = 1.0
    return row / length


def _features(words: list[Word]) -> Iterator[_Features]:
    """Repeated words and pairs count by the square root of their number."""
    telling = [word for word in words if share_of(word) > FUNCTION_WORD_SHARE]
    for word, count in Counter(words).items():
        yield _times(_word_features(word), count)
    for (first, second), count in Counter(pairwise(telling)).items():
        yield _times(_pair_features(first, second), count)


def _times(features: _Features, count: int) -> _Features:
    return features if count == 1 else _Features(features.places, np.rint(features.weights * sqrt(count)))


@lru_cache(WORDS_REMEMBERED)
def _word_features(word: Word) -> _Features:
    share = share_of(word)
    ngrams = _ngrams(f"<{word.stem[:LONGEST_WORD_CHARACTERS]}>")
    each = NGRAMS_WEIGHT / sqrt(len(ngrams))
    return _hashed([f"word {word.stem}", *ngrams], [WORD_WEIGHT * share] + [each * share] * len(ngrams))


@lru_cache(WORDS_REMEMBERED)
def _pair_features(first: Word, second: Word) -> _Features:
    return _hashed([f"pair {first.stem} {second.stem}"], [PAIR_WEIGHT * min(share_of(first), share_of(second))])


def _letters(text: str) -> _Features:
    ngrams = _ngrams(f"<{text}>")
    return _hashed(ngrams, [WORD_WEIGHT] * len(ngrams))


def _ngrams(marked: str) -> list[str]:
    return [marked[at : at + size] for size in LETTERS_PER_NGRAM for at in range(len(marked) - size + 1)]


def _hashed(names: list[str], weights: list[float]) -> _Features:
    hashed = [_hash(name) for name in names]
    signed = [sign * round(weight) for (_, sign), weight in zip(hashed, weights, strict=True)]
    return _Features(np.array([place for place, _ in hashed], np.int64), np.array(signed, np.float64))


def _hash(name: str) -> tuple[int, int]:
    """A place of 32 bits and a sign, the same on every machine."""
    number = int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
    return number & 0xFFFFFFFF, 1 if number >> 63 else -1
