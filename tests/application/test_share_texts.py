"""Texts that are embedded at the same time, or were a moment ago, are paid for once, whoever else wants them.

Two processes are two instances here, over one list store.
"""

import asyncio
from collections import Counter
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from application.embed_texts import Embedded, TextsToEmbed
from application.ports import Claim
from application.providers import AttemptFailed, PreparedRequest, ProviderAnswer
from application.share_texts import claims_of
from application.text_batches import Text
from domain.calls import CallAnswered, CallCancelled, CallJoined, CallRequested
from domain.errors import ProviderFailed
from infrastructure.clock import SystemClock
from tests.application.test_embed_texts import Embedding, expected
from tests.support.given_when_then import CONTEXT, CountingIds, ListStore
from tests.support.scripted_provider import ScriptedProvider, failure


class Gated(ScriptedProvider):
    """Answers once it may, or fails as scripted; writes down what it was paid for."""

    def __init__(self, *script: AttemptFailed, open_at_once: bool = True) -> None:
        super().__init__(script)
        self.may_answer = asyncio.Event()
        self.paid: Counter[str] = Counter()
        if open_at_once:
            self.may_answer.set()

    async def send(self, prepared: PreparedRequest, *, timeout_seconds: float) -> ProviderAnswer:
        await asyncio.sleep(0)
        await self.may_answer.wait()
        answer = await super().send(prepared, timeout_seconds=timeout_seconds)
        self.paid.update(msgspec.json.decode(prepared.body)["input"])
        return answer


class Several:
    """Processes with one store and one provider."""

    def __init__(
        self,
        provider: Gated,
        processes: int = 2,
        *,
        lag: int = 0,
        texts_per_request: int = 256,
        longest_wait: float = 30,
    ) -> None:
        self.store = ListStore()
        self.provider = provider
        ids = CountingIds()
        self.processes = [
            Embedding(
                provider,
                store=self.store,
                lag=lag,
                texts_per_request=texts_per_request,
                ids=ids,
                clock=SystemClock(),
                call_timeout_seconds=longest_wait,
            )
            for _ in range(processes)
        ]

    def embed(self, *texts: str, process: int = 0) -> "asyncio.Task[Embedded]":
        return asyncio.create_task(self.processes[process].embed(TextsToEmbed(texts=texts), CONTEXT))

    async def until(self, fact_type: Any, count: int = 1) -> None:
        while len(self.store.facts(fact_type)) < count:
            await asyncio.sleep(0.001)

    def joins(self) -> list[CallJoined]:
        return [fact for fact in self.store.facts(CallJoined) if isinstance(fact, CallJoined)]


@pytest.mark.parametrize("second", [0, 1], ids=["in one process", "in two"])
async def test_texts_that_another_is_embedding_are_waited_for_and_the_rest_is_sent(second: int) -> None:
    several = Several(Gated(open_at_once=False))
    first = several.embed("a", "bb", "ccc")
    await several.until(CallRequested)
    other = several.embed("bb", "dddd", "a", process=second)
    await several.until(CallRequested, 2)
    await several.until(CallJoined)
    several.provider.may_answer.set()
    one, two = await first, await other
    assert np.array_equal(one.vectors, expected(["a", "bb", "ccc"]))
    assert np.array_equal(two.vectors, expected(["bb", "dddd", "a"]))
    assert two.cached.tolist() == [True, False, True]
    assert set(several.provider.paid.values()) == {1}
    (joined,) = several.joins()
    assert (joined.call_id, len(joined.input_hashes)) == (one.call_ids[0], 64)
    assert several.store.claims == {}


@pytest.mark.parametrize("second", [0, 1], ids=["in one process", "in two"])
async def test_what_was_waited_for_in_vain_is_sent_by_who_waited(second: int) -> None:
    several = Several(Gated(open_at_once=False))
    first = several.embed("a", "bb")
    await several.until(CallRequested)
    other = several.embed("bb", process=second)
    await several.until(CallJoined)
    first.cancel()
    several.provider.may_answer.set()
    embedded = await other
    assert np.array_equal(embedded.vectors, expected(["bb"]))
    assert several.provider.paid == {"bb": 1}
    waited, took_over = several.joins()
    assert (waited.took_over, took_over.took_over) == (False, True)
    assert took_over.call_id == embedded.call_ids[0]


async def test_the_claims_of_a_dead_process_are_taken_over() -> None:
    several = Several(Gated(open_at_once=False))
    first = several.embed("a", "bb")
    await several.until(CallRequested)
    other = several.embed("bb", process=1)
    await several.until(CallJoined)
    several.store.claims.clear()  # as the store does for whoever asks next, once the holder's process is dead
    several.provider.may_answer.set()
    assert np.array_equal((await other).vectors, expected(["bb"]))
    await first


@pytest.mark.parametrize("second", [0, 1], ids=["in one process", "in two"])
async def test_a_failure_is_shared_but_not_a_refusal_of_other_texts(second: int) -> None:
    several = Several(Gated(failure(), open_at_once=False))
    tasks = [several.embed("a"), several.embed("a", process=second)]
    await several.until(CallJoined)
    several.provider.may_answer.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, ProviderFailed) for result in results)
    assert len(several.store.facts(CallRequested)) == 1

    several = Several(Gated(failure("bad_request", transient=False), open_at_once=False))
    tasks = [several.embed("a", "bb"), several.embed("bb", process=second)]
    await several.until(CallJoined)
    several.provider.may_answer.set()
    one, two = await asyncio.gather(*tasks)
    assert np.array_equal(one.vectors, expected(["a", "bb"]))
    assert np.array_equal(two.vectors, expected(["bb"]))
    assert several.provider.paid == {"a": 1, "bb": 1}


async def test_what_was_answered_a_moment_ago_is_not_paid_for_again_though_no_read_model_shows_it() -> None:
    several = Several(Gated(), lag=10**6)
    first = await several.embed("a", "bb")
    other = await several.embed("bb", "ccc", process=1)
    assert np.array_equal(other.vectors, expected(["bb", "ccc"]))
    assert other.call_ids[0] == first.call_ids[1]
    assert other.cached.tolist() == [True, False]
    assert set(several.provider.paid.values()) == {1}
    (unmade,) = several.store.facts(CallCancelled)
    assert isinstance(unmade, CallCancelled)
    assert str(first.call_ids[0]) in unmade.reason
    assert [join.call_id for join in several.joins()] == [first.call_ids[0]]
    assert several.store.claims == {}


async def test_claims_that_an_ended_call_left_are_cleared_and_its_answer_is_used() -> None:
    several = Several(Gated(), lag=10**6)
    first = await several.embed("a", "bb")
    (call_id,) = {*first.call_ids}
    texts = [Text(key, "") for key in first.request_hashes]
    several.store.claims.update({claim.key: claim for claim in claims_of(texts, call_id)})
    again = await several.embed("bb", process=1)
    assert again.call_ids == (call_id,)
    assert np.array_equal(again.vectors, expected(["bb"]))
    assert len(several.store.claims) == 1
    assert [join.call_id for join in several.joins()] == [call_id]
    assert several.provider.paid == {"a": 1, "bb": 1}


async def test_a_claim_of_a_call_that_never_was_holds_nobody_up() -> None:
    several = Several(Gated())
    embedded = await several.embed("a")
    stray = Claim(key=f"text:{embedded.request_hashes[0]}", holder=UUID(int=10**6))
    several.store.events.clear()
    several.store.claims[stray.key] = stray
    again = await asyncio.wait_for(several.embed("a", "bb"), timeout=5)
    assert np.array_equal(again.vectors, expected(["a", "bb"]))


async def test_who_waits_too_long_is_told_so_and_the_others_texts_are_kept() -> None:
    several = Several(Gated(open_at_once=False), longest_wait=0.05)
    first = several.embed("a")
    await several.until(CallRequested)
    with pytest.raises(ProviderFailed, match="has not ended") as overdue:
        await several.embed("a", process=1)
    assert overdue.value.fields == ("texts[0]",)
    several.provider.may_answer.set()
    await first


words = st.sampled_from([f"{letter * size}" for letter in "abc" for size in range(1, 5)])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.lists(words, min_size=1, max_size=10)), min_size=2, max_size=6),
    st.integers(1, 5),
    st.sampled_from([0, 3, 10**6]),
    st.sets(words, max_size=2),
    st.data(),
)
async def test_in_any_order_everybody_gets_each_texts_own_vector_and_each_is_paid_for_once(
    wanted: list[tuple[int, list[str]]], texts_per_request: int, lag: int, bad: set[str], data: st.DataObject
) -> None:
    provider = Choosy(bad)
    several = Several(provider, processes=3, lag=lag, texts_per_request=texts_per_request)
    tasks = []
    for process, texts in wanted:
        tasks.append(several.embed(*texts, process=process))
        for _ in range(data.draw(st.integers(0, 60))):
            await asyncio.sleep(0)
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), timeout=20)
    for (_, texts), result in zip(wanted, results, strict=True):
        if bad.isdisjoint(texts):
            assert isinstance(result, Embedded)
            assert np.array_equal(result.vectors, expected(texts))
        else:
            assert isinstance(result, ProviderFailed)
            refused = {f"texts[{place}]" for place, text in enumerate(texts) if text in bad}
            assert {*result.fields} == refused
    good = {text for _, texts in wanted for text in texts} - bad
    assert provider.paid == Counter(good)
    assert several.store.claims == {}
    answered = [event.stream_id for event in several.store.events if isinstance(event.fact, CallAnswered)]
    assert len(answered) == len({*answered})


class Choosy(Gated):
    """Refuses whatever has one of these texts in it."""

    def __init__(self, bad: set[str]) -> None:
        super().__init__()
        self.bad = bad

    async def send(self, prepared: PreparedRequest, *, timeout_seconds: float) -> ProviderAnswer:
        if not self.bad.isdisjoint(msgspec.json.decode(prepared.body)["input"]):
            await asyncio.sleep(0)
            raise failure("bad_request", transient=False)
        return await super().send(prepared, timeout_seconds=timeout_seconds)
