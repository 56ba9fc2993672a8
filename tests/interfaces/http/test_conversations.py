"""Conversations over HTTP, on a real socket and a real database."""

import threading
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from infrastructure.settings import Settings
from tests.interfaces.http.conftest import serving
from tests.interfaces.http.test_call_stream import events_of
from tests.support.misbehaving_server import Behaviour, MisbehavingServer

TINY = {"provider": "openai", "model": "tiny"}


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[MisbehavingServer]:
    with MisbehavingServer() as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
        yield provider


def begun(http: httpx.Client, **settings: Any) -> str:
    answer = http.post("/api/conversations", json={**TINY, **settings})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/api/conversations/{answer.json()['conversation_id']}"
    return str(answer.json()["conversation_id"])


def said(http: httpx.Client, talk: str, content: str, **options: Any) -> httpx.Response:
    return http.post(f"/api/conversations/{talk}/messages", json={"content": content, **options})


def test_the_history_has_a_message_as_it_was_sent_and_its_call_as_it_was_said(
    http: httpx.Client, provider: MisbehavingServer
) -> None:
    talk = begun(http)
    options = {"preprocess": ["whitespace"], "template": "{user_input} ({tone})", "fields": {"tone": "kind"}}
    turn = said(http, talk, "much   space", **options).json()
    assert turn["text"] == "echo: much space (kind)"
    call = http.get(f"/api/calls/{turn['call_id']}", params={"at_least": turn["position"]}).json()
    assert call["original"]["messages"] == [{"role": "user", "content": "much   space"}]
    shown = http.get(f"/api/conversations/{talk}", params={"at_least": turn["position"]}).json()
    assert shown["messages"][0]["content"] == "much space (kind)"
    refused = said(http, talk, "two", preprocess=["clean"])
    assert (refused.status_code, refused.json()["fields"]) == (400, ["preprocess"])


def test_a_conversation_is_begun_goes_on_is_forked_shown_and_closed(
    http: httpx.Client, provider: MisbehavingServer
) -> None:
    talk = begun(http, system="Be brief.", title="primes")
    first = said(http, talk, "one").json()
    second = said(http, talk, "two", metadata={"note": "n"}).json()
    assert (first["turn"], first["text"], second["turn"], second["dropped_turns"]) == (1, "echo: one", 2, [])
    shown = http.get(f"/api/conversations/{talk}", params={"at_least": second["position"]}).json()
    assert [(each["role"], each["content"]) for each in shown["messages"]] == [
        ("user", "one"),
        ("assistant", "echo: one"),
        ("user", "two"),
        ("assistant", "echo: two"),
    ]
    assert (shown["history_length"], shown["title"], shown["system"]) == (4, "primes", "Be brief.")
    then = http.get(f"/api/conversations/{talk}", params={"as_of": first["position"]}).json()
    assert then["history_length"] == 2
    fork = http.post(f"/api/conversations/{talk}/fork", json={"at": 1}).json()
    assert (fork["parent_id"], fork["at_turn"]) == (talk, 1)
    assert said(http, fork["conversation_id"], "other").json()["turn"] == 2
    whole = http.post(f"/api/conversations/{talk}/fork")
    assert (whole.status_code, whole.json()["at_turn"]) == (201, 2)
    closed = http.delete(f"/api/conversations/{talk}")
    assert (closed.status_code, closed.json()["status"]) == (200, "closed")
    assert http.delete(f"/api/conversations/{talk}").json() == closed.json()
    refused = said(http, talk, "three")
    assert (refused.status_code, refused.json()["existing_id"]) == (409, talk)
    listed = http.get("/api/conversations", params={"at_least": closed.json()["position"], "status": "closed"}).json()
    assert [each["conversation_id"] for each in listed["items"]] == [talk]
    call = http.get(f"/api/calls/{second['call_id']}").json()
    assert call["metadata"] == {"note": "n", "conversation_id": talk, "turn": 2}


def test_of_two_messages_at_once_one_is_refused_at_once_and_one_request_is_made(
    http: httpx.Client, settings: Settings, provider: MisbehavingServer
) -> None:
    """The second comes from another server process's point of view: another study on the same store."""
    talk = begun(http)
    provider.hold()
    answers: list[httpx.Response] = []
    waiting = threading.Thread(target=lambda: answers.append(said(http, talk, "one")))
    waiting.start()
    while not provider.requests:
        waiting.join(0.02)
    with serving(settings) as address, httpx.Client(base_url=address, timeout=20) as elsewhere:
        for client in (http, elsewhere):
            refused = said(client, talk, "two")
            assert refused.status_code == 409
            assert "wait for it, or fork" in refused.json()["detail"]
    provider.release()
    waiting.join()
    assert (answers[0].status_code, len(provider.requests)) == (201, 1)
    assert said(http, talk, "two").json()["turn"] == 2


def test_a_turn_is_streamed(http: httpx.Client, provider: MisbehavingServer) -> None:
    talk = begun(http)
    body = {"content": "Three primes, please?", "stream": True}
    with http.stream("POST", f"/api/conversations/{talk}/messages", json=body) as response:
        *pieces, answer, done = events_of(response.iter_lines())
    assert "".join(piece["text"] for _, piece in pieces) == "echo: Three primes, please?"
    assert (answer[0], answer[1]["turn"], answer[1]["conversation_id"], done[1]) == ("answer", 1, talk, "[DONE]")
    assert answer[1]["position"] is not None
    http.delete(f"/api/conversations/{talk}")
    refused = said(http, talk, "more", stream=True)
    assert (refused.status_code, refused.headers["content-type"]) == (409, "application/problem+json")


def test_a_failure_is_a_problem_and_the_conversation_goes_on(http: httpx.Client, provider: MisbehavingServer) -> None:
    talk = begun(http)
    provider.behave(Behaviour("reply", status=400, body=b"{}"))
    failed = said(http, talk, "one")
    assert (failed.status_code, "call_id" in failed.json()) == (502, True)
    assert said(http, talk, "one").json()["turn"] == 1


def test_what_can_not_be_is_a_problem(http: httpx.Client) -> None:
    talk = str(uuid4())
    assert http.post("/api/conversations", json={"conversation_id": talk}).json()["conversation_id"] == talk
    again = http.post("/api/conversations", json={"conversation_id": talk})
    assert (again.status_code, again.json()["existing_id"]) == (409, talk)
    for body, field in (
        ({"temperature": 3}, "temperature"),
        ({"token_budget": 0}, "token_budget"),
        ({"provider": "opnai"}, "provider"),
        ({"sistem": "?"}, "sistem"),
    ):
        answer = http.post("/api/conversations", json=body)
        assert (answer.status_code, answer.json()["fields"]) == (400, [field])
    assert said(http, talk, " ").json()["fields"] == ["content"]
    assert http.post(f"/api/conversations/{talk}/fork", json={"at": 1}).json()["fields"] == ["at"]
    assert http.get("/api/conversations", params={"status": "shut"}).status_code == 400
    for answer in (
        said(http, str(uuid4()), "hello"),
        http.get("/api/conversations/none"),
        http.delete(f"/api/conversations/{uuid4()}"),
        http.post(f"/api/conversations/{uuid4()}/fork"),
    ):
        assert answer.status_code == 404
    over = said(http, talk, "x" * 100, token_budget=10)
    assert (over.status_code, over.json()["fields"]) == (400, ["content", "token_budget"])
