"""What a cluster's texts say that the others' don't: class-based TF-IDF."""

import re
from collections import Counter
from collections.abc import Sequence
from math import log

from numpy.typing import ArrayLike

from domain.clustering.vectors import check_labels
from domain.errors import Rejected

WORD = re.compile(r"(?<!\w)[^\W\d_][^\W_]*(?:['’\-][^\W_]+)*")
LONGEST_TEXT = 20_000  # characters that are read of a text
SHORTEST_WORD = 2

# English words that say how a sentence is built and not what it is about.
FUNCTION_WORDS = frozenset(
    "a about above after again against all also am an and any are aren't as at be because been before being below "
    "between both but by can can't cannot could couldn't did didn't do does doesn't doing don't down during each "
    "few for from further had hadn't has hasn't have haven't having he her here hers him his how i i'd i'll i'm "
    "i've if in into is isn't it it's its itself just let let's me more most my myself no nor not of off on once "
    "only or other our ours out over own please s same she should shouldn't so some such than that that's the "
    "their theirs them then there these they this those through to too under until up very was wasn't we were "
    "weren't what what's when where which while who whom why will with won't would wouldn't you you'd you'll "
    "you're your yours".split()
)


def keywords(texts: Sequence[str], labels: ArrayLike, n_clusters: int, per_cluster: int = 5) -> list[tuple[str, ...]]:
    """Find each cluster's words that weigh most, the heaviest first, ties in the order of the alphabet.

    texts: (n_samples,); labels: (n_samples,) of −1 (noise, which counts nowhere) to n_clusters − 1
    A word weighs the fraction of the cluster's words that it is, times log(1 + A / f): A is the mean number of words
    of a cluster, f the word's number in all. A word counts once a text. English function words are left out.
    Raises Rejected for another number of labels than texts. Source: Grootendorst 2022.
    """
    if per_cluster < 1:
        raise Rejected(f"per_cluster must be at least 1, not {per_cluster}", fields=("per_cluster",))
    own = check_labels(labels, len(texts))
    counts: list[Counter[str]] = [Counter() for _ in range(n_clusters)]
    for text, cluster in zip(texts, own.tolist(), strict=True):
        if cluster >= 0:
            counts[cluster].update(words_of(text))
    overall: Counter[str] = Counter()
    for count in counts:
        overall.update(count)
    mean = overall.total() / max(1, n_clusters)
    return [_heaviest(count, overall, mean, per_cluster) for count in counts]


def words_of(text: str) -> set[str]:
    """The words of a text in lower case, each once; numbers and function words are left out."""
    found = {word.replace("’", "'") for word in WORD.findall(text[:LONGEST_TEXT].lower())}
    return {word for word in found if len(word) >= SHORTEST_WORD} - FUNCTION_WORDS


def _heaviest(count: Counter[str], overall: Counter[str], mean: float, per_cluster: int) -> tuple[str, ...]:
    total = count.total()
    weights = {word: number / total * log(1 + mean / overall[word]) for word, number in count.items()}
    return tuple(sorted(weights, key=lambda word: (-weights[word], word))[:per_cluster])
