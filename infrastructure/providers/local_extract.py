"""The model local-extract: it answers with words or a sentence of the prompt, never with any of its own.

A prompt that lists texts, each on a line that begins with "- ", gets a short name of what they share; any other
prompt gets its own most central sentence.
"""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from infrastructure.providers.local_ngrams import Word, embed_ngrams, is_telling, words_of

LISTED = re.compile(r"^[ \t]*- +(\S.*)", re.MULTILINE)
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\s*\n\s*")
FEWEST_WORDS_OF_A_SENTENCE = 3
FEWEST_PARTS, MOST_PARTS = 2, 3
WITHOUT_WORDS = "texts without words"


def answer(prompt: str) -> str:
    """Name the topic of the listed texts, or pick the most central sentence; empty for a blank prompt."""
    texts = LISTED.findall(prompt)
    return topic_name(texts) if texts else central_sentence(prompt)


def topic_name(texts: Sequence[str]) -> str:
    """Name texts by two to five of their words: those that most of them share, a recurring pair kept together.

    Where fewer than two are shared, the words nearest to all texts fill up. One word only if there is no second.
    """
    spoken = [words_of(text) for text in texts]
    telling = [[word for word in words if is_telling(word)] for words in spoken]
    if not any(telling):
        return " ".join(dict.fromkeys(word.surface for words in spoken for word in words[:3])) or WITHOUT_WORDS
    sharers = Counter(stem for words in telling for stem in {word.stem for word in words})
    surfaces = _frequent_surfaces(telling)
    nearness = _nearness(texts, surfaces)
    ranked = sorted(sharers, key=lambda stem: (-sharers[stem], -nearness[stem], stem))
    shared = sum(sharers[stem] > 1 for stem in ranked)
    chosen = ranked[: min(max(shared, FEWEST_PARTS), MOST_PARTS)]
    return _joined([" ".join(surfaces[stem] for stem in part) for part in _with_pair(chosen, spoken)])


def central_sentence(prompt: str) -> str:
    """The sentence nearest to the mean of all; the first of equals. Very short ones only if there are no others."""
    sentences = [sentence.strip() for sentence in SENTENCE_END.split(prompt) if sentence.strip()]
    sentences = [one for one in sentences if len(one.split()) >= FEWEST_WORDS_OF_A_SENTENCE] or sentences
    if not sentences:
        return ""
    return sentences[int(np.argmax(_similarities(embed_ngrams(sentences), sentences)))]


def _frequent_surfaces(telling: Sequence[Sequence[Word]]) -> dict[str, str]:
    """Each stem's most frequent form; of equals the shortest, then the first in the alphabet."""
    counts = Counter(word for words in telling for word in words)
    forms = sorted(counts, key=lambda word: (counts[word], -len(word.surface), word.surface), reverse=True)
    return {word.stem: word.surface.removesuffix("'s") for word in reversed(forms)}


def _nearness(texts: Sequence[str], surfaces: dict[str, str]) -> dict[str, float]:
    similarities = _similarities(embed_ngrams(list(surfaces.values())), texts)
    return dict(zip(surfaces, similarities, strict=True))


def _similarities(vectors: np.ndarray, texts: Sequence[str]) -> list[float]:
    """How near each row is to all texts together; rounded, so that machines agree on what is equal."""
    towards = embed_ngrams(texts).sum(axis=0, dtype=np.float64)
    return [round(float(np.dot(row.astype(np.float64), towards)), 6) for row in vectors]


def _with_pair(chosen: Sequence[str], spoken: Sequence[Sequence[Word]]) -> list[tuple[str, ...]]:
    """Put together the pair that stands side by side in most texts, if it does so in two and holds a chosen word."""
    sharers = Counter(
        pair
        for words in spoken
        for pair in {
            (first.stem, second.stem)
            for first, second in pairwise(words)
            if is_telling(first) and is_telling(second) and first.stem != second.stem
        }
        if chosen[0] in pair or set(pair) <= set(chosen)
    )
    pair = min(sharers, key=lambda one: (-sharers[one], one), default=None)
    if pair is None or sharers[pair] < 2:
        return [(stem,) for stem in chosen]
    return [pair, *((stem,) for stem in chosen if stem not in pair)]


def _joined(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
