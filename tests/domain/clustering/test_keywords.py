from collections import Counter
from math import log

import pytest

from domain.clustering import keywords
from domain.clustering.keywords import words_of
from domain.errors import Rejected

TEXTS = (
    "The train to Rome leaves at nine",
    "When does the train to Oslo leave?",
    "A bus to Rome, please",
    "Bake the bread in the oven",
    "Bread and cake, bread and butter",
    "Is the oven hot?",
)


def test_keywords_are_what_the_others_do_not_say():
    travel, baking = keywords(TEXTS, [0, 0, 0, 1, 1, 1], 2, per_cluster=3)
    assert travel == ("rome", "train", "bus")
    assert baking == ("bread", "oven", "bake")


def test_weights_are_those_of_the_formula_over_all_clusters():
    texts = ["apple apple pear", "pear plum", "plum plum fig"]
    counts = [Counter("apple pear".split()), Counter("pear plum".split()), Counter("plum fig".split())]
    overall = sum(counts, Counter())
    for cluster, count in enumerate(counts):
        weight = {word: n / 2 * log(1 + (6 / 3) / overall[word]) for word, n in count.items()}
        expected = sorted(weight, key=lambda word, weight=weight: (-weight[word], word))
        assert list(keywords(texts, [0, 1, 2], 3)[cluster]) == expected


def test_noise_counts_nowhere_and_a_cluster_without_words_has_none():
    assert keywords(["apple", "pear", "42 !"], [0, -1, 1], 3) == [("apple",), (), ()]


def test_words_of_any_script_are_found_once_without_numbers_and_function_words():
    assert words_of("Don’t the Äpfel äpfel re-use 42 2nd яблоко x ßß _a_") == {"äpfel", "re-use", "яблоко", "ßß"}


def test_labels_of_other_texts_are_rejected():
    with pytest.raises(Rejected, match="labels"):
        keywords(TEXTS, [0, 1], 2)
    with pytest.raises(Rejected, match="per_cluster"):
        keywords(TEXTS, [0] * 6, 1, per_cluster=0)
