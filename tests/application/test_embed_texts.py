import random
from collections.abc import Sequence
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from application.call_provider import AttemptPolicy, CallProvider
from application.embed_texts import CachedVector, EmbedTexts, TextsToEmbed
from application.group_calls import GroupCalls, GroupPlace
from application.providers import PreparedRequest, ProviderAnswer
from application.replay_journal import ReplayJournal
from application.share_calls import ShareCalls
from domain.calls import CallAnswered, CallRequested, CallServedFromCache
from domain.errors import ProviderFailed, Rejected
from domain.groups import GroupMembersAdded
from domain.request_identity import normalised_text
from tests.support.given_when_then import CONTEXT, ListJournal, ListStore, notebook
from tests.support.scripted_provider import Directory, ScriptedProvider, failure, vector_of


class ReadBackCache:
    """The port EmbeddingCache, read straight from the events: slow and obvious."""

    def __init__(self, store: ListStore) -> None:
        self.store = store

    async def lookup(self, request_hashes: Sequence[str]) -> dict[str, CachedVector]:
        requested = {e.stream_id: e.fact for e in self.store.events if isinstance(e.fact, CallRequested)}
        found: dict[str, CachedVector] = {}
        for event in self.store.events:
            if isinstance(event.fact, CallAnswered) and event.fact.vectors is not None:
                hashes = requested[event.stream_id].input_hashes
                for index in range(len(hashes) // 32):
                    key = hashes[32 * index : 32 * index + 32].hex()
                    cached = CachedVector(event.stream_id, event.version, index, event.fact.vectors.dimension)
                    if key in request_hashes:
                        found.setdefault(key, cached)
        return found

    async def read_vectors(self, cached: Sequence[CachedVector]) -> NDArray[np.float32]:
        rows = []
        for each in cached:
            payload = self.store.payloads[each.call_id, each.version, "response"]
            block = np.frombuffer(payload.vectors or b"", dtype="<f4").reshape(-1, each.dimension)
            rows.append(block[each.input_index])
        return np.stack(rows)


class Embedding:
    def __init__(self, provider: ScriptedProvider | None = None) -> None:
        self.store = ListStore()
        self.provider = provider or ScriptedProvider()
        self.journal = ListJournal()
        book = notebook(self.store, journal=self.journal)
        self.embed = EmbedTexts(
            book,
            ShareCalls(book, CallProvider(book, chance=random.Random(0))),
            Directory(self.provider),
            ReadBackCache(self.store),
            GroupCalls(book),
            lambda: AttemptPolicy(attempts=1),
        )


def expected(texts: Sequence[str]) -> NDArray[np.float32]:
    return np.array([vector_of(normalised_text(text, index=0)) for text in texts], dtype=np.float32)


async def test_each_distinct_text_is_paid_for_once() -> None:
    embedding = Embedding()
    first = await embedding.embed(TextsToEmbed(texts=("a", "bb", "a", " bb ")), CONTEXT)
    again = await embedding.embed(TextsToEmbed(texts=("ccc", "bb", "a")), CONTEXT)
    assert np.array_equal(first.vectors, expected(["a", "bb", "a", "bb"]))
    assert np.array_equal(again.vectors, expected(["ccc", "bb", "a"]))
    assert again.cached.tolist() == [False, True, True]
    assert [
        len(fact.input_hashes) // 32 for fact in embedding.store.facts(CallRequested) if isinstance(fact, CallRequested)
    ] == [2, 1]
    (served,) = embedding.store.facts(CallServedFromCache)
    assert isinstance(served, CallServedFromCache)
    assert served.hits == 2


async def test_dimensions_and_models_have_vectors_of_their_own() -> None:
    embedding = Embedding()
    for wanted in (
        TextsToEmbed(texts=("a",)),
        TextsToEmbed(texts=("a",), dimensions=3),
        TextsToEmbed(texts=("a",), model="x"),
    ):
        embedded = await embedding.embed(wanted, CONTEXT)
        assert embedded.cached.tolist() == [False]


async def test_an_empty_text_is_named_and_nothing_is_sent() -> None:
    embedding = Embedding()
    with pytest.raises(Rejected) as rejected:
        await embedding.embed(TextsToEmbed(texts=("a", " \0 ")), CONTEXT)
    assert rejected.value.fields == ("texts[1]",)
    assert embedding.provider.sent == []


async def test_what_was_paid_for_before_a_failure_is_kept() -> None:
    texts = tuple(f"text {number}" for number in range(600))
    embedding = Embedding(ScriptedProvider([failure()]))
    with pytest.raises(ProviderFailed):
        await embedding.embed(TextsToEmbed(texts=texts), CONTEXT)
    embedded = await embedding.embed(TextsToEmbed(texts=texts), CONTEXT)
    assert embedded.cached.sum() == 600 - 256
    assert np.array_equal(embedded.vectors, expected(texts))


async def test_a_group_gets_every_call_once_cached_or_not() -> None:
    embedding = Embedding()
    await embedding.embed(TextsToEmbed(texts=("a", "bb")), CONTEXT)
    place = GroupPlace(group_type="embedding_batch", name="study")
    embedded = await embedding.embed(TextsToEmbed(texts=("a", "ccc", "bb"), group=place), CONTEXT)
    (added,) = embedding.store.facts(GroupMembersAdded)
    assert isinstance(added, GroupMembersAdded)
    assert [member.call_id for member in added.members] == list(dict.fromkeys(embedded.call_ids))
    assert added.group_id == place.group_id


async def test_vectors_that_were_paid_for_are_returned_though_the_store_went_away() -> None:
    embedding = Embedding()
    await embedding.embed(TextsToEmbed(texts=("a", "bb")), CONTEXT)
    send = embedding.provider.send

    async def losing(prepared: PreparedRequest, *, timeout_seconds: float) -> ProviderAnswer:
        embedding.store.unavailable = True
        return await send(prepared, timeout_seconds=timeout_seconds)

    embedding.provider.send = losing  # type: ignore[method-assign]
    place = GroupPlace(group_type="embedding_batch", name="study")
    embedded = await embedding.embed(TextsToEmbed(texts=("a", "ccc", "bb"), group=place), CONTEXT)
    assert embedded.position is None
    assert np.array_equal(embedded.vectors, expected(["a", "ccc", "bb"]))
    embedding.store.unavailable = False
    await ReplayJournal(embedding.store, embedding.journal)()
    assert [len(embedding.store.facts(kind)) for kind in (CallAnswered, CallServedFromCache, GroupMembersAdded)] == [
        2,
        1,
        1,
    ]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.text("ab ", min_size=1).filter(str.strip), min_size=1, max_size=8), min_size=1, max_size=4))
async def test_any_mix_of_hits_and_misses_gives_every_text_its_own_vector(batches: list[list[str]]) -> None:
    embedding = Embedding()
    for texts in batches:
        embedded = await embedding.embed(TextsToEmbed(texts=tuple(texts)), CONTEXT)
        assert np.array_equal(embedded.vectors, expected(texts))
        assert all(isinstance(call_id, UUID) for call_id in embedded.call_ids)
