"""Given a row of an older notebook, then this call."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from application.legacy_call import NO_TIME, LegacyCall, call_id_of, legacy_call, source_of
from application.legacy_runs import LegacyRun
from domain.calls import CallAnswered, CallFailed
from domain.errors import Rejected

GREENWICH, BERLIN = ZoneInfo("UTC"), ZoneInfo("Europe/Berlin")


def call_of(zone: ZoneInfo = GREENWICH, **said: Any) -> LegacyCall:
    row = {"id": 1, "prompt": "p", "response": "r", "provider": "azure", "created_at": "2024-03-01T12:00:00Z", **said}
    return legacy_call(LegacyRun(**row), "source", zone)


def test_a_row_becomes_a_call_that_was_asked_and_answered_at_its_own_time() -> None:
    call = call_of(tokens=12, latency_ms=250, metadata='{"model": "gpt-4", "x": [1]}', batch_id="b")
    assert call.odd == ()
    assert call.request.body == b'{"prompt":"p"}'
    assert call.response is not None
    assert call.response.body == b'{"text":"r"}'
    assert (call.created_at, call.naive) == (datetime(2024, 3, 1, 12, tzinfo=UTC), False)
    assert call.ended_at - call.created_at == timedelta(milliseconds=250)
    assert call.metadata == {"model": "gpt-4", "x": [1], "legacy_id": 1, "legacy_source": "source"}
    requested, answered = call.requested(call.request), call.ended(call.response)
    assert (requested.provider, requested.model, requested.modality) == ("azure", "gpt-4", "text")
    assert isinstance(answered, CallAnswered)
    assert (answered.tokens.total, answered.latency_ms, answered.text_path) == (12, 250.0, ("text",))


def test_a_row_without_a_response_becomes_a_failed_call() -> None:
    call = call_of(response=None)
    assert isinstance(call.ended(call.response), CallFailed)
    assert (call.status, call.odd) == ("failed", ("it has no response: imported as a failed call",))
    assert call_of(response="").status == "success"


@pytest.mark.parametrize(
    ("said", "zone", "expected", "naive"),
    [
        ("2024-03-01 12:00:00", "UTC", datetime(2024, 3, 1, 12, tzinfo=UTC), True),
        ("2024-03-01 12:00:00", "Europe/Berlin", datetime(2024, 3, 1, 11, tzinfo=UTC), True),
        ("2024-07-01T12:00:00.250", "Europe/Berlin", datetime(2024, 7, 1, 10, 0, 0, 250_000, tzinfo=UTC), True),
        ("2024-03-01 12:00:00 UTC", "Europe/Berlin", datetime(2024, 3, 1, 12, tzinfo=UTC), False),
        ("2024-03-01T12:00:00+05:30", "UTC", datetime(2024, 3, 1, 6, 30, tzinfo=UTC), False),
        (1709294400, "Europe/Berlin", datetime(2024, 3, 1, 12, tzinfo=UTC), False),
        ("1709294400", "UTC", datetime(2024, 3, 1, 12, tzinfo=UTC), False),
        (1709294400000, "UTC", datetime(2024, 3, 1, 12, tzinfo=UTC), False),
        (datetime(2024, 3, 1, 12), "Europe/Berlin", datetime(2024, 3, 1, 11, tzinfo=UTC), True),  # noqa: DTZ001
        (
            datetime(2024, 3, 1, 12, tzinfo=timezone(timedelta(hours=1))),
            "UTC",
            datetime(2024, 3, 1, 11, tzinfo=UTC),
            False,
        ),
        (date(2024, 3, 1), "UTC", datetime(2024, 3, 1, tzinfo=UTC), True),
    ],
)
def test_times_of_every_kind_are_read(said: Any, zone: str, expected: datetime, naive: bool) -> None:
    call = call_of(ZoneInfo(zone), created_at=said)
    assert (call.created_at, call.naive, call.odd) == (expected, naive, ())


@pytest.mark.parametrize("said", [None, "yesterday", "", 1e300, float("nan"), "0001-01-01", "9999-12-31", b"\xff"])
def test_what_is_no_time_is_told_and_kept(said: Any) -> None:
    call = call_of(BERLIN, created_at=said)
    assert call.created_at == NO_TIME
    assert "created_at" in call.odd[0]
    assert ("legacy_created_at" in call.metadata) == (said is not None)


@pytest.mark.parametrize("said", [-1, "many", 1.5, 10**30, float("inf"), Decimal("NaN"), "1e999"])
def test_what_is_no_number_of_tokens_is_told_and_kept(said: Any) -> None:
    call = call_of(tokens=said)
    assert call.tokens is None
    assert "is no number of tokens" in call.odd[0]
    assert call.metadata["legacy_tokens"].lower() == str(said).lower()


@pytest.mark.parametrize(("said", "tokens"), [(3, 3), ("3", 3), (3.0, 3), (Decimal(3), 3), (0, 0), (None, None)])
def test_numbers_are_read_from_what_databases_make_of_them(said: Any, tokens: int | None) -> None:
    call = call_of(tokens=said, latency_ms=said)
    assert (call.tokens, call.latency_ms, call.odd) == (tokens, tokens, ())


@pytest.mark.parametrize("said", [-0.5, float("nan"), 1e15, "slow"])
def test_what_is_no_latency_is_told_and_left_out(said: Any) -> None:
    call = call_of(latency_ms=said)
    assert call.latency_ms is None
    assert "is no number of milliseconds" in call.odd[0]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("{bad", "{bad"),
        ("[1]", [1]),
        ("3", 3),
    ],
)
def test_metadata_that_are_no_object_are_told_and_kept(said: str, kept: Any) -> None:
    call = call_of(metadata=said)
    assert call.metadata["legacy_metadata"] == kept
    assert "its metadata is no JSON" in call.odd[0]
    assert call_of(metadata="null").odd == call_of(metadata="").odd == call_of(metadata=None).odd == ()


def test_metadata_with_a_legacy_id_of_their_own_keep_it_under_another_name() -> None:
    call = call_of(metadata='{"legacy_id": "mine"}')
    assert (call.metadata["legacy_id"], call.metadata["legacy_metadata_id"], len(call.odd)) == (1, "mine", 1)


def test_a_provider_is_asked_for_in_small_letters_and_its_own_are_kept() -> None:
    call = call_of(provider=" OpenAI ")
    assert (call.provider, call.metadata["legacy_provider"], call.odd) == ("openai", " OpenAI ", ())
    assert call_of(provider=None).provider == "unknown"


def test_a_batch_that_can_be_no_groups_name_is_told() -> None:
    assert call_of(batch_id=7).batch == "7"
    long = call_of(batch_id="x" * 400)
    assert (long.batch, "can't be the name of a group" in long.odd[0]) == (None, True)


def test_a_row_without_an_id_becomes_nothing() -> None:
    with pytest.raises(Rejected, match="no id"):
        call_of(id=None)


def test_the_same_row_is_the_same_call_wherever_its_database_lies() -> None:
    first = LegacyRun(id=1, prompt="p", response="r", provider="azure")
    assert source_of(first) == source_of(LegacyRun(id=Decimal(1), prompt="p", response="r", provider="azure"))
    assert source_of(first) != source_of(LegacyRun(id=1, prompt="other", response="r", provider="azure"))
    assert call_id_of("a", 1) == call_id_of("a", 1) != call_id_of("b", 1)
