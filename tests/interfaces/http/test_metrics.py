"""What a server measures is there for Prometheus, that of all its workers together."""

import signal
import time
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import Database
from tests.interfaces.serving.test_serving import process

QUESTION = {"prompt": "hello", "provider": "local"}


def measured(text: str, name: str, **labels: str) -> float:
    """The sum over all series with these labels."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def test_calls_requests_appends_and_lag_are_measured(http: httpx.Client) -> None:
    position = http.post("/api/calls", json=QUESTION).json()["position"]
    assert http.get("/nothing").status_code == 404
    http.get("/api/calls", params={"at_least": position})
    answer = http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    text = answer.text
    call = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "local", "error_type": ""}
    assert measured(text, "gen_ai_client_operation_duration_seconds_count", **call) == 1
    assert measured(text, "gen_ai_client_token_usage_sum", gen_ai_token_type="output") > 0
    assert measured(text, "study_calls_in_flight") == 0
    posted = {"http_route": "/api/calls", "http_request_method": "POST", "http_response_status_code": "201"}
    assert measured(text, "http_server_request_duration_seconds_count", **posted) == 1
    unknown = {"http_route": "_OTHER", "http_response_status_code": "404"}
    assert measured(text, "http_server_request_duration_seconds_count", **unknown) == 1
    assert measured(text, "study_store_append_duration_seconds_count") >= 2
    assert measured(text, "study_store_position") >= position
    assert measured(text, "study_store_up") == 1
    for name in ("study_read_model_lag_events", "study_read_model_stopped"):
        assert measured(text, name, read_model="raw_calls") == 0
    for name in ("study_journal_bytes", "study_store_queued_appends", "study_events_readers"):
        assert f"{name} 0.0" in text


def test_whichever_worker_is_asked_tells_of_all(database: Database, tmp_path: Path) -> None:
    home = ("--workers", "2", "--home", str(tmp_path), "--database-url", database.application_uri)
    with process(*home) as (server, address, _):
        deadline = time.monotonic() + 30
        calls = 0
        while calls < 12:
            assert time.monotonic() < deadline
            # A connection each time, so that whichever worker is free takes it.
            assert httpx.post(f"{address}/api/calls", json=QUESTION, timeout=30).status_code == 201
            calls += 1
        for _ in range(6):
            text = httpx.get(f"{address}/metrics", timeout=30).text
            assert measured(text, "gen_ai_client_operation_duration_seconds_count") == calls
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=30) == 0
