"""Batches over HTTP."""

import time
from typing import Any

import httpx
import pytest

from tests.interfaces.http.test_call_stream import events_of
from tests.support.misbehaving_server import Behaviour, MisbehavingServer

LOCAL = {"provider": "local"}


def test_a_batch_answers_in_order_and_asked_again_makes_no_call(http: httpx.Client) -> None:
    questions = [{"prompt": f"The {animal} sat.", **LOCAL} for animal in ("cat", "dog", "cow", "cat")]
    first = http.post("/api/batches", json={"questions": questions, "in_flight": 2})
    assert first.status_code == 200, first.text
    answered = first.json()
    assert [item["text"] for item in answered["items"]] == [question["prompt"] for question in questions]
    assert [(item["index"], item["sample"], item["cached"]) for item in answered["items"]] == [
        (0, 0, False), (1, 0, False), (2, 0, False), (3, 0, True),
    ]  # fmt: skip
    assert answered["unanswered"] == 0
    assert [answered[name] for name in ("cost", "cost_unknown", "saved", "saved_unknown")] == ["0", 0, "0", 0]
    shown = {"group_id": answered["group_id"], "at_least": answered["position"]}
    assert len(http.get("/api/calls", params=shown).json()["items"]) == 3
    again = http.post("/api/batches", json={"questions": questions}).json()
    assert (again["group_id"], again["name"]) == (answered["group_id"], answered["name"])
    assert all(item["cached"] for item in again["items"])
    assert [item["call_id"] for item in again["items"]] == [item["call_id"] for item in answered["items"]]
    anew = http.post("/api/batches", json={"questions": questions[:1], "name": answered["name"], "again": True}).json()
    assert not anew["items"][0]["cached"]


def test_a_failure_and_a_refusal_stand_in_their_places(http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with MisbehavingServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        server.behave_by(lambda request, _number: "bad_request" if b"bad" in request.body else "ok")
        questions: list[dict[str, Any]] = [{"prompt": "bad"}, {"prompt": " "}, {"prompt": "good", "n": 2}]
        answered = http.post("/api/batches", json={"questions": questions, "name": "mixed"}).json()
    assert [(item["index"], item["sample"], item["status"]) for item in answered["items"]] == [
        (0, 0, "failed"), (1, 0, "rejected"), (2, 0, "success"), (2, 1, "success"),
    ]  # fmt: skip
    assert (answered["name"], answered["unanswered"]) == ("mixed", 2)
    assert answered["items"][0]["call_id"] is not None
    assert answered["items"][1]["call_id"] is None


def test_a_streamed_batch_sends_each_item_as_it_is_done_and_what_it_came_to(
    http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MisbehavingServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        server.behave_by(
            lambda request, _number: Behaviour("slow", delay_seconds=0.5 if b"slow" in request.body else 0)
        )
        questions: list[dict[str, Any]] = [{"prompt": "slow"}, {"prompt": " "}, {"prompt": "good"}, {"prompt": "good"}]
        with http.stream("POST", "/api/batches", json={"questions": questions, "stream": True}) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            *items, (name, batch), done = events_of(response.iter_lines())
        whole = http.post("/api/batches", json={"questions": questions}).json()
    assert [(name, item["index"], item["status"]) for name, item in items] == [
        ("item", 1, "rejected"), ("item", 2, "success"), ("item", 3, "success"), ("item", 0, "success"),
    ]  # fmt: skip
    assert (name, batch["name"], batch["unanswered"], "items" in batch) == ("batch", whole["name"], 1, False)
    assert (batch["cost"], batch["cost_unknown"], batch["position"] is not None) == ("0", 2, True)
    assert done == ("", "[DONE]")
    assert [item["call_id"] for _, item in sorted(items, key=lambda item: item[1]["index"])] == [
        item["call_id"] for item in whole["items"]
    ]


def test_who_leaves_a_streamed_batch_cancels_it_and_asked_again_it_goes_on(
    http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MisbehavingServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        server.behave_by(lambda request, _number: "hang" if b"long" in request.body else "ok")
        questions = [{"prompt": "short"}, {"prompt": "long"}, {"prompt": "longer"}, {"prompt": "later"}]
        body = {"questions": questions, "name": "left", "in_flight": 2}
        with http.stream("POST", "/api/batches", json={**body, "stream": True}) as response:
            events = events_of(response.iter_lines())
            name, item = next(events)
            assert (name, item["index"]) == ("item", 0)
            deadline = time.monotonic() + 10
            while len(server.requests) < 3:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        while len(left := http.get("/api/calls", params={"status": "cancelled"}).json()["items"]) < 2:
            assert time.monotonic() < deadline, left
            time.sleep(0.05)
        server.behave_always("ok")
        again = http.post("/api/batches", json=body).json()
        assert [item["cached"] for item in again["items"]] == [True, False, False, False]
        assert again["unanswered"] == 0
        assert len(server.requests) == 6  # what had been answered is not paid for again
        refused = http.post("/api/batches", json={**body, "name": " ", "stream": True})
    assert (refused.status_code, refused.headers["content-type"]) == (400, "application/problem+json")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"questions": []}, "questions"),
        ({"questions": [{"prompt": "?"}], "in_flight": 0}, "in_flight"),
        ({"questions": [{"prompt": "?"}], "name": "x" * 301}, "name"),
        ({"questions": [{"prompt": "?", "stream": True}]}, "questions[0].stream"),
        ({"questions": [{"prompt": "?", "temprature": 1}]}, "questions[0].temprature"),
    ],
)
def test_what_is_no_batch_is_refused_by_its_place(reader: httpx.Client, body: dict[str, Any], field: str) -> None:
    refused = reader.post("/api/batches", json=body)
    assert refused.status_code == 400
    assert refused.json()["fields"] == [field], refused.text
