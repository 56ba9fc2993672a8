"""What a conversation amounts to, where it can be forked, and what is left out to keep within a budget."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from application.ports import Payload
from domain.conversations import (
    BY_CHARACTERS,
    OPENING_CHARACTERS,
    ConversationClosed,
    ConversationForked,
    ConversationSettings,
    ConversationStarted,
    ConversationTurnTaken,
    TokenCounter,
    checked_message,
    checked_settings,
    checked_title,
    conversation_of,
    fitted,
    message_tokens,
    opening_of,
    takes_messages,
    turn_to_fork_at,
)
from domain.errors import Conflict, Rejected
from domain.events import Fact
from domain.sweeps import SweepFailed
from tests.support.given_when_then import ListStore

TALK = UUID(int=1)
STARTED = ConversationStarted(settings=ConversationSettings(system="Be brief."))
CLOSED = ConversationClosed(reason="done")


def took(turn: int, opening: str = "hello") -> ConversationTurnTaken:
    messages = Payload(part="messages").ref()
    return ConversationTurnTaken(
        turn=turn, call_id=UUID(int=turn), after=turn, messages=messages, opening=opening, provider="p", model="m"
    )


def after(*facts: Fact):  # type: ignore[no-untyped-def]
    store = ListStore()
    store.given(TALK, *facts)
    conversation = conversation_of(store.events)
    assert conversation is not None
    return conversation


def test_a_stream_that_is_no_conversations_is_none() -> None:
    store = ListStore()
    assert conversation_of(store.events) is None
    store.given(TALK, SweepFailed(reason="?"), CLOSED)
    assert conversation_of(store.events) is None


def test_turns_are_counted_and_the_first_message_is_the_title() -> None:
    talk = after(STARTED, took(1, "hello"), took(2, "and you?"))
    assert [(turn.number, turn.version) for turn in talk.turns] == [(1, 2), (2, 3)]
    assert (talk.last_turn, talk.version, talk.title, talk.closed) == (2, 3, "hello", False)


def test_a_forks_turns_go_on_counting_from_where_it_was_forked() -> None:
    forked = ConversationForked(parent_id=TALK, at_turn=3, settings=STARTED.settings, title="t")
    talk = after(forked, took(4))
    assert (talk.last_turn, talk.parent_id, talk.at_turn, talk.title) == (4, TALK, 3, "t")
    assert after(forked).last_turn == 3


def test_a_turn_that_came_late_does_not_count() -> None:
    talk = after(STARTED, took(1), took(1, "late"), took(2))
    assert [(turn.number, turn.version) for turn in talk.turns] == [(1, 2), (2, 4)]
    assert talk.version == 4


def test_a_turn_that_was_under_way_when_the_conversation_was_closed_counts() -> None:
    talk = after(STARTED, CLOSED, took(1))
    assert (talk.last_turn, talk.closed) == (1, True)
    with pytest.raises(Conflict, match="fork it to go on") as refused:
        takes_messages(TALK, talk)
    assert refused.value.existing_id == str(TALK)


@pytest.mark.parametrize(("at", "turn"), [(None, 2), (0, 0), (1, 1), (2, 2)])
def test_a_fork_goes_on_after_any_turn(at: int | None, turn: int) -> None:
    assert turn_to_fork_at(TALK, after(STARTED, took(1), took(2)), at) == turn


@pytest.mark.parametrize("at", [-1, 3])
def test_a_fork_at_a_turn_that_there_is_not_is_rejected(at: int) -> None:
    with pytest.raises(Rejected, match="from 0, its beginning, to 2") as rejected:
        turn_to_fork_at(TALK, after(STARTED, took(1), took(2)), at)
    assert rejected.value.fields == ("at",)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        (ConversationSettings(temperature=2.1), "temperature"),
        (ConversationSettings(max_tokens=0), "max_tokens"),
        (ConversationSettings(token_budget=0), "token_budget"),
        (ConversationSettings(token_budget=10**9), "token_budget"),
        (ConversationSettings(seed=2**63), "seed"),
        (ConversationSettings(system="x" * 10_000_001), "system"),
    ],
)
def test_settings_that_can_not_be_are_rejected(settings: ConversationSettings, field: str) -> None:
    with pytest.raises(Rejected) as rejected:
        checked_settings(settings)
    assert rejected.value.fields == (field,)


@pytest.mark.parametrize("content", ["", " \n", "x" * 10_000_001], ids=["empty", "blank", "too long"])
def test_a_message_that_can_not_be_is_rejected(content: str) -> None:
    with pytest.raises(Rejected) as rejected:
        checked_message(content)
    assert rejected.value.fields == ("content",)


@pytest.mark.parametrize("title", ["", "x" * 301], ids=["empty", "too long"])
def test_a_title_that_can_not_be_is_rejected(title: str) -> None:
    with pytest.raises(Rejected, match="1 to 300"):
        checked_title(title)


def test_a_messages_opening_is_one_bounded_line() -> None:
    assert opening_of("Name  three\nprimes") == "Name three primes"
    assert len(opening_of("word " * 100)) == OPENING_CHARACTERS
    assert opening_of("word " * 100).endswith("…")


def said(*texts: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text} for text in texts]


def test_what_is_always_sent_and_does_not_fit_is_rejected_with_how_much_it_is_over() -> None:
    with pytest.raises(Rejected, match=r"take 14 tokens \(characters/4\), 4 more than the budget of 10") as rejected:
        fitted(10, [], said("x" * 20, "y" * 4), BY_CHARACTERS)
    assert rejected.value.fields == ("content", "token_budget")


texts = st.text(max_size=40)
turns_of_texts = st.lists(st.tuples(texts, texts), max_size=12)
counters = st.sampled_from([BY_CHARACTERS, TokenCounter("words", lambda text: len(text.split()))])


@given(turns=turns_of_texts, kept=st.lists(texts, min_size=1, max_size=2), budget=st.integers(1, 200), counter=counters)
def test_what_is_sent_keeps_within_the_budget_and_is_as_much_of_the_newest_as_fits(
    turns: list[tuple[str, str]], kept: list[str], budget: int, counter: TokenCounter
) -> None:
    def tokens(messages: list[dict[str, str]]) -> int:
        return sum(message_tokens(message, counter) for message in messages)

    history, always = [said(*turn) for turn in turns], said(*kept)
    if tokens(always) > budget:
        with pytest.raises(Rejected):
            fitted(budget, history, always, counter)
        return
    fits = fitted(budget, history, always, counter)

    def sent(dropped: int) -> int:
        return tokens(always) + sum(tokens(turn) for turn in history[dropped:])

    assert fits.tokens == sent(fits.dropped_turns) <= budget
    assert fits.dropped_turns == 0 or sent(fits.dropped_turns - 1) > budget
