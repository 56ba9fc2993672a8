"""Earlier answers are given again to who wants that, as long as they are young enough."""

import pytest

from application.ask_model import Answer, Question
from application.group_calls import GroupPlace
from domain.calls import CallRequested, CallServedFromCache
from domain.errors import ProviderFailed, Rejected
from domain.groups import GroupMembersAdded
from tests.support.asking import ask_batch, ask_model
from tests.support.given_when_then import CONTEXT, ListStore, SteppingClock, notebook
from tests.support.scripted_provider import ScriptedProvider, failure

QUESTION = Question(prompt="Three primes?", temperature=0, cache_seconds=60)


class Caching:
    """A use case over a list store, whose events are all recorded at its first moment."""

    def __init__(self, provider: ScriptedProvider | None = None) -> None:
        self.store, self.clock = ListStore(), SteppingClock()
        self.provider = provider or ScriptedProvider()
        self.book = notebook(self.store, self.clock)
        self.ask = ask_model(self.book, self.store, self.provider)


async def test_an_answer_given_a_moment_ago_is_given_again_at_no_cost() -> None:
    caching = Caching()
    first = await caching.ask(QUESTION, CONTEXT)
    again = await caching.ask(QUESTION, CONTEXT)
    assert (first.cached, again.cached, again.shared_with, again.latency_ms) == (False, True, None, 0.0)
    assert (again.text, again.tokens, again.finish_reason) == (first.text, first.tokens, first.finish_reason)
    (served,) = caching.store.facts(CallServedFromCache)
    assert isinstance(served, CallServedFromCache)
    assert (served.call_ids, served.hits, served.modality) == ((first.call_id,), 1, "text")
    assert caching.store.events[-1].stream_id == again.call_id != first.call_id
    assert again.position == caching.store.last_position()
    assert len(caching.provider.sent) == 1


@pytest.mark.parametrize(("later", "cached"), [(60.0, True), (60.1, False)])
async def test_an_answer_that_is_too_old_does_not_count(later: float, cached: bool) -> None:
    caching = Caching()
    await caching.ask(QUESTION, CONTEXT)
    caching.clock.seconds = later
    assert (await caching.ask(QUESTION, CONTEXT)).cached == cached


async def test_only_who_wants_it_is_answered_from_the_cache() -> None:
    caching = Caching()
    await caching.ask(QUESTION, CONTEXT)
    assert not (await caching.ask(Question(prompt=QUESTION.prompt, temperature=0), CONTEXT)).cached
    assert not (await caching.ask(Question(prompt="?", temperature=0, cache_seconds=60), CONTEXT)).cached
    assert len(caching.provider.sent) == 3


async def test_a_failure_is_never_given_again() -> None:
    caching = Caching(ScriptedProvider([failure(transient=False)]))
    with pytest.raises(ProviderFailed):
        await caching.ask(QUESTION, CONTEXT)
    assert not (await caching.ask(QUESTION, CONTEXT)).cached


async def test_each_sample_has_an_answer_of_its_own() -> None:
    caching = Caching()
    question = Question(prompt="?", seed=1, cache_seconds=60, samples=3)
    batches = ask_batch(caching.book, caching.store, caching.ask)
    await batches.samples(question, CONTEXT)
    again = [answer for answer in await batches.samples(question, CONTEXT) if isinstance(answer, Answer)]
    sources = [
        fact.call_ids for fact in caching.store.facts(CallServedFromCache) if isinstance(fact, CallServedFromCache)
    ]
    assert [answer.cached for answer in again] == [True] * 3
    assert len(set(sources)) == len(caching.store.facts(CallRequested)) == 3


async def test_a_group_holds_the_call_that_had_been_answered() -> None:
    caching = Caching()
    first = await caching.ask(QUESTION, CONTEXT)
    place = GroupPlace(group_type="batch", name="again")
    await caching.ask(Question(prompt=QUESTION.prompt, temperature=0, cache_seconds=60, group=place), CONTEXT)
    (added,) = caching.store.facts(GroupMembersAdded)
    assert isinstance(added, GroupMembersAdded)
    assert [member.call_id for member in added.members] == [first.call_id]


@pytest.mark.parametrize(
    ("question", "field"),
    [
        (Question(prompt="?", cache_seconds=60), "temperature"),
        (Question(prompt="?", cache_seconds=60, temperature=0.1), "seed"),
        (Question(prompt="?", cache_seconds=0, temperature=0), "cache"),
    ],
)
async def test_a_request_that_has_no_one_answer_is_rejected(question: Question, field: str) -> None:
    caching = Caching()
    with pytest.raises(Rejected) as rejected:
        await caching.ask(question, CONTEXT)
    assert field in rejected.value.fields
    assert caching.store.events == []
