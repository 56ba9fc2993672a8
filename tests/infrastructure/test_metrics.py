"""What is recorded of calls becomes measures, under the names that OpenTelemetry gives them."""

from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from application.ports import NewEvent
from domain.calls import CallAnswered, CallAttemptFailed, CallCancelled, CallFailed, CallRequested
from domain.events import Fact
from infrastructure.metrics import (
    FIRST_TOKEN_SECONDS,
    MOST_MODELS,
    OPERATION_SECONDS,
    OUTPUT_TOKEN_SECONDS,
    TOKENS,
    Metrics,
    gauge_of,
)
from tests.support.facts import ENVELOPE, EXAMPLES, LATER_EXAMPLES

BY_TYPE = {type(fact): fact for fact in EXAMPLES}
REQUESTED = BY_TYPE[CallRequested]
STREAMED = next(
    fact for fact in LATER_EXAMPLES.values() if isinstance(fact, CallAnswered) and fact.first_token_ms is not None
)
ASKED = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "azure.ai.openai", "gen_ai_request_model": "m"}


def happened(metrics: Metrics, call_id: UUID, *facts: Fact) -> None:
    for version, fact in enumerate(facts, start=1):
        metrics.happened(NewEvent(stream_id=call_id, version=version, fact=fact, envelope=ENVELOPE))


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    found = {}
    for family in text_string_to_metric_families(metrics.text([]).decode()):
        for sample in family.samples:
            found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return found


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return samples(metrics).get((name, tuple(sorted(labels.items()))))


def asked(provider: str = "azure", model: str = "m") -> CallRequested:
    assert isinstance(REQUESTED, CallRequested)
    return replace(REQUESTED, provider=provider, model=model, operation="chat")


def test_a_streamed_answer_is_measured_from_its_first_token_to_its_end() -> None:
    metrics, call_id = Metrics(), uuid4()
    happened(metrics, call_id, asked())
    assert value(metrics, "study_calls_in_flight") == 1
    failed_first = BY_TYPE[CallAttemptFailed]
    assert isinstance(failed_first, CallAttemptFailed)
    happened(metrics, call_id, failed_first, STREAMED)
    assert value(metrics, "study_calls_in_flight") == 0
    assert value(metrics, "study_call_attempts_failed_total", **ASKED, error_type=failed_first.error.kind) == 1
    took = value(metrics, "gen_ai_client_operation_duration_seconds_sum", **ASKED, error_type="")
    assert took == pytest.approx(STREAMED.total_ms / 1000)
    first = value(metrics, "gen_ai_server_time_to_first_token_seconds_sum", **ASKED)
    assert first == pytest.approx((STREAMED.first_token_ms or 0) / 1000)
    each = value(metrics, "gen_ai_server_time_per_output_token_seconds_sum", **ASKED)
    assert each == pytest.approx(1 / (STREAMED.tokens_per_second or 1))
    for kind, count in (("input", STREAMED.tokens.prompt), ("output", STREAMED.tokens.completion)):
        assert value(metrics, "gen_ai_client_token_usage_sum", **ASKED, gen_ai_token_type=kind) == count


def test_a_call_without_an_answer_is_measured_with_its_error() -> None:
    metrics, failed, cancelled = Metrics(), uuid4(), uuid4()
    failure = BY_TYPE[CallFailed]
    assert isinstance(failure, CallFailed)
    happened(metrics, failed, asked(), failure)
    happened(metrics, cancelled, asked(), BY_TYPE[CallCancelled])
    for error in (failure.error.kind, "cancelled"):
        assert value(metrics, "gen_ai_client_operation_duration_seconds_count", **ASKED, error_type=error) == 1
    happened(metrics, uuid4(), failure)  # of a call that another process had begun
    assert value(metrics, "study_calls_in_flight") == 0


def test_buckets_are_those_that_the_conventions_recommend() -> None:
    metrics = Metrics()
    happened(metrics, uuid4(), asked(), STREAMED)
    for name, buckets in (
        ("gen_ai_client_operation_duration_seconds", OPERATION_SECONDS),
        ("gen_ai_client_token_usage", TOKENS),
        ("gen_ai_server_time_to_first_token_seconds", FIRST_TOKEN_SECONDS),
        ("gen_ai_server_time_per_output_token_seconds", OUTPUT_TOKEN_SECONDS),
    ):
        labels = [dict(labels) for found, labels in samples(metrics) if found == f"{name}_bucket"]
        assert {float(each["le"]) for each in labels} == {*map(float, buckets), float("inf")}, name
    assert (OPERATION_SECONDS[0], OPERATION_SECONDS[-1], TOKENS[0], TOKENS[-1]) == (0.01, 81.92, 1, 67108864)


def test_whoever_asks_for_ever_new_models_makes_no_series_for_each() -> None:
    metrics = Metrics()
    for number in range(MOST_MODELS + 50):
        happened(metrics, uuid4(), asked(model=f"model {number}"), STREAMED)
    for method in ("GET", "BREW", "WHEN"):
        for number in range(50):
            metrics.requested(method, None, 404, number / 1000)
    found = samples(metrics)
    models = {dict(labels)["gen_ai_request_model"] for name, labels in found if name.startswith("gen_ai_client_op")}
    assert len(models) == MOST_MODELS + 1
    assert "_OTHER" in models
    requests = [labels for name, labels in found if name == "http_server_request_duration_seconds_count"]
    assert len(requests) == 2


def test_what_the_store_says_is_told_beside_it() -> None:
    text = Metrics().text([gauge_of("study_store_up", "Whether.", [], [([], 1.0)])]).decode()
    assert "study_store_up 1.0\n" in text
    assert "# TYPE gen_ai_client_operation_duration_seconds histogram" in text
