"""Answers as server-sent events, over a real socket, from a provider that misbehaves."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.conftest import Database
from tests.interfaces.serving.test_serving import process
from tests.support.misbehaving_server import Behaviour, MisbehavingServer

LOCAL = {"provider": "local", "model": "local-extract"}
SPOKEN = {"prompt": "Three primes, please?", "provider": "openai", "model": "tiny", "stream": True}
ECHO = "echo: Three primes, please?"


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[MisbehavingServer]:
    with MisbehavingServer() as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
        yield provider


def events_of(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    """Name and decoded data of each event; [DONE] as it is."""
    name = ""
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield (name, value if value == "[DONE]" else json.loads(value))
            name = ""


def facts_of(http: httpx.Client, call_id: str) -> list[str]:
    return [event["event"] for event in http.get(f"/api/calls/{call_id}/events").json()["items"]]


def ended(http: httpx.Client, *, status: str) -> dict[str, Any]:
    """The only call, once it stands there with its end."""
    deadline = time.monotonic() + 20
    while True:
        items = http.get("/api/calls").json()["items"]
        if items and items[0]["status"] != "requested":
            break
        assert time.monotonic() < deadline, items
        time.sleep(0.02)
    assert items[0]["status"] == status
    found: dict[str, Any] = http.get(f"/api/calls/{items[0]['call_id']}").json()
    return found


def test_a_stream_ends_with_the_answer_that_is_given_without_streaming(http: httpx.Client) -> None:
    question = {"prompt": "The cat sat. The dog ran. The cat slept.", **LOCAL}
    whole = http.post("/api/calls", json=question).json()
    with http.stream("POST", "/api/calls", json={**question, "stream": True}) as response:
        assert (response.status_code, response.headers["content-type"]) == (201, "text/event-stream; charset=utf-8")
        events = []
        for event in events_of(response.iter_lines()):
            events.append(event)
            if event[0] == "answer":
                assert facts_of(http, event[1]["call_id"]) == ["call.requested.v1", "call.answered.v1"]
    *deltas, (named, answer), done = events
    assert {name for name, _ in deltas} == {"delta"}
    assert "".join(data["text"] for _, data in deltas) == answer["text"] == whole["text"]
    assert (named, done) == ("answer", ("", "[DONE]"))
    differ = {"call_id", "position", "latency_ms", "first_token_ms", "tokens_per_second"}
    assert answer.keys() == whole.keys()
    assert {name: answer[name] for name in answer.keys() - differ} == {
        name: whole[name] for name in whole.keys() - differ
    }
    assert (whole["first_token_ms"], answer["first_token_ms"] > 0) == (None, True)
    shown = http.get(f"/api/calls/{answer['call_id']}", params={"at_least": answer["position"]}).json()
    assert (shown["text"], shown["first_token_ms"]) == (answer["text"], answer["first_token_ms"])
    assert shown["request_hash"] == http.get(f"/api/calls/{whole['call_id']}").json()["request_hash"]


def test_the_first_delta_is_there_before_the_provider_has_finished(
    http: httpx.Client, provider: MisbehavingServer
) -> None:
    provider.behave(Behaviour("slow_stream", delay_seconds=0.5))
    began = time.monotonic()
    with http.stream("POST", "/api/calls", json=SPOKEN) as response:
        events = events_of(response.iter_lines())
        assert next(events) == ("delta", {"text": "echo:"})
        first_s = time.monotonic() - began
        while not (calls := http.get("/api/calls").json()["items"]):
            time.sleep(0.01)  # the read model is a moment behind the log
        assert facts_of(http, calls[0]["call_id"]) == ["call.requested.v1"]
        rest = list(events)
    assert "".join(data["text"] for name, data in rest if name == "delta") == " Three primes, please?"
    assert time.monotonic() - began > first_s + 1.0
    answer = rest[-2][1]
    assert answer["first_token_ms"] < answer["latency_ms"] - 1000
    assert 0 < answer["tokens_per_second"] < 4


def test_what_fails_before_any_text_is_a_problem_with_its_status(
    http: httpx.Client, provider: MisbehavingServer
) -> None:
    provider.behave_always("unauthorized")
    response = http.post("/api/calls", json=SPOKEN)
    assert (response.status_code, response.headers["content-type"]) == (502, "application/problem+json")
    assert facts_of(http, response.json()["call_id"])[-1] == "call.failed.v1"
    refused = http.post("/api/calls", json={**SPOKEN, "n": 2})
    assert (refused.status_code, refused.json()["fields"]) == (400, ["n", "stream"])


def test_a_stream_that_breaks_ends_with_an_error_and_shows_what_came(
    http: httpx.Client, provider: MisbehavingServer
) -> None:
    provider.behave("reset_stream")
    response = http.post("/api/calls", json=SPOKEN)
    *deltas, (name, problem) = events_of(iter(response.text.splitlines()))
    assert "".join(data["text"] for _, data in deltas) == "echo: Three"
    assert (name, problem["status"]) == ("error", 502)
    assert "[DONE]" not in response.text
    assert facts_of(http, problem["call_id"]) == ["call.requested.v1", "call.attempt_failed.v1", "call.failed.v1"]
    assert ended(http, status="failed")["partial_text"] == "echo: Three"
    assert len(provider.requests) == 1


def test_a_client_that_leaves_cancels_the_call_and_what_came_is_kept(
    http: httpx.Client, provider: MisbehavingServer
) -> None:
    provider.behave("stalled_stream")
    with http.stream("POST", "/api/calls", json=SPOKEN) as response:
        events = events_of(response.iter_lines())
        assert [next(events)[1]["text"] for _ in range(2)] == ["echo:", " Three"]
    assert ended(http, status="cancelled")["partial_text"] == "echo: Three"


def test_a_client_that_leaves_before_any_text_cancels_the_call_too(
    http: httpx.Client, provider: MisbehavingServer
) -> None:
    provider.behave("hang")
    with pytest.raises(httpx.ReadTimeout):
        http.post("/api/calls", json=SPOKEN, timeout=1.0)
    call = ended(http, status="cancelled")
    assert (call["partial_text"], call["attempts"]) == (None, 1)


def test_the_documentation_tells_of_both_answers(reader: httpx.Client) -> None:
    document = reader.get("/api/openapi.json").json()
    content = document["paths"]["/api/calls"]["post"]["responses"]["201"]["content"]
    assert set(content) == {"application/json", "text/event-stream"}
    events = content["text/event-stream"]
    assert set(events["examples"]) == {"delta", "answer"}
    assert "[DONE]" in events["schema"]["description"]


@pytest.mark.parametrize(("behaviour", "status"), [("slow_stream", "success"), ("stalled_stream", "cancelled")])
def test_a_terminated_server_lets_streams_end_for_a_while(
    database: Database, tmp_path: Path, behaviour: str, status: str
) -> None:
    with MisbehavingServer() as provider:
        provider.behave(Behaviour(behaviour, delay_seconds=0.2))
        variables = {"OPENAI_BASE_URL": provider.url, "DATABASE_URL": database.application_uri, "STUDY_DRAIN_S": "3"}
        with (
            process("--home", str(tmp_path), **variables) as (server, address, _),
            httpx.stream("POST", f"{address}/api/calls", json=SPOKEN, timeout=30) as response,
        ):
            events = events_of(response.iter_lines())
            assert next(events)[0] == "delta"
            server.send_signal(signal.SIGTERM)
            if status == "success":
                assert list(events)[-1] == ("", "[DONE]")
            else:
                with pytest.raises(httpx.RemoteProtocolError):
                    list(events)
            assert server.wait(timeout=30) == 0
    with psycopg.connect(database.owner_uri) as connection:
        topics = [topic for (topic,) in connection.execute("SELECT topic FROM events.events ORDER BY 1").fetchall()]
        parts = [part for (part,) in connection.execute("SELECT part FROM events.payloads ORDER BY part").fetchall()]
    last = {"success": "call.answered.v1", "cancelled": "call.cancelled.v1"}[status]
    assert sorted(topics) == sorted(["call.requested.v1", last])
    assert parts == ["completion", "request", "response"]
