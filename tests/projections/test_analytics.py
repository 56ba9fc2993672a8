"""Given calls, then these sums; and the same ones from the calls themselves."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from msgspec import to_builtins
from msgspec.structs import replace

from domain.calls import CallCancelled, CallFoundInDoubt, Tokens
from domain.errors import Rejected
from domain.pricing import Charge
from projections.analytics import ANALYTICS
from projections.call_queries import CallFilter
from projections.spans import cover
from projections.verify import verify
from tests.projections.log import (
    NOON,
    PROCESS,
    REQUEST,
    RESPONSE,
    answered,
    attempt_failed,
    chat,
    failed,
    requested,
    streamed,
)
from tests.projections.test_shared_calls import joined, served
from tests.support.facts import PRICE

IN_DOUBT = CallFoundInDoubt(dead_process=PROCESS, first_seen_dead_at=NOON)
LEFT = CallCancelled(attempts=1, reason="left", total_ms=1.0)
COUNTS = ("calls", "success", "failed", "cancelled", "in_doubt", "requested")


def slow(milliseconds: float):
    return replace(answered(), latency_ms=milliseconds)


def ask_at(log, number, at, *facts, **asked):
    """A call that was asked at this time."""
    log.at = at - timedelta(seconds=1)
    log.write(UUID(int=number), requested(**asked), payloads=[REQUEST])
    for fact in facts:
        log.write(UUID(int=number), fact, payloads=[RESPONSE] if hasattr(fact, "tokens") else ())


async def both(queries, name, wanted, as_of, **more):
    """The answer out of rollups, which is the same out of calls."""
    method = getattr(queries.series if name == "timeseries" else queries.analytics, name)
    added_up = to_builtins(await method(wanted, **more))
    assert added_up == to_builtins(await method(wanted, as_of=as_of, **more))
    return added_up


async def test_without_calls_there_is_nothing_and_no_error(log, follower, queries):
    follower.catch_up()
    summary = await queries.analytics.summary()
    assert [summary[name] for name in COUNTS] == [0] * 6
    assert (summary["success_rate"], summary["attempts_per_call"], summary["tokens"]["mean"]) == (None, None, None)
    assert (summary["cost"], summary["saved"], summary["providers"], summary["models"]) == ("0", "0", [], [])
    assert summary["latency_ms"] == {"mean": None, "p50": None, "p95": None, "p99": None}
    for ask in (queries.analytics.providers, queries.analytics.errors, queries.series.timeseries):
        assert (await ask())["items"] == []
    assert (await queries.series.timeseries(fill=True))["until"] is None


async def test_one_call_is_told_exactly(log, follower, queries):
    chat(log, 1, attempt_failed(), replace(streamed(attempt=2), latency_ms=210.25))
    follower.catch_up()
    summary = await both(queries, "summary", CallFilter(), log.written)
    assert [summary[name] for name in COUNTS] == [1, 1, 0, 0, 0, 0]
    assert (summary["success_rate"], summary["attempts_per_call"]) == (1.0, 2.0)
    assert summary["latency_ms"] == {"mean": 210.25, "p50": 210.25, "p95": 210.25, "p99": 210.25}
    assert summary["first_token_ms"] == {"mean": 20.5, "p50": 20.5, "p95": 20.5, "p99": 20.5}
    assert summary["tokens"] == {"prompt": 10, "completion": 5, "total": 15, "cached": 0, "mean": 15.0}
    assert (summary["cost"], summary["cost_unknown"]) == ("0.0000045", 0)
    assert (summary["providers"], summary["models"]) == (["openai"], ["gpt-4o-mini"])
    (point,) = (await both(queries, "timeseries", CallFilter(), log.written, bucket="minute"))["items"]
    assert (point["at"], point["provider"], point["calls"]) == ("2026-03-01T12:00:00Z", "openai", 1)
    assert (point["tokens_sum"], point["tokens_mean"], point["latency_ms_mean"]) == (15, 15.0, 210.25)


async def test_a_late_answer_moves_a_call_from_doubt_to_success(log, follower, queries):
    call = chat(log, 1)
    seen = []
    for fact in (None, IN_DOUBT, answered()):
        if fact is not None:
            log.write(call, fact, payloads=[RESPONSE] if fact is not IN_DOUBT else ())
        follower.catch_up()
        summary = await both(queries, "summary", CallFilter(), log.written)
        seen.append([summary[name] for name in COUNTS])
    assert seen == [[1, 0, 0, 0, 0, 1], [1, 0, 0, 0, 1, 0], [1, 1, 0, 0, 0, 0]]
    assert (await queries.analytics.summary(as_of=2))["in_doubt"] == 1
    assert (await queries.analytics.summary(CallFilter(status="in_doubt")))["calls"] == 0


async def test_models_are_compared_the_busiest_first(log, follower, queries):
    for number in range(1, 101):
        ask_at(log, number, NOON, slow(float(number)), model="b")
    ask_at(log, 101, NOON, failed(attempts=3), provider="azure", model="a")
    ask_at(log, 102, NOON, LEFT, provider="azure", model="a")
    follower.catch_up()
    b, a = (await both(queries, "providers", CallFilter(), log.written))["items"]
    assert [(each["provider"], each["model"], each["count"]) for each in (b, a)] == [
        ("openai", "b", 100),
        ("azure", "a", 2),
    ]
    assert b["latency_ms"]["mean"] == 50.5
    assert [b["latency_ms"][name] for name in ("p50", "p95", "p99")] == pytest.approx([50, 95, 99], rel=0.01)
    assert (a["success_rate"], a["attempts_per_call"], a["latency_ms"]["p50"]) == (0.0, 2.0, None)
    assert (b["cost"], a["cost"]) == ("0.00045", "0")
    only = await both(queries, "providers", CallFilter(provider="AZURE", status="failed"), log.written)
    assert [each["count"] for each in only["items"]] == [1]


async def test_costs_that_are_not_known_are_counted_and_not_added(log, follower, queries):
    chat(log, 1, replace(answered(), charge=None))
    follower.catch_up()
    summary = await both(queries, "summary", CallFilter(), log.written)
    assert (summary["cost"], summary["cost_unknown"]) == (None, 1)
    chat(log, 2, replace(answered(), charge=Charge(price=PRICE, cost=None)))
    chat(log, 3, answered())
    follower.catch_up()
    summary = await both(queries, "summary", CallFilter(), log.written)
    assert (summary["cost"], summary["cost_unknown"]) == ("0.0000045", 2)


async def test_counts_of_tokens_that_nobody_can_mean_stop_nothing(log, follower, queries):
    chat(log, 1, replace(answered(), tokens=Tokens(prompt=2**62, completion=-1, total=2**62)))
    chat(log, 2, answered())
    assert follower.catch_up().failures == ()
    summary = await both(queries, "summary", CallFilter(), log.written)
    assert summary["tokens"] == {"prompt": 10, "completion": 5, "total": 15, "cached": 0, "mean": 15.0}


async def test_who_was_answered_by_anothers_call_saved_what_that_had_cost(log, follower, queries):
    first, second, third = chat(log, 1), chat(log, 2), chat(log, 3, answered())
    log.write(UUID(int=50), joined(first))
    log.write(UUID(int=51), joined(second))
    log.write(UUID(int=52), joined(third))  # which had ended just before
    log.write(UUID(int=53), joined(first))
    log.write(UUID(int=53), joined(second, took_over=True))
    log.write(UUID(int=60), replace(served(third), saved=Decimal("0.5000000000")), served(third))
    follower.catch_up()
    before = await both(queries, "summary", CallFilter(), log.written)
    assert (before["joined"], before["cached"], before["saved"], before["saved_unknown"]) == (1, 2, "0.5000045", 1)
    log.write(first, answered(), payloads=[RESPONSE])
    log.write(second, failed())
    follower.catch_up()
    after = await both(queries, "summary", CallFilter(), log.written)
    assert (after["calls"], after["joined"], after["cached"], after["saved"]) == (3, 2, 2, "0.500009")
    assert (await queries.analytics.summary(CallFilter(group_id=UUID(int=9))))["saved"] is None


async def test_what_vectors_joined_would_have_cost_is_not_known(log, follower, queries):
    log.write(UUID(int=1), requested(modality="embedding"), payloads=[REQUEST])
    log.write(UUID(int=50), replace(joined(UUID(int=1)), modality="embedding"))
    log.write(UUID(int=1), answered(), payloads=[RESPONSE])
    follower.catch_up()
    summary = await both(queries, "summary", CallFilter(), log.written)
    assert (summary["joined"], summary["saved"], summary["saved_unknown"]) == (1, None, 1)


async def test_errors_are_told_by_kind_also_those_that_a_later_attempt_mended(log, follower, queries):
    chat(log, 1, attempt_failed(), answered(attempt=2))
    chat(log, 2, attempt_failed(), attempt_failed(2), failed(attempts=2))
    chat(log, 3, attempt_failed())
    follower.catch_up()
    (error,) = (await both(queries, "errors", CallFilter(), log.written))["items"]
    assert (error["kind"], error["attempts"], error["calls"]) == ("server_error", 4, 1)
    assert error["last_at"] == (log.at).isoformat().replace("+00:00", "Z")
    mended = await queries.analytics.errors(CallFilter(status="success"))
    assert [(each["attempts"], each["calls"]) for each in mended["items"]] == [(1, 0)]


async def test_any_beginning_and_end_are_kept_to_exactly(log, follower, queries):
    midnight = datetime(2026, 3, 2, tzinfo=UTC)
    minutes = (-1500, -61, -16, -1, -0.5, 0, 0.25, 0.5, 1, 15, 60, 1441)
    for number, minute in enumerate(minutes):
        ask_at(log, number, midnight + timedelta(minutes=minute), answered())
    follower.catch_up()
    for first in minutes:
        for last in minutes:
            since, until = (midnight + timedelta(minutes=each) for each in (first, last))
            if first <= last:
                found = await queries.analytics.summary(CallFilter(since=since, until=until))
                assert found["calls"] == sum(first <= each < last for each in minutes)
    assert [span for span, _, _ in cover(midnight + timedelta(seconds=1), midnight + timedelta(days=2))] == [
        *(0, 1, 15, 60, 1440)
    ]


async def test_the_hours_of_the_day_on_which_clocks_go_back_are_25(log, follower, queries):
    first = datetime(2026, 10, 24, 22, tzinfo=UTC)
    for hour in range(25):
        ask_at(log, hour + 1, first + timedelta(hours=hour, minutes=30), answered())
    follower.catch_up()
    wanted = CallFilter(since=first, until=first + timedelta(hours=25))
    hours = await both(queries, "timeseries", wanted, log.written, timezone="Europe/Berlin", fill=True)
    assert [each["calls"] for each in hours["items"]] == [1] * 25
    assert [each["at"] for each in hours["items"][2:4]] == ["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"]
    days = await both(queries, "timeseries", wanted, log.written, bucket="day", timezone="Europe/Berlin")
    assert [(each["at"], each["calls"]) for each in days["items"]] == [("2026-10-25T00:00:00+02:00", 25)]
    kolkata = await both(queries, "timeseries", wanted, log.written, timezone="Asia/Kolkata", detail=True, by="model")
    assert [each["calls"] for each in kolkata["items"]] == [1] * 25
    assert kolkata["items"][0]["at"] == "2026-10-25T04:00:00+05:30"


@pytest.mark.parametrize(
    ("zone", "first"),
    [
        ("Asia/Kolkata", "2026-04-03T20:07:30"),
        ("Asia/Kathmandu", "2026-04-03T20:07:30"),
        ("Australia/Lord_Howe", "2026-04-03T20:07:30"),  # clocks go back by half an hour on the 4th at 15:00
        ("America/St_Johns", "2026-10-31T20:07:30"),  # and by an hour on the next day at 4:30
    ],
)
@pytest.mark.parametrize("bucket", ["hour", "day"])
async def test_the_points_of_any_zone_are_those_of_the_calls(log, follower, queries, zone, first, bucket):
    since = datetime.fromisoformat(first).replace(tzinfo=UTC)
    for number in range(150):
        at = since + timedelta(minutes=17 * number, seconds=number)
        ask_at(log, number + 1, at, answered(), model=f"m{number % 3}")
    follower.catch_up()
    wanted = CallFilter(since=since + timedelta(minutes=40), until=since + timedelta(hours=40, seconds=11))
    for by in ("provider", "model"):
        found = await both(queries, "timeseries", wanted, log.written, timezone=zone, bucket=bucket, by=by)
        assert sum(each["calls"] for each in found["items"]) == 139


async def test_a_series_ends_with_the_newest_call_that_no_wrong_clock_put_into_the_future(log, follower, queries):
    ask_at(log, 1, NOON, answered())
    ask_at(log, 2, NOON + timedelta(days=4000), answered())
    follower.catch_up()
    found = await both(
        queries, "timeseries", CallFilter(), log.written, now=NOON + timedelta(hours=1), bucket="day", fill=True
    )
    assert (len(found["items"]), found["items"][-1]["at"]) == (91, "2026-03-01T00:00:00Z")
    assert [found["items"][-1][name] for name in ("calls", "failed", "cost", "saved")] == [1, 0, "0.0000045", "0"]
    assert [found["items"][0][name] for name in ("calls", "cost", "latency_ms_mean")] == [0, "0", None]


@pytest.mark.parametrize(
    ("wanted", "options", "fields"),
    [
        ({"since": NOON, "until": NOON - timedelta(1)}, {}, ("since", "until")),
        ({"since": datetime(1, 1, 1, tzinfo=UTC)}, {}, ("since",)),
        ({"until": datetime(9999, 12, 31, 23, tzinfo=UTC)}, {}, ("until",)),
        ({"status": "lost"}, {}, ("status",)),
        ({"modality": "smell"}, {}, ("modality",)),
        ({}, {"bucket": "week"}, ("bucket",)),
        ({}, {"timezone": "Mars/Base"}, ("timezone",)),
        ({}, {"by": "colour"}, ("by",)),
        ({"since": NOON - timedelta(9), "until": NOON}, {"bucket": "minute"}, ("bucket", "since", "until")),
    ],
)
async def test_what_makes_no_sense_is_refused(unasked, wanted, options, fields):
    with pytest.raises(Rejected) as refused:
        await unasked.timeseries(CallFilter(**wanted), **options)
    assert refused.value.fields == fields


async def test_a_series_of_too_many_items_is_refused(log, follower, queries):
    for number in range(3):
        ask_at(log, number, NOON, answered(), model=f"m{number}")
    follower.catch_up()
    wanted = CallFilter(since=NOON - timedelta(days=300), until=NOON + timedelta(minutes=1))
    assert len((await queries.series.timeseries(wanted, by="model"))["items"]) == 3
    with pytest.raises(Rejected, match="a single model"):
        await queries.series.timeseries(wanted, by="model", fill=True)


async def test_sums_are_those_of_a_replay_whatever_the_batches_were(log, follower, queries, sql):
    calls = [chat(log, number, attempt_failed()) for number in range(1, 9)]
    log.write(UUID(int=50), joined(calls[0]))
    for call, fact in zip(calls, (answered(), failed(), LEFT, IN_DOUBT, streamed()), strict=False):
        follower.catch_up(log.written)
        log.write(call, fact, payloads=[RESPONSE] if hasattr(fact, "tokens") else ())
    log.write(calls[3], slow(7.5), payloads=[RESPONSE])
    follower.catch_up()
    assert verify(follower, ANALYTICS.name).equal
    rows = sql("SELECT outcome, calls, latency_ms_sum FROM study.analytics_days ORDER BY outcome")
    assert [(outcome, calls, float(total)) for outcome, calls, total in rows] == [
        ("cancelled", 1, 0.0),
        ("failed", 1, 0.0),
        ("joined", 1, 0.0),
        ("success", 3, 428.0),
    ]
    sums = [sql(f"SELECT sum(calls) FROM study.analytics_{name}") for name in ("minutes", "quarter_hours", "hours")]
    assert sums == [[(6,)]] * 3
    shortest = sql("SELECT from_ms, to_ms, calls FROM study.analytics_latencies ORDER BY from_ms LIMIT 1")[0]
    assert shortest[0] <= 7.5 < shortest[1]
    assert sql("SELECT sum(calls) FROM study.analytics_latencies") == [(3,)]
    assert sql("SELECT kind, attempts, calls FROM study.analytics_errors") == [("server_error", 8, 1)]
    assert sql("SELECT status, count(*) FROM study.analytics_open GROUP BY status") == [("requested", 3)]


@pytest.fixture
def unasked():
    """Questions that are refused before anything is read."""
    from projections.series_queries import SeriesQueries

    return SeriesQueries(None)
