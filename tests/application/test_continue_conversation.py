"""Messages are answered one at a time, once, with the history that they go on from."""

import asyncio
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from application.continue_conversation import Message, TakenTurn
from application.group_calls import GroupPlace
from application.replay_journal import ReplayJournal
from application.stream_answer import StreamAnswer
from domain.calls import CallAnswered, CallCancelled, CallFailed, CallRequested
from domain.conversations import ConversationClosed, ConversationTurnTaken
from domain.errors import Conflict, NotFound, ProviderFailed, Rejected, Unavailable
from domain.groups import GroupMembersAdded
from domain.preprocessing import Preprocessing
from tests.support.conversing import Conversing
from tests.support.fours_of_letters import FoursOfLetters
from tests.support.given_when_then import CONTEXT
from tests.support.scripted_provider import ScriptedProvider, failure


def sent(conversing: Conversing, number: int = -1) -> list[tuple[str, str]]:
    """The messages that the provider was sent, the last time or another."""
    body = msgspec.json.decode(conversing.provider.sent[number].body)
    return [(message["role"], message["content"]) for message in body["messages"]]


async def test_each_message_is_sent_with_all_that_was_said_before() -> None:
    conversing = Conversing()
    talk = await conversing.begin(system="Be brief.")
    first = await conversing.say(talk, "one")
    second = await conversing.say(talk, "two")
    assert (first.turn, first.text, second.turn, second.text) == (1, "echo: one", 2, "echo: two")
    assert sent(conversing) == [
        ("system", "Be brief."),
        ("user", "one"),
        ("assistant", "echo: one"),
        ("user", "two"),
    ]
    assert await conversing.said(talk) == ["one", "echo: one", "two", "echo: two"]


async def test_what_a_step_takes_out_of_a_message_is_kept_nowhere_and_sent_with_no_later_one() -> None:
    conversing = Conversing()
    talk = await conversing.begin(system="Be brief.")
    template = "{user_input} ({name})"
    wanted = Preprocessing(pii=True, template=template, fields={"name": "bo@example.org"})
    await conversing.say(talk, "I am ada@example.org", preprocessing=wanted)
    await conversing.say(talk, "two")
    said = "I am [EMAIL] ([EMAIL])"
    assert sent(conversing)[:3] == [("system", "Be brief."), ("user", said), ("assistant", f"echo: {said}")]
    assert (await conversing.said(talk))[0] == said
    assert (await conversing.keep.load(talk)).title == said
    first, second = conversing.store.facts(CallRequested)
    assert isinstance(first, CallRequested)
    assert isinstance(second, CallRequested)
    assert first.preprocessing is not None
    assert [(step.step, step.replaced) for step in first.preprocessing.steps] == [
        ("pii", {"[EMAIL]": 2}),
        ("template", {}),
    ]
    assert second.preprocessing is None
    assert "@example.org" not in repr(conversing.store.events)
    assert not any(b"@example.org" in (payload.body or b"") for payload in conversing.store.payloads.values())


async def test_a_message_is_kept_as_it_was_before_its_steps_and_the_history_has_what_was_sent() -> None:
    conversing = Conversing()
    talk = await conversing.begin(token_budget=100)
    turn = await conversing.say(talk, "much   space", preprocessing=Preprocessing(whitespace=True))
    assert (await conversing.said(talk))[0] == "much space"
    (requested,) = conversing.store.facts(CallRequested)
    assert isinstance(requested, CallRequested)
    assert requested.preprocessing is not None
    assert requested.preprocessing.original is not None
    payload = await conversing.store.read_payload(turn.answer.call_id, 1, "original")
    assert payload is not None
    assert msgspec.json.decode(payload.body or b"")["messages"] == [{"role": "user", "content": "much   space"}]
    assert turn.prompt_tokens_estimated == 4 + 3  # ten characters, four a token


async def test_a_message_whose_steps_are_refused_takes_no_turn_and_holds_nobody_up() -> None:
    conversing = Conversing()
    talk = await conversing.begin()
    with pytest.raises(Rejected, match="leaves nothing"):
        await conversing.say(talk, "\u200b", preprocessing=Preprocessing(control=True))
    assert (await conversing.say(talk, "one")).turn == 1
    assert len(conversing.provider.sent) == 1


async def test_a_turn_is_recorded_with_its_call_which_says_where_it_belongs() -> None:
    conversing = Conversing()
    talk = await conversing.begin()
    place = GroupPlace(group_type="batch", name="b")
    turn = await conversing.say(talk, "one", metadata={"note": "n"}, group=place)
    (requested,) = conversing.store.facts(CallRequested)
    assert isinstance(requested, CallRequested)
    assert requested.metadata == {"note": "n", "conversation_id": str(talk), "turn": 1}
    (taken,) = conversing.store.facts(ConversationTurnTaken)
    assert isinstance(taken, ConversationTurnTaken)
    assert (taken.turn, taken.call_id, taken.after, taken.opening) == (1, turn.answer.call_id, 1, "one")
    assert (taken.provider, taken.model, taken.counted_by) == ("scripted", "m", None)
    assert conversing.store.events[-1].envelope.causation_id == turn.answer.call_id
    assert turn.position == conversing.store.last_position()
    assert len(conversing.store.facts(GroupMembersAdded)) == 1
    assert conversing.store.claims == {}


async def test_an_option_of_a_message_goes_before_the_conversations() -> None:
    conversing = Conversing()
    talk = await conversing.begin(provider="scripted", model="large", temperature=0.5, max_tokens=9)
    await conversing.say(talk, "one", temperature=0, seed=3)
    body = msgspec.json.decode(conversing.provider.sent[-1].body)
    assert (body["model"], body["temperature"], body["max_tokens"], body["seed"]) == ("large", 0, 9, 3)
    await conversing.say(talk, "two", provider="scripted")
    assert msgspec.json.decode(conversing.provider.sent[-1].body)["model"] == "large"
    await conversing.say(talk, "three", provider="another")
    assert msgspec.json.decode(conversing.provider.sent[-1].body)["model"] == "m"
    with pytest.raises(Rejected, match="temperature"):
        await conversing.say(talk, "four", temperature=3)


async def test_a_conversation_goes_on_in_another_process() -> None:
    first = Conversing()
    talk = await first.begin()
    await first.say(talk, "one")
    later = Conversing(store=first.store)
    later.notebook.ids.last = 1000  # type: ignore[attr-defined]
    assert (await later.say(talk, "two")).turn == 2
    assert sent(later) == [("user", "one"), ("assistant", "echo: one"), ("user", "two")]


async def test_forks_of_forks_go_on_from_where_they_were_forked_and_leave_each_other_alone() -> None:
    conversing = Conversing()
    talk = await conversing.begin()
    for text in ("one", "two", "three"):
        await conversing.say(talk, text)
    fork = (await conversing.keep.fork(talk, CONTEXT, at=2)).conversation_id
    assert (await conversing.say(fork, "other three")).turn == 3
    again = (await conversing.keep.fork(fork, CONTEXT)).conversation_id
    back = (await conversing.keep.fork(again, CONTEXT, at=1)).conversation_id
    await conversing.say(again, "four")
    await conversing.say(back, "other two")
    assert (await conversing.said(talk))[::2] == ["one", "two", "three"]
    assert (await conversing.said(fork))[::2] == ["one", "two", "other three"]
    assert (await conversing.said(again))[::2] == ["one", "two", "other three", "four"]
    assert (await conversing.said(back))[::2] == ["one", "other two"]
    assert sent(conversing) == [("user", "one"), ("assistant", "echo: one"), ("user", "other two")]


async def test_of_messages_at_once_one_is_answered_and_the_others_are_refused_at_once_and_unpaid() -> None:
    conversing = Conversing()
    conversing.provider.hangs = True
    talk = await conversing.begin()
    first = asyncio.create_task(conversing.say(talk, "one"))
    while not conversing.provider.sent:
        await asyncio.sleep(0)
    other = Conversing(store=conversing.store)
    other.notebook.ids.last = 1000  # type: ignore[attr-defined]
    for process in (conversing, other):
        with pytest.raises(Conflict, match="wait for it, or fork") as refused:
            await process.say(talk, "two")
        assert refused.value.existing_id == str(talk)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    conversing.provider.hangs = False
    conversing.provider.sent.clear()
    messages = (process.say(talk, "one") for process in (conversing, other, conversing, other))
    results = await asyncio.gather(*messages, return_exceptions=True)
    assert [type(result) for result in results] == [TakenTurn, Conflict, Conflict, Conflict]
    assert (len(conversing.provider.sent), other.provider.sent) == (1, [])


async def test_a_failure_leaves_no_turn_and_a_conversation_that_goes_on() -> None:
    conversing = Conversing(ScriptedProvider([failure(transient=False)]))
    talk = await conversing.begin()
    with pytest.raises(ProviderFailed):
        await conversing.say(talk, "one")
    assert conversing.store.facts(ConversationTurnTaken) == []
    assert len(conversing.store.facts(CallFailed)) == 1
    assert conversing.store.claims == {}
    assert (await conversing.say(talk, "one")).turn == 1


async def test_a_message_that_is_left_is_cancelled_and_the_conversation_goes_on() -> None:
    conversing = Conversing(ScriptedProvider(hangs=True))
    talk = await conversing.begin()
    leaving = asyncio.create_task(conversing.say(talk, "one"))
    while not conversing.provider.sent:
        await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert len(conversing.store.facts(CallCancelled)) == 1
    assert conversing.store.claims == {}
    conversing.provider.hangs = False
    assert (await conversing.say(talk, "two")).turn == 1


@pytest.mark.parametrize("steps", range(30))
async def test_whenever_a_message_is_left_the_conversation_is_not_stuck(steps: int) -> None:
    conversing = Conversing()
    talk = await conversing.begin()
    leaving = asyncio.create_task(conversing.say(talk, "one"))
    for _ in range(steps):
        await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    for _ in range(50):
        await asyncio.sleep(0)
    assert conversing.store.claims == {}
    turn = await conversing.say(talk, "one")
    assert turn.turn == len(conversing.store.facts(ConversationTurnTaken))
    answered = len(conversing.store.facts(CallAnswered))
    assert answered == turn.turn  # what was paid before it was left is the turn's


async def test_a_closed_conversation_takes_no_message() -> None:
    conversing = Conversing()
    talk = await conversing.begin()
    await conversing.keep.close(talk, CONTEXT)
    with pytest.raises(Conflict, match="closed; fork it to go on"):
        await conversing.say(talk, "one")
    assert (conversing.provider.sent, conversing.store.claims) == ([], {})
    fork = (await conversing.keep.fork(talk, CONTEXT)).conversation_id
    assert (await conversing.say(fork, "one")).turn == 1


async def test_a_message_that_is_being_answered_when_the_conversation_is_closed_is_still_its_turn() -> None:
    conversing = Conversing()
    talk = await conversing.begin()
    send = conversing.provider.send

    async def closing(*args: Any, **more: Any) -> Any:
        await conversing.keep.close(talk, CONTEXT)
        return await send(*args, **more)

    conversing.provider.send = closing  # type: ignore[method-assign]
    assert (await conversing.say(talk, "one")).turn == 1
    assert [type(event.fact) for event in conversing.store.events if event.stream_id == talk][1:] == [
        ConversationClosed,
        ConversationTurnTaken,
    ]
    assert await conversing.said(talk) == ["one", "echo: one"]


async def test_nothing_is_asked_for_what_can_not_be_answered() -> None:
    conversing = Conversing()
    with pytest.raises(NotFound):
        await conversing.say(UUID(int=99), "one")
    talk = await conversing.begin()
    with pytest.raises(Rejected, match="empty"):
        await conversing.say(talk, " ")
    conversing.store.unavailable = True
    with pytest.raises(Unavailable):
        await conversing.say(talk, "one")
    conversing.store.unavailable = False
    assert conversing.provider.sent == []
    await conversing.say_to.aclose()


async def test_what_was_paid_before_the_process_died_is_the_turn_and_not_paid_again() -> None:
    """The answer is stored, the turn isn't: as a process leaves it that is killed between the two."""
    dying = Conversing()
    talk = await dying.begin()
    await dying.say(talk, "one")

    dying.notebook.write_or_keep, keep = _dies_at_the_turn(dying), dying.notebook.write_or_keep  # type: ignore[method-assign, assignment]
    with pytest.raises(SystemExit):
        await dying.say(talk, "two")
    assert len(dying.store.facts(CallAnswered)) == 2
    dying.notebook.write_or_keep = keep  # type: ignore[method-assign]
    heir = Conversing(store=dying.store)
    heir.notebook.ids.last = 1000  # type: ignore[attr-defined]
    told: list[str] = []
    turn = await heir.say_to(talk, Message(content="two"), CONTEXT, told.append)
    assert (turn.turn, turn.text, told, heir.provider.sent) == (2, "echo: two", ["echo: two"], [])
    assert turn.answer.call_id in {event.stream_id for event in dying.store.events}
    assert (turn.answer.provider, turn.answer.model, turn.answer.tokens.total) == ("scripted", "m", 2)
    assert await heir.said(talk) == ["one", "echo: one", "two", "echo: two"]


async def test_another_message_after_a_crash_is_asked() -> None:
    dying = Conversing()
    talk = await dying.begin()
    keep = dying.notebook.write_or_keep
    dying.notebook.write_or_keep = _dies_at_the_turn(dying)  # type: ignore[method-assign, assignment]
    with pytest.raises(SystemExit):
        await dying.say(talk, "one")
    dying.notebook.write_or_keep = keep  # type: ignore[method-assign]
    assert (await dying.say(talk, "uno")).text == "echo: uno"
    fork = (await dying.keep.fork(talk, CONTEXT, at=0)).conversation_id
    await dying.say(fork, "one")
    assert len(dying.provider.sent) == 3


def _dies_at_the_turn(conversing: Conversing) -> Any:
    keep = conversing.notebook.write_or_keep

    async def write(*entries: Any, **more: Any) -> int | None:
        if isinstance(entries[0].fact, ConversationTurnTaken):
            raise SystemExit
        return await keep(*entries, **more)

    return write


async def test_a_turn_that_waits_in_the_journal_is_given_at_once_and_the_next_message_waits_for_it() -> None:
    conversing = Conversing()
    talk = await conversing.begin()
    _store_leaves_at_the_send(conversing)
    turn = await conversing.say(talk, "one")
    assert (turn.text, turn.position, conversing.journal.holds(talk)) == ("echo: one", None, True)
    conversing.store.unavailable = False
    with pytest.raises(Conflict):
        await conversing.say(talk, "two")
    await ReplayJournal(conversing.store, conversing.journal)()
    while conversing.store.claims:
        await asyncio.sleep(0)
    assert (await conversing.say(talk, "two")).turn == 2
    assert await conversing.said(talk) == ["one", "echo: one", "two", "echo: two"]


async def test_while_its_own_journal_holds_a_turn_a_process_does_not_answer_without_it() -> None:
    conversing = Conversing()
    talk = await conversing.begin()
    _store_leaves_at_the_send(conversing)
    await conversing.say(talk, "one")
    conversing.store.unavailable = False
    conversing.store.claims.clear()
    with pytest.raises(Unavailable, match="on its way from the journal"):
        await conversing.say(talk, "two")
    assert len(conversing.provider.sent) == 1
    await conversing.say_to.aclose()


async def test_a_turn_whose_process_died_with_it_in_the_journal_comes_too_late_and_does_no_harm() -> None:
    dead = Conversing()
    heir = Conversing(store=dead.store)
    heir.notebook.ids.last = 1000  # type: ignore[attr-defined]
    talk = await dead.begin()
    _store_leaves_at_the_send(dead)
    await dead.say(talk, "one")
    dead.store.unavailable = False
    dead.store.claims.clear()  # it is dead
    await dead.say_to.aclose()
    assert (await heir.say(talk, "uno")).turn == 1
    await ReplayJournal(dead.store, dead.journal)()
    assert await heir.said(talk) == ["uno", "echo: uno"]
    assert (await heir.say(talk, "two")).turn == 2


def _store_leaves_at_the_send(conversing: Conversing) -> None:
    send = conversing.provider.send

    async def leaving(*args: Any, **more: Any) -> Any:
        conversing.store.unavailable = True
        conversing.provider.send = send  # type: ignore[method-assign]
        return await send(*args, **more)

    conversing.provider.send = leaving  # type: ignore[method-assign]


async def test_turns_are_streamed() -> None:
    conversing = Conversing()
    talk = await conversing.begin()
    streams = StreamAnswer(conversing.ask)
    message = Message(content="one")
    stream = streams.begin(lambda tell: conversing.say_to(talk, message, CONTEXT, tell))
    assert [piece async for piece in stream] == ["echo:", " ?"]
    assert (stream.answer.turn, stream.answer.text) == (1, "echo: one")
    await conversing.keep.close(talk, CONTEXT)
    with pytest.raises(Conflict):
        [piece async for piece in streams.begin(lambda tell: conversing.say_to(talk, message, CONTEXT, tell))]


async def test_a_stream_that_is_left_frees_the_conversation() -> None:
    conversing = Conversing(ScriptedProvider(hangs=True))
    talk = await conversing.begin()
    stream = StreamAnswer(conversing.ask).begin(
        lambda tell: conversing.say_to(talk, Message(content="one"), CONTEXT, tell)
    )
    async with stream:
        async for _ in stream:
            break
    assert conversing.store.claims == {}
    assert len(conversing.store.facts(CallCancelled)) == 1
    assert (await conversing.say(talk, "one")).turn == 1


async def test_what_a_budget_leaves_out_is_not_sent_and_is_told_and_stays() -> None:
    conversing = Conversing()
    talk = await conversing.begin(system="Be brief.", token_budget=36)
    for text in ("one", "two", "three"):
        await conversing.say(talk, text)
    turn = await conversing.say(talk, "four")
    (taken,) = conversing.store.facts(ConversationTurnTaken)[-1:]
    assert isinstance(taken, ConversationTurnTaken)
    assert (taken.dropped_turns, taken.budget_tokens, taken.counted_by) == (turn.dropped_turns, 36, "fours")
    assert turn.dropped_turns == 2
    assert [text for _, text in sent(conversing)] == ["Be brief.", "three", "echo: three", "four"]
    assert (await conversing.said(talk))[::2] == ["one", "two", "three", "four"]
    whole = await conversing.say(talk, "five", token_budget=1000)
    assert (whole.dropped_turns, len(sent(conversing))) == (0, 10)
    with pytest.raises(Rejected, match="more than the budget of 36"):
        await conversing.say(talk, "x" * 200)


async def test_without_a_tokenizer_a_quarter_of_the_characters_is_counted() -> None:
    class Nowhere:
        def for_model(self, model: str) -> FoursOfLetters:
            raise Rejected(f"The encoding of {model} can't be loaded")

    conversing = Conversing(tokenizers=Nowhere())
    turn = await conversing.say(await conversing.begin(token_budget=36), "one")
    assert (turn.counted_by, turn.prompt_tokens_estimated) == ("characters/4", 5)


@settings(max_examples=30, deadline=None)
@given(
    texts=st.lists(st.text("abc ", min_size=1, max_size=40).filter(str.strip), min_size=1, max_size=6),
    budget=st.integers(20, 120),
)
def test_whatever_is_said_no_more_than_the_budget_is_sent_and_the_newest_of_it(texts: list[str], budget: int) -> None:
    async def talking() -> None:
        conversing = Conversing()
        talk = await conversing.begin(token_budget=budget)
        for text in texts:
            turn = await conversing.say(talk, text)
            words = [content for _, content in sent(conversing)]
            tokens = sum(-(-len(content) // 4) + 4 for content in words)
            assert tokens == turn.prompt_tokens_estimated
            assert tokens <= budget
            said_before = await conversing.said(talk)
            assert words == said_before[2 * turn.dropped_turns : -1]

    asyncio.run(talking())
