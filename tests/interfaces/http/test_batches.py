"""Batches over HTTP."""

from typing import Any

import httpx
import pytest

from tests.support.misbehaving_server import MisbehavingServer

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
