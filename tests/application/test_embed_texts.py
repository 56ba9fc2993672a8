import random
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from numpy.typing import NDArray

from application.call_provider import AttemptPolicy, CallProvider
from application.embed_texts import CheckDeployment, EmbedTexts, TextsToEmbed
from application.group_calls import GroupCalls, GroupPlace
from application.ports import Clock, Ids
from application.providers import AttemptFailed, PreparedRequest, ProviderAnswer
from application.replay_journal import ReplayJournal
from application.send_texts import SendTexts
from application.share_texts import SharedTexts
from application.text_batches import TextBatches, estimated_tokens
from domain.calls import AttemptError, CallAnswered, CallFailed, CallRequested, CallServedFromCache
from domain.errors import Conflict, ProviderFailed, Rejected
from domain.groups import GroupMembersAdded
from domain.pricing import PriceTable
from domain.request_identity import normalised_texts
from tests.support.embedding import ReadBackCache, there_are_all
from tests.support.given_when_then import CONTEXT, ListJournal, ListStore, notebook
from tests.support.scripted_provider import Directory, ScriptedProvider, failure, vector_of


class Embedding:
    """One process's embedding engine; several may have the same store."""

    def __init__(
        self,
        provider: Any = None,
        *,
        store: ListStore | None = None,
        lag: int = 0,
        texts_per_request: int = 256,
        tokens_per_request: int = 200_000,
        ids: Ids | None = None,
        clock: Clock | None = None,
        call_timeout_seconds: float = 30,
        check_deployment: CheckDeployment | None = None,
        prices: PriceTable | None = None,
    ) -> None:
        self.store = store or ListStore()
        self.provider = provider or ScriptedProvider()
        self.journal = ListJournal()
        self.book = notebook(self.store, clock, self.journal)  # type: ignore[arg-type]
        self.book.ids = ids or self.book.ids
        self.cache = ReadBackCache(self.store, lag=lag)
        batches = TextBatches(texts_per_request=texts_per_request, tokens_per_request=tokens_per_request)
        calls = CallProvider(self.book, chance=random.Random(0), prices=prices or PriceTable())
        shared = SharedTexts(self.book, self.store)
        self.embed = EmbedTexts(
            self.book,
            SendTexts(calls, shared, self.cache, self.store, self.book.ids.new, batches),
            Directory(self.provider),
            self.cache,
            GroupCalls(self.book),
            lambda: AttemptPolicy(attempts=1, call_timeout_seconds=call_timeout_seconds),
            check_deployment or there_are_all,
            {"numpy": "2"},
        )

    def paid_calls(self) -> list[bytes]:
        """The bodies of the requests that were answered."""
        answered = [event.stream_id for event in self.store.events if isinstance(event.fact, CallAnswered)]
        return [self.store.payloads[call_id, 1, "request"].body or b"" for call_id in answered]

    @property
    def sent(self) -> list[list[str]]:
        """The texts of each request that the provider got."""
        return [msgspec.json.decode(prepared.body)["input"] for prepared in self.provider.sent]


def expected(texts: Sequence[str]) -> NDArray[np.float32]:
    return np.array([vector_of(text) for text in normalised_texts(texts)], dtype=np.float32)


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


class Picky(ScriptedProvider):
    """Refuses requests that hold one of these texts, or more texts than it takes at a time."""

    def __init__(self, *bad: str, most: int = 10_000, status: int = 400, said: str = "that text is not for us") -> None:
        super().__init__()
        self.bad = bad
        self.most = most
        self.status = status
        self.said = said

    async def send(self, prepared: PreparedRequest, *, timeout_seconds: float) -> ProviderAnswer:
        texts = msgspec.json.decode(prepared.body)["input"]
        if len(texts) > self.most:
            self.sent.append(prepared)
            raise refusal(self.status, "array too long: at most so many inputs")
        if not {*self.bad}.isdisjoint(texts):
            self.sent.append(prepared)
            raise refusal(400, self.said)
        return await super().send(prepared, timeout_seconds=timeout_seconds)


def refusal(status: int, message: str) -> AttemptFailed:
    error = AttemptError(kind="bad_request", message=message, transient=False, http_status=status)
    return AttemptFailed(error, latency_ms=1.0)


async def test_a_text_that_is_refused_fails_alone_and_is_named_with_its_calls() -> None:
    texts = tuple(f"text {number}" for number in range(100))
    embedding = Embedding(Picky("text 7", "text 70"))
    with pytest.raises(ProviderFailed, match=r"2 of 100 texts, with index 7, 70: .* not for us") as refused:
        await embedding.embed(TextsToEmbed(texts=texts), CONTEXT)
    assert refused.value.fields == ("texts[7]", "texts[70]")
    failed = [event.stream_id for event in embedding.store.events if isinstance(event.fact, CallFailed)]
    assert UUID(refused.value.call_id) in failed
    good = tuple(text for text in texts if text not in {"text 7", "text 70"})
    before = len(embedding.sent)
    embedded = await embedding.embed(TextsToEmbed(texts=good), CONTEXT)
    assert embedded.cached.all()
    assert len(embedding.sent) == before
    assert np.array_equal(embedded.vectors, expected(good))


@pytest.mark.parametrize("status", [400, 413])
async def test_a_batch_that_is_too_large_is_split_and_later_ones_are_cut_to_what_was_taken(status: int) -> None:
    texts = tuple(f"text {number}" for number in range(1000))
    embedding = Embedding(Picky(most=20, status=status), texts_per_request=64)
    embedded = await embedding.embed(TextsToEmbed(texts=texts), CONTEXT)
    assert np.array_equal(embedded.vectors, expected(texts))
    sizes = [len(batch) for batch in embedding.sent]
    assert sum(size > 20 for size in sizes) <= 12
    assert sizes[-1] <= 20
    assert sum(size for size in sizes if size <= 20) == 1000


async def test_texts_that_are_too_long_themselves_make_later_batches_no_smaller() -> None:
    texts = tuple(f"text {number}" for number in range(2000))
    embedding = Embedding(Picky("text 3", "text 500", said="maximum context length is 8192 tokens"))
    with pytest.raises(ProviderFailed) as refused:
        await embedding.embed(TextsToEmbed(texts=texts), CONTEXT)
    assert refused.value.fields == ("texts[3]", "texts[500]")
    again = tuple(f"new {number}" for number in range(512))
    await embedding.embed(TextsToEmbed(texts=again), CONTEXT)
    assert [len(batch) for batch in embedding.sent[-2:]] == [256, 256]


async def test_where_every_text_is_refused_not_all_of_them_are_tried() -> None:
    texts = tuple(f"text {number}" for number in range(2000))
    embedding = Embedding(Picky(*texts))
    with pytest.raises(ProviderFailed, match="none of the others was tried"):
        await embedding.embed(TextsToEmbed(texts=texts), CONTEXT)
    assert len(embedding.sent) < 80


async def test_after_a_failure_that_is_no_texts_fault_no_further_batch_is_begun() -> None:
    texts = tuple(f"text {number}" for number in range(1000))
    embedding = Embedding(ScriptedProvider([failure("authentication", transient=False)]), texts_per_request=10)
    with pytest.raises(ProviderFailed, match="authentication"):
        await embedding.embed(TextsToEmbed(texts=texts), CONTEXT)
    assert len(embedding.sent) <= 4


async def test_batches_are_bounded_by_texts_and_by_estimated_tokens() -> None:
    embedding = Embedding(texts_per_request=5, tokens_per_request=100)
    texts = [*(f"{number}" for number in range(12)), *("x" * 60 + f"{number}" for number in range(7)), "y" * 1000]
    embedded = await embedding.embed(TextsToEmbed(texts=tuple(texts)), CONTEXT)
    assert np.array_equal(embedded.vectors, expected(texts))
    assert all(len(batch) <= 5 for batch in embedding.sent)
    assert all(sum(map(estimated_tokens, batch)) <= 100 or len(batch) == 1 for batch in embedding.sent)


async def test_a_model_whose_vectors_changed_their_length_is_no_source_of_one_array() -> None:
    embedding = Embedding()
    await embedding.embed(TextsToEmbed(texts=("a",)), CONTEXT)
    send = embedding.provider.send

    async def longer(prepared: PreparedRequest, *, timeout_seconds: float) -> ProviderAnswer:
        answer = await send(prepared, timeout_seconds=timeout_seconds)
        assert answer.vectors is not None
        return structs.replace(answer, vectors=np.hstack([answer.vectors, answer.vectors]))

    embedding.provider.send = longer  # type: ignore[method-assign]
    with pytest.raises(Conflict, match=r"3 dimensions .* and 6"):
        await embedding.embed(TextsToEmbed(texts=("a", "bb")), CONTEXT)


async def test_progress_ends_at_all_of_the_texts() -> None:
    told: list[tuple[int, int]] = []
    embedding = Embedding(texts_per_request=2)
    texts = ("a", "bb", "ccc", "a", "dddd", "eeeee")
    await embedding.embed(TextsToEmbed(texts=texts), CONTEXT, progress=lambda *done: told.append(done))
    assert told[0] == (0, 5)
    assert told[-1] == (5, 5)
    assert sorted(told) == told
