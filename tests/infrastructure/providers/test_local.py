"""The offline provider: the same bytes for the same request everywhere, and names that come from the texts."""

import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from application.providers import AttemptFailed, ChatRequest, EmbeddingsRequest
from application.summarise_texts import NAME_THE_TOPIC
from domain.errors import Rejected
from domain.identity import sha256_hex
from infrastructure.providers.local import LocalProvider
from infrastructure.providers.local_extract import answer, central_sentence, topic_name
from infrastructure.providers.local_ngrams import embed_ngrams
from infrastructure.table_files import read_table

PROJECT = Path(__file__).parents[3]
SAMPLE = PROJECT / "interfaces" / "cli" / "quickstart_texts.csv"
TEXTS = (
    "The train to Leeds was late",
    "Trains were late again on the platform",
    "I bake bread on Sundays",
    "Größe zählt nicht",
    "火车晚点了",
    "🙂",
    "",
)


def test_vectors_have_length_one_whatever_the_text() -> None:
    vectors = embed_ngrams([*TEXTS, " \n", "x" * 100_000, "!!!"])
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS) + 3, 512)
    np.testing.assert_allclose(np.linalg.norm(vectors.astype(np.float64), axis=1), 1, atol=1e-6)


def test_the_vectors_of_known_texts_never_change() -> None:
    # Kept embeddings and sweep ids rest on these bytes: other vectors need another model name.
    expected = "30a3bcc7d2b5d99ca36f2aebf6ff4dd87ddf8b45333d39813d97328560617c7c"
    assert sha256_hex(embed_ngrams(TEXTS).astype("<f4").tobytes()) == expected


def test_a_texts_vector_does_not_depend_on_its_company() -> None:
    together = embed_ngrams(TEXTS, 64)
    for row, text in zip(together, TEXTS, strict=True):
        assert np.array_equal(embed_ngrams([text], 64)[0], row)


def test_texts_that_share_words_are_nearer() -> None:
    late, again, bread = embed_ngrams(TEXTS[:3])
    assert late @ again > 0.2 > late @ bread


def test_another_process_with_another_hash_seed_gives_the_same_bytes() -> None:
    code = (
        "import sys; from infrastructure.providers.local_ngrams import embed_ngrams;"
        f"sys.stdout.buffer.write(embed_ngrams({TEXTS!r}).tobytes())"
    )
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(PROJECT), "PYTHONUTF8": "1"}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
        assert sha256_hex(done.stdout) == sha256_hex(embed_ngrams(TEXTS).tobytes())


def test_two_thousand_short_texts_take_less_than_two_seconds() -> None:
    texts = [
        f"text {number} about topic {number % 7} and something else entirely {number * 7919}" for number in range(2000)
    ]
    began = time.process_time()
    embed_ngrams(texts)
    assert time.process_time() - began < 2


async def test_answers_are_the_same_bytes_in_openais_shape() -> None:
    provider = LocalProvider()
    embeddings = provider.prepare_embeddings(EmbeddingsRequest(model=None, texts=TEXTS[:5], dimensions=32))
    chat = provider.prepare_chat(ChatRequest(model=None, messages=({"role": "user", "content": "One. Two."},)))
    for prepared in (embeddings, chat):
        first, second = [await provider.send(prepared, timeout_seconds=5) for _ in range(2)]
        assert first.body == second.body
        assert first.tokens.total
    assert msgspec.json.decode(first.body)["object"] == "chat.completion"


async def test_a_big_batch_leaves_the_loop_free_and_can_be_too_slow() -> None:
    provider = LocalProvider()
    texts = tuple(f"unheard{number} words{number} alone{number}" for number in range(3000))
    prepared = provider.prepare_embeddings(EmbeddingsRequest(model=None, texts=texts))
    with pytest.raises(AttemptFailed) as failed:
        await provider.send(prepared, timeout_seconds=0.01)
    assert failed.value.error.kind == "timeout"


def test_what_it_has_not_got_is_refused() -> None:
    provider = LocalProvider()
    with pytest.raises(Rejected, match="local-extract for chats"):
        provider.prepare_chat(ChatRequest(model="gpt-4o", messages=({"role": "user", "content": "x"},)))
    with pytest.raises(Rejected, match="8 to 4096"):
        provider.prepare_embeddings(EmbeddingsRequest(model=None, texts=("x",), dimensions=1))


def test_a_name_is_made_of_what_the_texts_share() -> None:
    texts = ["My train ticket is lost", "Train tickets cost too much", "Which platform does the train leave from?"]
    assert topic_name(texts) == answer(NAME_THE_TOPIC.format(texts="\n".join(f"- {text}" for text in texts)))
    assert "train" in topic_name(texts)
    assert 2 <= len(topic_name(texts).split()) <= 5


@pytest.mark.parametrize("texts", [["!!!"], ["the", "a"], ["one"], ["x" * 5000], ["火车", "火车站"]])
def test_a_name_is_found_for_odd_texts_too(texts: list[str]) -> None:
    assert topic_name(texts).strip()


def test_any_other_prompt_is_answered_with_its_most_central_sentence() -> None:
    prompt = "Cats sleep all day. Cats and dogs sleep all day and eat. Rain is wet."
    assert central_sentence(prompt) == "Cats and dogs sleep all day and eat."
    assert central_sentence("") == ""


class TestBundledTexts:
    def test_there_are_thirty_texts_on_each_of_twelve_topics(self) -> None:
        texts, topics = sample()
        assert len({text.casefold() for text in texts}) == len(texts) == 360
        assert {topic: topics.count(topic) for topic in set(topics)} == dict.fromkeys(set(topics), 30)
        assert len(set(topics)) == 12
        assert all(20 <= len(text) <= 160 and text == text.strip() for text in texts)

    def test_topics_can_be_told_apart_but_not_easily(self) -> None:
        from domain.clustering.step import prepare, run_step
        from domain.sweeps import SweepConfig

        texts, topics = sample()
        config = SweepConfig(method="k-means", k_values=(12,), restarts=5)
        nmi = run_step(prepare(embed_ngrams(texts), config), 12, config, topics).metrics.nmi
        assert nmi is not None
        assert 0.35 < nmi < 0.8

    def test_each_topic_is_named_by_a_word_of_its_own(self) -> None:
        texts, topics = sample()
        names = [
            topic_name([text for text, of in zip(texts, topics, strict=True) if of == topic])
            for topic in dict.fromkeys(topics)
        ]
        assert len(set(names)) == 12


def sample() -> tuple[list[str], list[str]]:
    columns = read_table(SAMPLE).columns
    return [text or "" for text in columns["text"]], [topic or "" for topic in columns["topic"]]
