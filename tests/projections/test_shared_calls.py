"""Given who joined a call or was answered from the cache, then these rows and these answers."""

from decimal import Decimal
from uuid import UUID

import pytest

from domain.calls import CallCancelled, CallJoined, CallServedFromCache
from domain.errors import NotFound
from tests.projections.log import answered, attempt_failed, chat
from tests.projections.test_embedding_cache import embedded

JOINER, SERVED = UUID(int=50), UUID(int=60)


def joined(call_id: UUID, *, took_over: bool = False) -> CallJoined:
    return CallJoined(
        call_id=call_id,
        modality="text",
        provider="openai",
        model="gpt-4o-mini",
        request_hash="ab" * 32,
        metadata={"by": "the joiner"},
        took_over=took_over,
    )


def served(*call_ids: UUID) -> CallServedFromCache:
    return CallServedFromCache(modality="text", provider="openai", model="m", hits=1, call_ids=call_ids)


async def test_a_joiner_shows_the_answer_of_the_call_it_joined(log, follower, queries):
    owner = chat(log, 1)
    log.write(JOINER, joined(owner))
    log.write(owner, attempt_failed(), answered(attempt=2))
    follower.catch_up()
    shown, paid = await queries.calls.call(JOINER), await queries.calls.call(owner)
    assert (shown["how"], shown["source_call_id"], shown["call_id"]) == ("joined", str(owner), str(JOINER))
    assert (paid["how"], paid["source_call_id"]) == (None, None)
    assert (shown["metadata"], shown["position"]) == ({"by": "the joiner"}, 2)
    same = ("status", "prompt", "request", "response", "tokens", "latency_ms", "attempts_made")
    assert [shown[name] for name in same] == [paid[name] for name in same]
    assert (await queries.calls.attempts(JOINER))["items"] == paid["attempts_made"]


async def test_as_of_a_position_a_joiner_waits_for_what_it_had_joined_then(log, follower, queries):
    first, second = chat(log, 1), chat(log, 2)
    log.write(JOINER, joined(first))
    log.write(first, CallCancelled(attempts=1, reason="left", total_ms=1.0))
    log.write(JOINER, joined(second, took_over=True))
    log.write(second, answered())
    follower.catch_up()
    seen = []
    for position in range(3, 7):
        call = await queries.calls.call(JOINER, as_of=position)
        seen.append((call["how"], UUID(call["source_call_id"]).int, call["status"]))
    assert seen == [
        ("joined", 1, "requested"),
        ("joined", 1, "cancelled"),
        ("took_over", 2, "requested"),
        ("took_over", 2, "success"),
    ]
    with pytest.raises(NotFound):
        await queries.calls.call(JOINER, as_of=2)


async def test_vectors_given_again_show_what_they_saved(log, follower, queries, sql):
    embedded(log, 1, [0, 1, 2])
    fact = CallServedFromCache(
        modality="embedding",
        provider="openai",
        model="e",
        hits=2,
        call_ids=(UUID(int=1),),
        saved=Decimal("0.0000030000"),
        metadata={"by": "me"},
    )
    log.write(SERVED, fact)
    follower.catch_up()
    shown = await queries.calls.call(SERVED)
    assert (shown["cost"], shown["saved"], shown["metadata"]) == ("0", "0.000003", {"by": "me"})
    assert sql("SELECT saved FROM study.shared_calls") == [(Decimal("0.0000030000"),)]


async def test_joins_and_hits_are_rows_of_their_own_and_none_among_the_calls(log, follower, queries, sql):
    owner, other = chat(log, 1, answered()), chat(log, 2, answered())
    log.write(JOINER, joined(owner))
    log.write(SERVED, served(owner, other))
    follower.catch_up()
    rows = sql("SELECT call_id, how, source_call_id, provider, metadata_json FROM study.shared_calls ORDER BY 1, 3")
    assert rows == [
        (JOINER, "joined", owner, "openai", {"by": "the joiner"}),
        (SERVED, "cached", owner, "openai", {}),
        (SERVED, "cached", other, "openai", {}),
    ]
    assert sql("SELECT count(*) FROM study.raw_calls") == [(2,)]
    assert (await queries.calls.call(SERVED))["how"] == "cached"


async def test_the_last_answer_to_a_request_is_found_and_no_other_end(log, follower, queries):
    assert await queries.calls.last_answered("ab" * 32) is None
    first = chat(log, 1)
    second = chat(log, 2, answered())
    chat(log, 3, CallCancelled(attempts=1, reason="left", total_ms=1.0))
    chat(log, 4)
    follower.catch_up()
    assert await queries.calls.last_answered("ab" * 32) == second
    log.write(first, answered())
    follower.catch_up()
    assert await queries.calls.last_answered("ab" * 32) == first
