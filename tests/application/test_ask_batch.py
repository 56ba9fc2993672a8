"""Batches: in order, each failure in its place, and what was answered before is not paid again."""

import asyncio
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from application.ask_model import Answer, Question
from application.batches import AnsweredBatch, BatchItem, BatchToAsk, Outcome, Unanswered, batch_of
from application.group_calls import GroupPlace
from application.providers import AttemptFailed, PreparedRequest, ProviderAnswer
from domain.calls import CallCancelled, CallRequested, CallServedFromCache
from domain.errors import ProviderFailed, Rejected, Unavailable
from domain.groups import GroupCreated, GroupMembersAdded, Member, group_id_of
from tests.support.asking import ask_batch, ask_model
from tests.support.given_when_then import CONTEXT, CountingIds, ListStore, SteppingClock, notebook
from tests.support.scripted_provider import ScriptedProvider, failure


class Batches:
    """A use case over a list store and a scripted provider, as one process; `restarted` is the next."""

    def __init__(self, *script: AttemptFailed, store: ListStore | None = None) -> None:
        self.store = store or ListStore()
        self.provider = ScriptedProvider(script)
        book = notebook(self.store, SteppingClock())
        book.ids = CountingIds(after=100 * len(self.store.events))  # no two processes make the same
        self.ask = ask_batch(book, self.store, ask_model(book, self.store, self.provider, attempts=1))

    async def batch(self, *prompts: str, **how: object) -> AnsweredBatch:
        questions = tuple(Question(prompt=prompt) for prompt in prompts)
        return await self.ask(BatchToAsk(questions=questions, **how), CONTEXT)  # type: ignore[arg-type]

    def requested(self) -> list[UUID]:
        return [event.stream_id for event in self.store.events if isinstance(event.fact, CallRequested)]

    def members(self, group_id: UUID) -> list[Member]:
        facts = self.store.facts(GroupMembersAdded)
        return [fact.members[0] for fact in facts if isinstance(fact, GroupMembersAdded) and fact.group_id == group_id]

    def served(self) -> list[CallServedFromCache]:
        return [fact for fact in self.store.facts(CallServedFromCache) if isinstance(fact, CallServedFromCache)]


def said(batch: AnsweredBatch) -> list[str | None]:
    return [item.outcome.text if isinstance(item.outcome, Answer) else item.outcome.status for item in batch.items]


def was_given(batch: AnsweredBatch) -> list[bool]:
    return [isinstance(item.outcome, Answer) and item.outcome.cached for item in batch.items]


async def test_answers_keep_the_order_of_the_questions_and_form_a_group_in_that_order() -> None:
    batches = Batches()
    answered = await batches.batch(*"abcdefg", in_flight=3)
    assert said(answered) == [f"echo: {letter}" for letter in "abcdefg"]
    calls = [item.outcome.call_id for item in answered.items]
    placed = sorted(batches.members(answered.group_id), key=lambda member: member.position or 0)
    assert [member.call_id for member in placed] == calls
    assert [member.position for member in placed] == list(range(7))
    (group,) = batches.store.facts(GroupCreated)
    assert isinstance(group, GroupCreated)
    assert (group.group_type, group.name, group.metadata["questions"]) == ("batch", answered.name, 7)
    assert answered.position == batches.store.last_position()


async def test_a_failure_stays_in_its_place() -> None:
    batches = Batches(failure(transient=False))
    answered = await batches.batch("a", "b", in_flight=1)
    first, second = (item.outcome for item in answered.items)
    assert isinstance(first, Unanswered)
    assert (first.status, first.call_id) == ("failed", batches.requested()[0])
    assert "told to fail" in first.error
    assert isinstance(second, Answer)
    assert answered.unanswered == [first]


async def test_a_question_that_is_refused_leaves_no_call_and_the_others_are_asked() -> None:
    batches = Batches()
    questions = (Question(prompt="a"), Question(prompt="?", temperature=9), Question(prompt="b", samples=0))
    answered = await batches.ask(BatchToAsk(questions=questions), CONTEXT)
    assert said(answered) == ["echo: a", "rejected", "rejected"]
    assert [outcome.call_id for outcome in answered.unanswered] == [None, None]
    assert "temperature" in answered.unanswered[0].error
    assert "n must lie between" in answered.unanswered[1].error
    assert len(batches.requested()) == 1


async def test_asked_again_it_pays_for_nothing_that_was_answered() -> None:
    batches = Batches(failure(transient=False))
    first = await batches.batch("a", "b", "c", in_flight=1)
    again = await Batches(store=batches.store).batch("a", "b", "c", in_flight=1)
    assert (again.group_id, again.name) == (first.group_id, first.name)
    assert said(again) == ["echo: a", "echo: b", "echo: c"]
    assert was_given(again) == [False, True, True]
    assert [item.outcome.call_id for item in again.items[1:]] == [item.outcome.call_id for item in first.items[1:]]
    assert len(batches.requested()) == 4
    (served,) = batches.served()
    assert (served.hits, set(served.call_ids)) == (2, {item.outcome.call_id for item in first.items[1:]})
    assert len(batches.store.facts(GroupCreated)) == 1
    third = await batches.batch("a", "b", "c", in_flight=1)
    assert len(batches.requested()) == 4
    assert all(was_given(third))


async def test_asked_anew_it_pays_for_everything() -> None:
    batches = Batches()
    await batches.batch("a", "b")
    again = await batches.batch("a", "b", again=True)
    assert not any(was_given(again))
    assert len(batches.requested()) == 4


async def test_another_batch_does_not_take_its_answers_but_one_of_the_same_name_does() -> None:
    batches = Batches()
    await batches.batch("a", "b", name="mine")
    other = await batches.batch("a", "b")
    assert not any(was_given(other))
    grown = await batches.batch("b", "c", name="mine")
    assert was_given(grown) == [True, False]


async def test_what_is_asked_twice_in_a_batch_is_asked_once_unless_it_is_not_to_be_shared() -> None:
    batches = Batches()
    answered = await batches.batch("a", "a", "a", in_flight=1)
    assert said(answered) == ["echo: a"] * 3
    assert was_given(answered) == [False, True, True]
    assert len({item.outcome.call_id for item in answered.items}) == len(batches.requested()) == 1
    (served,) = batches.served()
    assert (served.hits, len(served.call_ids)) == (2, 1)
    alone = BatchToAsk(questions=(Question(prompt="a", share=False),) * 3, name="alone")
    assert not any(was_given(await batches.ask(alone, CONTEXT)))
    assert len(batches.requested()) == 4
    again = await batches.ask(alone, CONTEXT)
    assert all(was_given(again))
    assert len({item.outcome.call_id for item in again.items}) == 3


async def test_the_failure_of_what_is_asked_twice_is_both_ones() -> None:
    batches = Batches(failure(transient=False))
    answered = await batches.batch("a", "a", in_flight=1)
    assert said(answered) == ["failed", "failed"]
    assert len({outcome.call_id for outcome in answered.unanswered}) == len(batches.requested()) == 1
    assert batches.served() == []


async def test_samples_are_calls_of_their_own_in_the_groups_order() -> None:
    batches = Batches()
    outcomes = await batches.ask.samples(Question(prompt="?", samples=3), CONTEXT)
    assert len({outcome.call_id for outcome in outcomes}) == len(batches.requested()) == 3
    (group,) = batches.store.facts(GroupCreated)
    assert isinstance(group, GroupCreated)
    assert (group.group_type, group.name) == ("batch", f"3 samples {CONTEXT.correlation_id}")
    placed = sorted(batches.members(group_id_of("batch", group.name)), key=lambda member: member.position or 0)
    assert [(member.position, member.call_id) for member in placed] == [
        (place, outcome.call_id) for place, outcome in enumerate(outcomes)
    ]
    await batches.ask.samples(Question(prompt="?", samples=3), CONTEXT)
    assert len(batches.requested()) == 6  # new ones are wanted


async def test_a_group_of_type_batch_names_the_batch_and_another_one_is_joined_too() -> None:
    batches = Batches()
    question = Question(prompt="?", samples=2)
    await batches.ask.samples(Question(prompt="?", samples=2, group=GroupPlace(group_type="batch", name="x")), CONTEXT)
    assert len(batches.members(group_id_of("batch", "x"))) == 2
    assert len(batches.store.facts(GroupCreated)) == 1
    own = GroupPlace(group_type="label", name="own", position=7)
    mixed = batch_of((question, Question(prompt="!", group=own)), GroupPlace(group_type="experiment", name="e"))
    answered = await batches.ask(mixed, CONTEXT)
    assert len(batches.members(group_id_of("experiment", "e"))) == 2
    assert [member.position for member in batches.members(own.group_id)] == [7]
    assert len(batches.members(answered.group_id)) == 3


async def test_of_samples_that_all_failed_the_first_failure_is_raised_and_a_wrong_question_is_refused() -> None:
    with pytest.raises(ProviderFailed, match="told to fail"):
        await Batches(*(failure(transient=False) for _ in range(2))).ask.samples(
            Question(prompt="?", samples=2), CONTEXT
        )
    some: list[Outcome] = await Batches(failure(transient=False)).ask.samples(Question(prompt="?", samples=2), CONTEXT)
    assert sorted(type(outcome).__name__ for outcome in some) == ["Answer", "Unanswered"]
    with pytest.raises(Rejected) as refused:
        await Batches().ask.samples(Question(prompt="?", samples=2, temperature=9), CONTEXT)
    assert refused.value.fields == ("temperature",)


async def test_who_waits_is_told_of_each_item_once_and_how_far_it_is() -> None:
    batches = Batches()
    await batches.batch("a", "b", name="x")
    told: list[BatchItem] = []
    steps: list[tuple[int, int]] = []
    questions = tuple(Question(prompt=prompt) for prompt in ("c", "a", "c", "a", " "))
    answered = await batches.ask(
        BatchToAsk(questions=questions, name="x"),
        CONTEXT,
        progress=lambda done, total: steps.append((done, total)),
        tell=told.append,
    )
    assert sorted(told, key=lambda item: item.index) == list(answered.items)
    assert (steps[0], steps[-1]) == ((0, 5), (5, 5))
    assert [done for done, _ in steps] == sorted({done for done, _ in steps})


async def test_no_more_are_asked_at_a_time_than_wanted() -> None:
    batches = Batches()
    under_way, most = 0, 0
    send = batches.provider.send

    async def counting(prepared: PreparedRequest, *, timeout_seconds: float) -> ProviderAnswer:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return await send(prepared, timeout_seconds=timeout_seconds)

    batches.provider.send = counting  # type: ignore[method-assign]
    await batches.batch(*map(str, range(50)), in_flight=7)
    assert most == 7


async def test_when_the_store_is_lost_it_ends_with_every_call_under_way_told() -> None:
    batches = Batches()
    batches.provider.hangs = True
    asking = asyncio.create_task(batches.batch("a", "b", "c", in_flight=2))
    while len(batches.provider.sent) < 2:
        await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert len(batches.store.facts(CallCancelled)) == len(batches.requested()) == 2
    batches.store.unavailable = True
    with pytest.raises(Unavailable):
        await batches.batch("d", "e")


@pytest.mark.parametrize(
    ("batch", "field"),
    [
        (BatchToAsk(questions=()), "questions"),
        (BatchToAsk(questions=(Question(prompt="?", samples=100),) * 1001), "questions"),
        (BatchToAsk(questions=(Question(prompt="?"),), in_flight=0), "in_flight"),
        (BatchToAsk(questions=(Question(prompt="?"),), in_flight=1001), "in_flight"),
        (BatchToAsk(questions=(Question(prompt="?"),), name="x" * 301), "name"),
    ],
)
async def test_what_is_no_batch_is_refused_and_leaves_no_trace(batch: BatchToAsk, field: str) -> None:
    batches = Batches()
    with pytest.raises(Rejected) as refused:
        await batches.ask(batch, CONTEXT)
    assert field in refused.value.fields
    assert batches.store.events == []


@settings(max_examples=60, deadline=None)
@given(
    prompts=st.lists(st.sampled_from("abcd"), min_size=1, max_size=8),
    share=st.booleans(),
    failures=st.lists(st.booleans(), max_size=8),
    in_flight=st.integers(1, 4),
)
def test_however_often_it_fails_a_rerun_pays_only_for_what_has_no_answer(
    prompts: list[str], share: bool, failures: list[bool], in_flight: int
) -> None:
    async def check() -> None:
        store = ListStore()
        questions = tuple(Question(prompt=prompt, share=share) for prompt in prompts)
        batch = BatchToAsk(questions=questions, in_flight=in_flight)
        script = [failure(transient=False) for fails in failures if fails]
        first = await Batches(*script, store=store).ask(batch, CONTEXT)
        asked = Batches(store=store)
        missing = {item.outcome.call_id for item in first.items if isinstance(item.outcome, Unanswered)}
        before = len(asked.requested())
        second = await asked.ask(batch, CONTEXT)
        assert said(second) == [f"echo: {prompt}" for prompt in prompts]
        assert len(asked.requested()) - before == len(missing)
        assert before == (len(set(prompts)) if share else len(prompts))

    asyncio.run(check())
