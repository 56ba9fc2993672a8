"""Texts, a provider that misbehaves over real HTTP, and processes that are killed: each text gets its own vector, once.

STUDY_TEST_SCALE multiplies the number of texts.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import numpy as np
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from application.embed_texts import Embedded, TextsToEmbed
from domain.errors import ProviderFailed
from domain.request_identity import normalised_texts
from infrastructure.providers.openai_compatible import OpenAICompatible
from infrastructure.settings import read_settings
from interfaces.composition import open_study
from tests.application.test_embed_texts import Embedding
from tests.conftest import Database
from tests.support.given_when_then import CONTEXT
from tests.support.misbehaving_server import DIMENSIONS, MisbehavingServer, Received, vector_of
from tests.support.warm_process import WarmProcess

SCALE = float(os.environ.get("STUDY_TEST_SCALE", "1"))
COUNT = int(1_500 * SCALE)
PATIENCE_SECONDS = 60.0
FAULTS = (
    *("server_error", "rate_limited", "truncated", "malformed_json", "empty_body", "error_in_success"),
    *("wrong_count", "repeated_index", "nan_vector", "wrong_dimension"),
)
CORRECT = ("ok", "shuffled_vectors", "float_list", "no_usage")


def texts_of(count: int) -> tuple[str, ...]:
    return tuple(f"text {number}" for number in range(count))


def expected(texts: Sequence[str]) -> NDArray[np.float32]:
    return np.stack([vector_of(text) for text in normalised_texts(texts)])


def sent_to(server: MisbehavingServer) -> Counter[str]:
    """How often each text was sent."""
    return Counter(text for request in server.requests for text in msgspec.json.decode(request.body)["input"])


@pytest.fixture(scope="module")
def faulty() -> Iterator[MisbehavingServer]:
    with MisbehavingServer() as server:
        yield server


words = st.sampled_from(["bad apple", *(f"{letter} " * size for letter in "abcé" for size in range(1, 6))])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(words, min_size=1, max_size=12), min_size=1, max_size=3),
    st.lists(st.sampled_from([*FAULTS, *CORRECT]), max_size=12),
    st.integers(1, 6),
)
async def test_whatever_the_provider_does_each_text_gets_the_vector_that_it_gave_for_it(
    faulty: MisbehavingServer, commands: list[list[str]], behaviours: list[str], texts_per_request: int
) -> None:
    provider = OpenAICompatible(api_key=None, base_url=faulty.url, chat_model=None, embedding_model="tiny")
    embedding = Embedding(provider, texts_per_request=texts_per_request)
    script = iter(behaviours)
    # Of a single vector nobody can say that its length is wrong, unless a length was asked for.
    dimensions = DIMENSIONS if "wrong_dimension" in behaviours else None
    began = len(faulty.requests)

    def behave(request: Received, _number: int) -> str:
        if b"bad apple" in request.body:
            return "bad_request"
        return next(script, "shuffled_vectors")

    faulty.behave_by(behave)
    for texts in commands:
        embedded: Embedded | None = None
        good = [text for text in texts if text != "bad apple"]
        while good and embedded is None:  # each fault is met once, so this ends
            with suppress(ProviderFailed):
                embedded = await embedding.embed(TextsToEmbed(texts=tuple(good), dimensions=dimensions), CONTEXT)
        if embedded is not None:
            assert np.array_equal(embedded.vectors, expected(good))
        if len(good) < len(texts):
            with pytest.raises(ProviderFailed) as refused:
                await embedding.embed(TextsToEmbed(texts=tuple(texts), dimensions=dimensions), CONTEXT)
            bad = {f"texts[{place}]" for place, text in enumerate(texts) if text == "bad apple"}
            assert {*refused.value.fields} == bad
    answered = Counter(text.strip() for call in embedding.paid_calls() for text in msgspec.json.decode(call)["input"])
    assert set(answered.values()) <= {1}
    assert len(faulty.requests) > began
    await provider.aclose()


def embedder(line: Connection, count: int) -> None:
    """Embed once it is told to; say how many vectors are those that the provider gave."""

    async def embed() -> None:
        async with open_study(read_settings()) as study:
            study.registry.create("openai")
            line.send("ready")
            await asyncio.to_thread(line.recv)
            texts = texts_of(count)
            embedded = await study.embeddings.of_texts(TextsToEmbed(texts=texts), study.context())
            equal = (embedded.vectors == expected(texts)).all(axis=1)
            line.send(int(equal.sum()))

    asyncio.run(embed())


class Embedders:
    """Processes that embed the same texts when they are told to."""

    def __init__(self, database: Database, server: MisbehavingServer, home: Path) -> None:
        self.environment = {
            **os.environ,
            "DATABASE_URL": database.application_uri,
            "STUDY_HOME": str(home),
            "STUDY_DEFAULT_PROVIDER": "openai",
            "OPENAI_BASE_URL": server.url,
            "OPENAI_EMBEDDING_MODEL": "tiny",
        }
        self.running: list[WarmProcess] = []

    def start(self) -> WarmProcess:
        process = WarmProcess(embedder, COUNT, environment=self.environment)
        self.running.append(process)
        assert process.hear(within=PATIENCE_SECONDS) == "ready"
        return process


@pytest.fixture
def slow() -> Iterator[MisbehavingServer]:
    with MisbehavingServer() as server:
        server.behave_always("slow")  # 0.2 s an answer
        yield server


@pytest.fixture
def embedders(database: Database, slow: MisbehavingServer, tmp_path: Path) -> Iterator[Embedders]:
    made = Embedders(database, slow, tmp_path)
    yield made
    for process in made.running:
        process.close()


def test_processes_that_embed_the_same_texts_pay_once_for_each(embedders: Embedders, slow: MisbehavingServer) -> None:
    processes = [embedders.start() for _ in range(3)]
    for process in processes:
        process.line.send("go")
    assert [process.hear(within=PATIENCE_SECONDS) for process in processes] == [COUNT] * 3
    assert sent_to(slow) == Counter(texts_of(COUNT))


def test_what_was_answered_before_a_process_was_killed_is_not_paid_for_again(
    embedders: Embedders, slow: MisbehavingServer, database: Database
) -> None:
    killed, survivor = embedders.start(), embedders.start()
    killed.line.send("go")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (answered := answered_hashes(database)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    survivor.line.send("go")  # while the first one holds claims
    killed.kill()
    assert survivor.hear(within=PATIENCE_SECONDS) == COUNT
    sent = sent_to(slow)
    assert set(sent) == set(texts_of(COUNT))
    under_way = 4 * 256  # whether the provider had answered those, nobody knows
    assert sum(times - 1 for times in sent.values()) <= under_way
    assert all(times <= 2 for times in sent.values())
    paid = answered_hashes(database)
    assert len(paid) == len({*paid}) == COUNT
    assert set(answered) <= set(paid)


def answered_hashes(database: Database) -> list[str]:
    """The hash of each text that has a vector in the log, as often as it was paid for."""
    with psycopg.connect(database.owner_uri) as owner:
        rows = owner.execute("SELECT request_hash FROM study.embedding_vectors").fetchall()
    return [request_hash for (request_hash,) in rows]
