"""Given conversations, turns and forks, then these rows and these answers."""

from uuid import UUID

import pytest

from application.keep_conversation import messages_payload
from domain.conversations import (
    ConversationClosed,
    ConversationForked,
    ConversationSettings,
    ConversationStarted,
    ConversationTurnTaken,
)
from domain.errors import NotFound, Rejected
from projections.paging import Paging
from projections.verify import verify
from tests.projections.log import NOON, answered, requested

TALK, FORK, SECOND_FORK = UUID(int=1), UUID(int=2), UUID(int=3)
SETTINGS = ConversationSettings(system="Be brief.", provider="openai", temperature=0.5, seed=7)


def begun(log, conversation_id=TALK, **more):
    return log.write(conversation_id, ConversationStarted(settings=SETTINGS, **more))


def forked(log, fork_id, parent_id, at_turn):
    fact = ConversationForked(parent_id=parent_id, at_turn=at_turn, settings=SETTINGS, title="a fork")
    return log.write(fork_id, fact)


def took(log, turn, conversation_id=TALK, said=None, **more):
    payload = messages_payload(said or f"question {turn}", f"answer {turn} of {conversation_id.int}")
    fact = ConversationTurnTaken(
        turn=turn,
        call_id=UUID(int=100 + turn),
        after=turn,
        messages=payload.ref(),
        opening=said or f"question {turn}",
        provider="openai",
        model="gpt-4o-mini",
        **more,
    )
    return log.write(conversation_id, fact, payloads=[payload])


def answers_of(found):
    return [message["content"] for message in found["messages"] if message["role"] == "assistant"]


def test_the_views_have_the_promised_columns(log, follower, sql):
    begun(log, metadata={"n": 1})
    took(log, 1, budget_tokens=50, prompt_tokens_estimated=40, counted_by="characters/4", finish_reason="stop")
    log.write(TALK, ConversationClosed(reason="done"))
    follower.catch_up()
    columns = "conversation_id, title, status, system, provider, model, temperature, seed, turns, closed_reason"
    rows = sql(
        f"SELECT {columns}, metadata_json FROM study.conversations WHERE started_at > %s AND last_turn_at > %s",
        NOON,
        NOON,
    )
    assert rows == [(TALK, "question 1", "closed", "Be brief.", "openai", None, 0.5, 7, 1, "done", {"n": 1})]
    columns = "conversation_id, turn, call_id, message, answer, model, finish_reason, dropped_turns, budget_tokens"
    rows = sql(f"SELECT {columns}, prompt_tokens_estimated, counted_by FROM study.conversation_turns")
    assert rows == [
        (TALK, 1, UUID(int=101), "question 1", "answer 1 of 1", "gpt-4o-mini", "stop", 0, 50, 40, "characters/4")
    ]


async def test_a_conversation_is_shown_with_what_was_said(log, follower, queries):
    begun(log, title="primes")
    took(log, 1)
    took(log, 2, dropped_turns=1)
    follower.catch_up()
    found = await queries.conversations.conversation(TALK)
    assert (found["title"], found["turns"], found["history_length"], found["status"]) == ("primes", 2, 4, "open")
    assert [(message["turn"], message["role"], message["content"]) for message in found["messages"]] == [
        (1, "user", "question 1"),
        (1, "assistant", "answer 1 of 1"),
        (2, "user", "question 2"),
        (2, "assistant", "answer 2 of 1"),
    ]
    assert [turn["dropped_turns"] for turn in found["history"]] == [[], [1]]
    assert found["messages"][3]["call_id"] == str(UUID(int=102))


async def test_a_fork_of_a_fork_has_the_history_up_to_where_it_was_forked(log, follower, queries):
    begun(log)
    for turn in (1, 2, 3):
        took(log, turn)
    forked(log, FORK, TALK, 2)
    took(log, 3, FORK)
    took(log, 4, FORK)
    forked(log, SECOND_FORK, FORK, 3)
    took(log, 4, SECOND_FORK)
    took(log, 4)
    follower.catch_up()
    assert answers_of(await queries.conversations.conversation(TALK)) == [
        f"answer {turn} of 1" for turn in (1, 2, 3, 4)
    ]
    assert answers_of(await queries.conversations.conversation(FORK))[2:] == ["answer 3 of 2", "answer 4 of 2"]
    found = await queries.conversations.conversation(SECOND_FORK)
    assert answers_of(found) == ["answer 1 of 1", "answer 2 of 1", "answer 3 of 2", "answer 4 of 3"]
    assert (found["parent_id"], found["at_turn"], found["turns"], found["title"]) == (str(FORK), 3, 4, "a fork")


async def test_a_fork_that_goes_back_behind_its_parents_own_turns_has_none_of_them(log, follower, queries):
    begun(log)
    took(log, 1)
    took(log, 2)
    forked(log, FORK, TALK, 2)
    took(log, 3, FORK)
    forked(log, SECOND_FORK, FORK, 1)
    follower.catch_up()
    found = await queries.conversations.conversation(SECOND_FORK)
    assert (answers_of(found), found["turns"], found["last_turn_at"]) == (["answer 1 of 1"], 1, None)


async def test_a_turn_that_came_late_from_a_journal_does_not_count(log, follower, queries):
    begun(log)
    took(log, 1, said="first")
    took(log, 1, said="late")
    took(log, 2)
    follower.catch_up()
    found = await queries.conversations.conversation(TALK)
    assert [message["content"] for message in found["messages"]][::2] == ["first", "question 2"]
    assert found["title"] == "first"


async def test_as_of_a_position_what_came_later_is_not_there(log, follower, queries):
    started = begun(log)
    first = took(log, 1)
    took(log, 2)
    log.write(TALK, ConversationClosed(reason="done"))
    follower.catch_up()
    found = await queries.conversations.conversation(TALK, as_of=first)
    assert (found["turns"], found["status"], found["closed_at"], found["history_length"]) == (1, "open", None, 2)
    assert (await queries.conversations.conversation(TALK, as_of=started))["title"] is None
    assert [
        each["status"] for each in (await queries.conversations.conversations(as_of=first, status="open"))["items"]
    ] == ["open"]
    assert (await queries.conversations.conversations(as_of=first, status="closed"))["items"] == []
    with pytest.raises(NotFound, match="at position 0"):
        await queries.conversations.conversation(TALK, as_of=0)


async def test_the_list_is_paged_newest_first(log, follower, queries):
    for number in range(1, 6):
        begun(log, UUID(int=number))
    follower.catch_up()
    found, cursor = [], None
    while True:
        page = await queries.conversations.conversations(page=Paging(2, cursor))
        found += [UUID(each["conversation_id"]).int for each in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == [5, 4, 3, 2, 1]
    with pytest.raises(Rejected, match="use one of open, closed"):
        await queries.conversations.conversations(status="shut")


def test_the_same_events_give_the_same_rows_however_they_are_cut(log, follower):
    begun(log)
    took(log, 1)
    forked(log, FORK, TALK, 1)
    log.write(TALK, ConversationClosed(reason=""))
    took(log, 2, said="a half \x00 message")
    follower.batch_size = 1
    follower.catch_up()
    assert verify(follower, "conversations").equal


async def test_a_turns_answer_is_found_by_its_request_and_place(log, follower, queries):
    place = {"conversation_id": str(TALK), "turn": 2}
    for number, metadata in ((10, place | {"note": "mine"}), (11, place | {"turn": 3}), (12, {})):
        log.write(UUID(int=number), requested(metadata=metadata), answered())
    follower.catch_up()
    assert await queries.calls.last_answered("ab" * 32, place) == UUID(int=10)
    assert await queries.calls.last_answered("ab" * 32) == UUID(int=12)
    assert await queries.calls.last_answered("cd" * 32, place) is None
