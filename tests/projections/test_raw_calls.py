"""Given what happened to calls, then these rows and these answers."""

from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from msgspec.structs import replace

from application.ports import Payload
from domain.calls import CallCancelled, CallFoundInDoubt, CallJoined
from domain.errors import NotFound, Rejected
from domain.groups import GroupCreated, GroupMembersAdded, Member
from domain.pricing import Charge
from projections.call_queries import CallFilter
from projections.paging import Paging
from tests.projections.log import (
    COMPLETION,
    NOON,
    PROCESS,
    REQUEST,
    STREAM,
    answered,
    attempt_failed,
    broke_off,
    chat,
    failed,
    left,
    requested,
    streamed,
)
from tests.support.facts import PREPROCESSED, PRICE

ORIGINAL = Payload(
    part="original",
    body=b'{"fields":{},"messages":[{"content":"Name  three primes","role":"user"}]}',
    media_type="application/json",
    is_json=True,
)
VIEW = (
    "SELECT status, request_json->>'model', response_json IS NULL, error_json->>'kind', latency_ms, tokens_json FROM "
)


def test_an_answered_call_is_one_row_with_its_bodies(log, follower, sql):
    chat(log, 1, attempt_failed(), answered(attempt=2))
    follower.catch_up()
    tokens = {"prompt": 10, "completion": 5, "total": 15}
    assert sql(VIEW + "study.raw_calls") == [("success", "gpt-4o-mini", False, None, 210.25, tokens)]
    attempts = "SELECT attempt, outcome, error_json->>'kind' FROM study.call_attempts ORDER BY position"
    assert sql(attempts) == [(1, "failed", "server_error"), (2, "success", None)]


def test_the_view_has_exactly_the_promised_columns(follower, sql):
    columns = sql(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'study' "
        "AND table_name = 'raw_calls' ORDER BY ordinal_position"
    )
    assert " ".join(name for (name,) in columns) == (
        "call_id provider model modality status request_json response_json error_json latency_ms tokens_json "
        "metadata_json request_hash created_at position cost"
    )


def test_a_failed_call_has_an_error_and_no_response(log, follower, sql):
    chat(log, 1, attempt_failed(), failed())
    follower.catch_up()
    assert sql(VIEW + "study.raw_calls") == [("failed", "gpt-4o-mini", True, "server_error", None, None)]


async def test_a_stream_reads_like_an_answer_in_one_piece(log, follower, sql, queries):
    call_id = chat(log, 1)
    log.write(call_id, streamed(), payloads=[STREAM, COMPLETION])
    follower.catch_up()
    tokens = {"prompt": 10, "completion": 5, "total": 15}
    assert sql(VIEW + "study.raw_calls") == [("success", "gpt-4o-mini", False, None, 210.25, tokens)]
    text = "response_json->'choices'->0->'message'->>'content'"
    assert sql(f"SELECT {text} FROM study.raw_calls UNION ALL SELECT {text} FROM study.call_attempts") == [
        ("2, 3 and",),
        ("2, 3 and",),
    ]
    call = await queries.calls.call(call_id)
    assert (call["text"], call["partial_text"]) == ("2, 3 and", None)
    assert (call["first_token_ms"], call["tokens_per_second"]) == (20.5, 21.25)
    assert call["attempts_made"][0]["first_token_ms"] == 20.5


async def test_a_stream_that_broke_shows_what_came(log, follower, sql, queries):
    call_id = chat(log, 1)
    log.write(call_id, broke_off(), failed(), payloads=[STREAM, COMPLETION])
    follower.catch_up()
    assert sql(VIEW + "study.raw_calls") == [("failed", "gpt-4o-mini", True, "server_error", None, None)]
    call = await queries.calls.call(call_id)
    assert (call["text"], call["response"], call["partial_text"]) == (None, None, "2, 3 and")
    assert [(each["outcome"], each["partial_text"]) for each in call["attempts_made"]] == [("failed", "2, 3 and")]
    before = await queries.calls.call(call_id, as_of=1)
    assert (before["partial_text"], before["attempts_made"]) == (None, [])


async def test_a_stream_that_was_left_is_an_attempt_that_was_cancelled(log, follower, sql, queries):
    call_id = chat(log, 1, attempt_failed())
    log.write(call_id, left(2, streamed=True), payloads=[STREAM, COMPLETION])
    follower.catch_up()
    assert sql(VIEW + "study.raw_calls")[0][:3] == ("cancelled", "gpt-4o-mini", True)
    call = await queries.calls.call(call_id)
    assert call["partial_text"] == "2, 3 and"
    assert [(each["attempt"], each["outcome"]) for each in call["attempts_made"]] == [(1, "failed"), (2, "cancelled")]
    assert sql("SELECT response_json IS NOT NULL FROM study.call_attempts ORDER BY attempt") == [(False,), (True,)]


def test_a_late_answer_resolves_a_call_in_doubt(log, follower, sql):
    call_id = chat(log, 1, CallFoundInDoubt(dead_process=PROCESS, first_seen_dead_at=NOON))
    follower.catch_up()
    assert sql("SELECT status FROM study.raw_calls") == [("in_doubt",)]
    log.write(call_id, answered())
    follower.catch_up()
    assert sql("SELECT status FROM study.raw_calls") == [("success",)]


def test_a_body_that_is_no_json_shows_as_null_and_breaks_nothing(log, follower, sql):
    call_id = chat(log, 1)
    body = Payload(part="response", body=b"<html>\xff\x00 oops", media_type="text/html")
    log.write(call_id, answered(response=body), payloads=[body])
    follower.catch_up()
    assert sql(VIEW + "study.raw_calls")[0][2] is True


def test_a_nul_in_metadata_or_in_an_error_stops_nothing(log, follower, sql):
    log.write(UUID(int=1), requested(metadata={"note": "a\x00b", "plain": "\\u0000"}, model="m\x00"))
    log.write(UUID(int=1), CallCancelled(attempts=1, reason="\x00", total_ms=1.0))
    assert follower.catch_up().failures == ()
    assert sql("SELECT metadata_json->>'note', metadata_json->>'plain', status FROM study.raw_calls") == [
        ("a\ufffdb", "\\u0000", "cancelled")
    ]


async def test_as_of_a_position_a_call_has_not_ended_yet(log, follower, queries):
    call_id = chat(log, 1, CallFoundInDoubt(dead_process=PROCESS, first_seen_dead_at=NOON), answered())
    follower.catch_up()
    seen = [(await queries.calls.call(call_id, as_of=position))["status"] for position in (1, 2, 3)]
    assert seen == ["requested", "in_doubt", "success"]
    before = await queries.calls.call(call_id, as_of=2)
    assert (before["text"], before["tokens"], before["attempts_made"]) == (None, None, [])
    listed = [(await queries.calls.calls(as_of=position))["items"] for position in (0, 1, 3)]
    assert [[call["status"] for call in items] for items in listed] == [[], ["requested"], ["success"]]
    assert (await queries.calls.calls(CallFilter(status="in_doubt"), as_of=2))["items"] != []
    with pytest.raises(NotFound, match="at position 0"):
        await queries.calls.call(call_id, as_of=0)


async def test_a_call_shows_its_prompt_its_text_and_its_attempts(log, follower, queries):
    call_id = chat(log, 1, attempt_failed(), answered(attempt=2))
    follower.catch_up()
    call = await queries.calls.call(call_id)
    assert (call["prompt"], call["text"], call["attempts"]) == ("Name three primes", '2, 3 and 5 are "prime"', 2)
    assert [attempt["outcome"] for attempt in call["attempts_made"]] == ["failed", "success"]
    assert (await queries.calls.attempts(call_id))["items"] == call["attempts_made"]


async def test_calls_are_paged_newest_first_without_gap_or_double(log, follower, queries):
    expected = [str(chat(log, number)) for number in range(1, 8)][::-1]
    follower.catch_up()
    found, cursor = [], None
    while True:
        page = await queries.calls.calls(page=Paging(3, cursor))
        found += [call["call_id"] for call in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == expected
    with pytest.raises(Rejected, match="no cursor"):
        await queries.calls.calls(page=Paging(cursor="sideways"))


async def test_calls_are_found_by_what_they_are(log, follower, queries):
    first = chat(log, 1, answered())
    second = chat(log, 2, attempt_failed(), failed())
    log.write(UUID(int=3), requested(provider="azure", modality="embedding"), payloads=[REQUEST])
    log.write(UUID(int=9), GroupCreated(group_type="run", name="one"))
    log.write(UUID(int=10), GroupMembersAdded(group_id=UUID(int=9), members=(Member(call_id=first),)))
    follower.catch_up()

    async def found(as_of=None, **wanted):
        return [
            UUID(call["call_id"]) for call in (await queries.calls.calls(CallFilter(**wanted), as_of=as_of))["items"]
        ]

    assert await found(status="failed") == [second]
    assert await found(provider="AZURE", modality="embedding") == [UUID(int=3)]
    assert await found(group_id=UUID(int=9)) == [first]
    assert await found(group_id=UUID(int=9), as_of=1) == []
    assert await found(since=NOON + timedelta(seconds=3), until=NOON + timedelta(seconds=4)) == [second]
    with pytest.raises(Rejected, match="no status"):
        await found(status="done")


async def test_open_calls_are_those_that_recovery_looks_at(log, follower, queries):
    chat(log, 1, answered())
    open_call = chat(log, 2, attempt_failed())
    chat(log, 3, CallFoundInDoubt(dead_process=PROCESS, first_seen_dead_at=NOON))
    follower.catch_up()
    assert [(call.call_id, call.process) for call in await queries.calls.open_calls()] == [(open_call, PROCESS)]


async def test_a_preprocessed_call_shows_what_was_done_and_what_was_asked(log, follower, queries):
    call_id = UUID(int=1)
    log.write(call_id, requested(preprocessing=PREPROCESSED), payloads=[REQUEST, ORIGINAL])
    log.write(UUID(int=2), requested(preprocessing=replace(PREPROCESSED, original=None)), payloads=[REQUEST])
    follower.catch_up()
    call = await queries.calls.call(call_id)
    assert call["preprocessing"]["steps"][1] == {"step": "pii", "parameter": "US", "replaced": {"[EMAIL]": 1}}
    assert call["preprocessing"]["original_sha256"] == PREPROCESSED.original_sha256
    assert call["original"] == {"fields": {}, "messages": [{"role": "user", "content": "Name  three primes"}]}
    assert (await queries.calls.call(UUID(int=2)))["original"] is None


async def test_who_was_answered_by_anothers_call_shows_what_they_asked(log, follower, queries):
    paid_for = chat(log, 1, answered())
    joined = CallJoined(
        call_id=paid_for, modality="text", provider="openai", model="m", request_hash="ab", preprocessing=PREPROCESSED
    )
    log.write(UUID(int=2), joined, payloads=[ORIGINAL])
    log.write(UUID(int=2), replace(joined, preprocessing=None, took_over=True))
    follower.catch_up()
    call = await queries.calls.call(UUID(int=2))
    assert (call["source_call_id"], call["how"]) == (str(paid_for), "took_over")
    assert call["preprocessing"]["original_sha256"] == PREPROCESSED.original_sha256
    assert call["original"]["messages"][0]["content"] == "Name  three primes"
    assert (await queries.calls.call(paid_for))["preprocessing"] is None


@pytest.mark.parametrize("count", [1, 60])  # few rows are inserted, many are copied
async def test_the_cost_is_the_events_to_the_last_digit(log, follower, sql, queries, count):
    for number in range(1, count + 1):
        cost = Decimal(number) / 10**10 if number > 1 else None
        chat(log, number, replace(answered(), charge=Charge(price=PRICE, cost=cost)))
    chat(log, 1000, replace(answered(), charge=None))
    follower.catch_up()
    costs = sql("SELECT cost FROM study.raw_calls ORDER BY position")
    assert costs == [(None,), *((Decimal(number) / 10**10,) for number in range(2, count + 1)), (None,)]
    one = await queries.calls.call(UUID(int=1))
    assert (one["cost"], one["price"]["input"], one["price"]["valid_from"]) == (None, "0.15", "2024-07-18")
    assert (await queries.calls.call(UUID(int=1000)))["price"] is None
    if count > 1:
        listed = (await queries.calls.calls(page=Paging(100)))["items"]
        assert [call["cost"] for call in listed][-2] == "0.0000000002"


async def test_who_was_answered_by_anothers_call_paid_nothing_and_saved_its_cost(log, follower, queries):
    paid_for = chat(log, 1, answered())
    log.write(
        UUID(int=2), CallJoined(call_id=paid_for, modality="text", provider="openai", model="m", request_hash="ab")
    )
    follower.catch_up()
    own, joined = await queries.calls.call(paid_for), await queries.calls.call(UUID(int=2))
    assert (own["cost"], own["saved"]) == ("0.0000045", None)
    assert (joined["cost"], joined["saved"]) == ("0", "0.0000045")


async def test_calls_that_were_never_answered_are_listed_newest_first_as_of_any_position(log, follower, queries):
    chat(log, 1, answered())
    chat(log, 2)
    chat(log, 3, left())
    chat(log, 4, failed())
    chat(log, 5, CallFoundInDoubt(dead_process=PROCESS, first_seen_dead_at=NOON))
    chat(log, 6, CallFoundInDoubt(dead_process=PROCESS, first_seen_dead_at=NOON), answered())
    follower.catch_up()

    async def unanswered(**options):
        page = await queries.calls.unanswered(**options)
        return [(UUID(call["call_id"]).int, call["status"]) for call in page["items"]], page["next_cursor"]

    assert await unanswered() == ([(5, "in_doubt"), (3, "cancelled"), (2, "requested")], None)
    assert await unanswered(as_of=1) == ([(1, "requested")], None)
    assert (await unanswered(as_of=log.written - 1))[0][0] == (6, "in_doubt")
    first, cursor = await unanswered(page=Paging(2))
    assert first == [(5, "in_doubt"), (3, "cancelled")]
    assert await unanswered(page=Paging(2, cursor)) == ([(2, "requested")], None)
