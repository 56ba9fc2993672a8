"""Identical requests in flight: one is called for, all are answered, whoever leaves, fails or dies.

Two processes are two instances here, over one list store.
"""

import asyncio
import os
from collections import Counter
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from application import share_calls
from application.ask_model import Answer, AskModel, Question
from application.call_provider import CallProvider
from application.group_calls import GroupPlace
from application.ports import Append, Claim
from application.providers import AttemptFailed, PreparedRequest, ProviderAnswer
from domain.calls import CallAnswered, CallCancelled, CallFailed, CallJoined, CallRequested
from domain.errors import ProviderFailed, Unavailable
from domain.groups import GroupMembersAdded
from infrastructure.clock import SystemClock
from tests.support.asking import ask_model
from tests.support.given_when_then import CONTEXT, ListJournal, ListStore, SteppingClock, notebook
from tests.support.scripted_provider import ScriptedProvider, failure

SCALE = float(os.environ.get("STUDY_TEST_SCALE", "1"))
QUESTION = Question(prompt="Three primes?")


class Gated(ScriptedProvider):
    """Answers, or fails as scripted, once it may; counts how many it is asked at once."""

    def __init__(self, *script: AttemptFailed) -> None:
        super().__init__(script)
        self.may_answer = asyncio.Event()
        self.at_once: Counter[bytes] = Counter()
        self.most_at_once = 0

    async def send(self, prepared: PreparedRequest, *, timeout_seconds: float) -> ProviderAnswer:
        self.at_once[prepared.body] += 1
        self.most_at_once = max(self.most_at_once, self.at_once[prepared.body])
        try:
            self.sent.append(prepared)
            await self.may_answer.wait()
            answer = await super().send(prepared, timeout_seconds=timeout_seconds)
            self.sent.pop()
            return answer
        finally:
            self.at_once[prepared.body] -= 1


class Sharing:
    """One or more processes that ask one provider over one store."""

    def __init__(self, *script: AttemptFailed, processes: int = 1, attempts: int = 3) -> None:
        self.store = ListStore()
        self.journal = ListJournal()
        self.provider = Gated(*script)
        clock: Any = SteppingClock() if processes == 1 else SystemClock()
        self.book = notebook(self.store, clock, self.journal)
        self.shares = [
            share_calls.ShareCalls(self.book, CallProvider(self.book, chance=Random(0))) for _ in range(processes)
        ]
        self.processes: list[AskModel] = [
            ask_model(self.book, self.store, self.provider, attempts=attempts, share=each) for each in self.shares
        ]

    def asks(self, question: Question = QUESTION, *, process: int = 0) -> "asyncio.Task[Answer]":
        return asyncio.create_task(self.processes[process](question, CONTEXT))

    def asks_sample(self, sample: int) -> "asyncio.Task[Answer]":
        ask = self.processes[0]

        async def asked() -> Answer:
            return await ask.ask(await ask.intended(QUESTION, sample_index=sample), CONTEXT)

        return asyncio.create_task(asked())

    async def joined(self, count: int) -> None:
        """Until so many wait for a call."""
        while len(self.joins) < count:
            await asyncio.sleep(0.001)

    @property
    def joins(self) -> list[CallJoined]:
        return [fact for fact in self.store.facts(CallJoined) if isinstance(fact, CallJoined)]

    def requested(self) -> list[UUID]:
        return [event.stream_id for event in self.store.events if isinstance(event.fact, CallRequested)]


async def test_many_that_ask_the_same_at_once_are_answered_by_one_call() -> None:
    sharing = Sharing()
    asked = [sharing.asks() for _ in range(20)]
    await sharing.joined(19)
    sharing.provider.may_answer.set()
    first, *others = await asyncio.gather(*asked)
    (call_id,) = sharing.requested()
    assert (first.call_id, first.shared_with) == (call_id, None)
    assert {answer.text for answer in others} == {first.text}
    assert {answer.shared_with for answer in others} == {join.call_id for join in sharing.joins} == {call_id}
    assert len({answer.call_id for answer in others} | {call_id}) == 20
    assert {answer.position for answer in others} == {sharing.store.last_position()}
    assert sharing.store.claims == {}


async def test_who_asks_after_the_answer_came_makes_a_call_of_its_own() -> None:
    sharing = Sharing()
    sharing.provider.may_answer.set()
    answers = [await sharing.asks() for _ in range(2)]
    assert [answer.shared_with for answer in answers] == [None, None]
    assert len(sharing.requested()) == 2


async def test_samples_and_other_requests_are_not_shared_and_other_limits_do_not_matter() -> None:
    sharing = Sharing()
    asked = [
        *(sharing.asks_sample(sample) for sample in range(3)),
        sharing.asks(structs.replace(QUESTION, temperature=1)),
        sharing.asks(structs.replace(QUESTION, prompt="Three primes?!")),
        sharing.asks(structs.replace(QUESTION, attempts=7, attempt_timeout_seconds=1, metadata={"by": "other"})),
    ]
    await sharing.joined(1)
    assert sharing.joins[0].metadata == {"by": "other"}
    sharing.provider.may_answer.set()
    await asyncio.gather(*asked)
    assert len(sharing.requested()) == 5
    assert len(sharing.joins) == 1


async def test_who_wants_a_call_of_its_own_gets_it() -> None:
    sharing = Sharing()
    asked = [sharing.asks(Question(prompt="?", share=False)) for _ in range(3)]
    sharing.provider.may_answer.set()
    assert {answer.shared_with for answer in await asyncio.gather(*asked)} == {None}
    assert (len(sharing.requested()), sharing.store.claims) == (3, {})


async def test_when_the_call_fails_all_fail_once_and_name_it() -> None:
    sharing = Sharing(failure(transient=False))
    asked = [sharing.asks() for _ in range(5)]
    await sharing.joined(4)
    sharing.provider.may_answer.set()
    failures = await asyncio.gather(*asked, return_exceptions=True)
    (call_id,) = sharing.requested()
    assert {(type(each), str(each), each.call_id) for each in failures if isinstance(each, ProviderFailed)} == {
        (ProviderFailed, "scripted failed after 1 attempt: told to fail: server_error", str(call_id))
    }
    assert (len(failures), len(sharing.store.facts(CallFailed)), sharing.store.claims) == (5, 1, {})


@pytest.mark.parametrize("processes", [1, 2])
async def test_when_the_owner_leaves_one_takes_over_and_the_others_join_it(processes: int) -> None:
    sharing = Sharing(processes=processes)
    owner = sharing.asks()
    while not sharing.provider.sent:
        await asyncio.sleep(0)
    others = [sharing.asks(process=number % processes) for number in range(4)]
    await sharing.joined(4)
    owner.cancel()
    await asyncio.gather(owner, return_exceptions=True)
    await sharing.joined(8)
    sharing.provider.may_answer.set()
    answers = await asyncio.gather(*others)
    first, second = sharing.requested()
    assert len(sharing.store.facts(CallCancelled)) == 1
    assert sorted((answer.shared_with or UUID(int=0)).int for answer in answers) == [0, *[second.int] * 3]
    assert [join.call_id for join in sharing.joins] == [first] * 4 + [second] * 4
    assert [join.took_over for join in sharing.joins].count(True) == 1
    joiners = {event.stream_id for event in sharing.store.events if isinstance(event.fact, CallJoined)}
    assert len(joiners) == 4
    assert sharing.store.claims == {}


async def test_an_answer_that_came_while_the_owner_left_is_everybodys() -> None:
    sharing = Sharing()
    owner, other = sharing.asks(), sharing.asks()
    await sharing.joined(1)
    sharing.provider.may_answer.set()
    while not sharing.provider.sent or sharing.provider.at_once[sharing.provider.sent[0].body]:
        await asyncio.sleep(0)
    owner.cancel()
    assert (await other).text == "echo: Three primes?"
    assert len(sharing.requested()) == 1


async def test_who_leaves_while_it_waits_disturbs_nobody() -> None:
    sharing = Sharing()
    owner, leaver, other = sharing.asks(), sharing.asks(), sharing.asks()
    await sharing.joined(2)
    leaver.cancel()
    await asyncio.gather(leaver, return_exceptions=True)
    sharing.provider.may_answer.set()
    assert (await owner).text == (await other).text
    assert (len(sharing.requested()), len(sharing.joins)) == (1, 2)


async def test_processes_share_through_the_claim() -> None:
    sharing = Sharing(processes=3)
    asked = [sharing.asks(process=number % 3) for number in range(9)]
    await sharing.joined(8)
    sharing.provider.may_answer.set()
    answers = await asyncio.gather(*asked)
    assert len(sharing.requested()) == 1
    assert {answer.text for answer in answers} == {"echo: Three primes?"}
    assert sum(answer.shared_with is None for answer in answers) == 1


async def joined_from_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> "tuple[Sharing, asyncio.Task[Answer], asyncio.Task[Answer]]":
    """A call under way, and who waits for it in another process, ready to take over at any moment."""
    monkeypatch.setattr(share_calls, "CLAIM_SECONDS", 0.02)
    sharing = Sharing(processes=2)
    owner = sharing.asks()
    while not sharing.provider.sent:
        await asyncio.sleep(0)
    joiner = sharing.asks(process=1)
    await sharing.joined(1)
    return sharing, owner, joiner


async def test_an_answer_that_comes_between_the_last_look_and_taking_over_is_not_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sharing, owner, joiner = await joined_from_elsewhere(monkeypatch)
    append = sharing.store.append

    async def once_the_owner_is_answered(appended: Append) -> int:
        if appended.take:
            sharing.provider.may_answer.set()
            await owner
        return await append(appended)

    monkeypatch.setattr(sharing.store, "append", once_the_owner_is_answered)
    assert (await joiner).shared_with == (await owner).call_id
    assert (len(sharing.requested()), sharing.store.claims) == (1, {})


async def test_who_leaves_just_as_it_takes_over_leaves_no_claim_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    sharing, _, joiner = await joined_from_elsewhere(monkeypatch)
    append = sharing.store.append

    async def leaving(appended: Append) -> int:
        if appended.take:
            sharing.store.claims.clear()  # as if its owner were gone
            joiner.cancel()
        return await append(appended)

    monkeypatch.setattr(sharing.store, "append", leaving)
    with pytest.raises(asyncio.CancelledError):
        await joiner
    assert (len(sharing.requested()), sharing.store.claims) == (1, {})


async def test_who_leaves_as_it_takes_over_while_the_store_is_away_gives_its_claim_up_when_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its process lives, so that nobody else may take the claim."""
    sharing, _, joiner = await joined_from_elsewhere(monkeypatch)
    append = sharing.store.append

    async def leaving(appended: Append) -> int:
        if not appended.take:
            return await append(appended)
        sharing.store.claims.clear()  # as if its owner were gone
        position = await append(appended)
        sharing.store.unavailable = True
        joiner.cancel()
        return position

    monkeypatch.setattr(sharing.store, "append", leaving)
    with pytest.raises(asyncio.CancelledError):
        await joiner
    await sharing.shares[1].give_up()
    assert sharing.store.claims != {}
    sharing.store.unavailable = False
    await sharing.shares[1].give_up()
    assert sharing.store.claims == {}


async def test_a_failure_reaches_other_processes_in_the_same_words() -> None:
    sharing = Sharing(failure(transient=False), processes=2)
    asked = [sharing.asks(process=number) for number in range(2)]
    await sharing.joined(1)
    sharing.provider.may_answer.set()
    failures = await asyncio.gather(*asked, return_exceptions=True)
    assert len({str(each) for each in failures}) == 1
    assert {each.call_id for each in failures if isinstance(each, ProviderFailed)} == {str(sharing.requested()[0])}


async def test_who_has_waited_as_long_as_its_own_call_might_take_is_told_so() -> None:
    sharing = Sharing(processes=2)
    owner = sharing.asks()
    while not sharing.provider.sent:
        await asyncio.sleep(0)
    hasty = Question(prompt=QUESTION.prompt, call_timeout_seconds=0.1)
    for process in range(2):
        with pytest.raises(ProviderFailed, match=r"not ended within the 0\.1 s that a call may take") as told:
            await sharing.asks(hasty, process=process)
        assert told.value.call_id == str(sharing.requested()[0])
    sharing.provider.may_answer.set()
    await owner


async def test_who_is_impatient_fails_alone() -> None:
    sharing = Sharing(processes=2)
    owner = sharing.asks()
    while not sharing.provider.sent:
        await asyncio.sleep(0)
    hasty = sharing.asks(Question(prompt=QUESTION.prompt, call_timeout_seconds=0.05), process=1)
    patient = sharing.asks(process=1)
    await sharing.joined(2)
    with pytest.raises(ProviderFailed, match="a call may take"):
        await hasty
    sharing.provider.may_answer.set()
    assert (await patient).shared_with == (await owner).call_id


async def test_who_leaves_while_the_claim_is_refused_leaves_no_call_behind() -> None:
    sharing = Sharing(processes=2)
    owner = sharing.asks()
    while not sharing.provider.sent:
        await asyncio.sleep(0)
    begun = sharing.store.begun
    leaver = sharing.asks(process=1)
    while sharing.store.begun == begun:
        await asyncio.sleep(0)
    leaver.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaver
    assert [type(fact) for fact in sharing.store.facts()] == [CallRequested]
    sharing.provider.may_answer.set()
    await owner


async def test_a_claim_that_was_left_behind_is_cleared_away() -> None:
    """Its call ended while the store was away, so that nothing could give it up."""
    sharing = Sharing()
    sharing.provider.may_answer.set()
    first = await sharing.asks()
    (request,) = sharing.store.facts(CallRequested)
    assert isinstance(request, CallRequested)
    key = f"call:{request.request_hash}"
    sharing.store.claims[key] = Claim(key=key, holder=first.call_id)
    second = await sharing.asks()
    assert (second.shared_with, len(sharing.requested()), sharing.store.claims) == (None, 2, {})


async def test_an_answer_that_waits_in_the_journal_is_everybodys() -> None:
    sharing = Sharing()
    asked = [sharing.asks() for _ in range(3)]
    await sharing.joined(2)
    sharing.store.unavailable = True
    sharing.provider.may_answer.set()
    answers = await asyncio.gather(*asked)
    assert {(answer.text, answer.position) for answer in answers} == {("echo: Three primes?", None)}
    assert len(sharing.journal.kept) == 1


async def test_a_request_that_cannot_be_stored_is_refused_for_all_and_never_made() -> None:
    sharing = Sharing()
    sharing.store.unavailable = True
    refused = await asyncio.gather(*(sharing.asks() for _ in range(5)), return_exceptions=True)
    assert {type(each) for each in refused} == {Unavailable}
    assert sharing.provider.sent == []


async def test_a_group_holds_the_call_that_answered() -> None:
    sharing = Sharing()
    asked = [
        sharing.asks(Question(prompt="?", group=GroupPlace(group_type="batch", name=name))) for name in ("one", "two")
    ]
    await sharing.joined(1)
    sharing.provider.may_answer.set()
    await asyncio.gather(*asked)
    added = [fact for fact in sharing.store.facts(GroupMembersAdded) if isinstance(fact, GroupMembersAdded)]
    assert len({fact.group_id for fact in added}) == 2
    assert {fact.members[0].call_id for fact in added} == set(sharing.requested())


@settings(max_examples=int(40 * SCALE), deadline=None)
@given(
    askers=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12)), min_size=2, max_size=8),
    leavers=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 25)), max_size=4),
    failures=st.integers(0, 2),
    opens_after=st.integers(0, 25),
)
async def test_whatever_the_order_nothing_is_asked_twice_at_once_and_nobody_is_left(
    askers: list[tuple[int, int]], leavers: list[tuple[int, int]], failures: int, opens_after: int
) -> None:
    sharing = Sharing(*(failure(transient=False) for _ in range(failures)), processes=3)

    async def after(steps: int, process: int) -> Answer:
        for _ in range(steps):
            await asyncio.sleep(0)
        return await sharing.processes[process](QUESTION, CONTEXT)

    async def leave(task: "asyncio.Task[Answer]", steps: int) -> None:
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()

    tasks = [asyncio.create_task(after(steps, process)) for process, steps in askers]
    leaving = [asyncio.create_task(leave(tasks[number], steps)) for number, steps in leavers if number < len(tasks)]
    for _ in range(opens_after):
        await asyncio.sleep(0)
    sharing.provider.may_answer.set()
    async with asyncio.timeout(60):
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*leaving)
    assert sharing.provider.most_at_once <= 1
    assert sharing.store.claims == {}
    ends = Counter(
        event.stream_id
        for event in sharing.store.events
        if isinstance(event.fact, CallAnswered | CallFailed | CallCancelled)
    )
    assert ends == Counter(sharing.requested())
    failed = {event.stream_id for event in sharing.store.events if isinstance(event.fact, CallFailed)}
    answered = {event.stream_id for event in sharing.store.events if isinstance(event.fact, CallAnswered)}
    for result in ended:
        match result:
            case Answer():
                assert (result.shared_with or result.call_id) in answered
            case ProviderFailed():
                assert UUID(result.call_id) in failed
            case _:
                assert isinstance(result, asyncio.CancelledError), result
