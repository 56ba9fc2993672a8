"""What is refused, and how the answer says so."""

from typing import Any
from uuid import uuid4

import httpx
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from application.providers import AttemptFailed
from domain.calls import AttemptError
from domain.errors import (
    Conflict,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    ProviderFailed,
    Rejected,
    StudyError,
    TooMany,
    Unavailable,
)
from infrastructure.settings import Settings
from interfaces.http.app import create_app
from interfaces.http.problems import HANDLERS

PROMPT = {"prompt": "hello", "provider": "local"}


def refused(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-request-id"]
    problem: dict[str, Any] = response.json()
    assert set(problem) >= {"type", "title", "status", "detail", "fields"}
    assert problem["status"] == status
    return problem


def test_a_wrong_body_is_refused_with_the_field_at_fault(reader: httpx.Client) -> None:
    for body, fields in (
        ({**PROMPT, "promt": "x"}, ["promt"]),
        ({**PROMPT, "temperature": 3}, ["temperature"]),
        ({**PROMPT, "temperature": "hot"}, ["temperature"]),
        ({**PROMPT, "max_tokens": 0}, ["max_tokens"]),
        ({**PROMPT, "n": 0}, ["n"]),
        ({**PROMPT, "n": 1001}, ["n"]),
        ({**PROMPT, "group": {"group_type": "batch"}}, ["group.name"]),
        ({**PROMPT, "group": {"group_type": "batch", "name": "x", "rôle": "y"}}, ["group.rôle"]),
        ({**PROMPT, "metadata": []}, ["metadata"]),
        ({**PROMPT, "strem": True}, ["strem"]),
        ({"provider": "local"}, ["prompt", "messages"]),
        ({**PROMPT, "messages": [{"role": "user", "content": "x"}]}, ["prompt", "messages"]),
        ({"prompt": "  ", "provider": "local"}, ["prompt"]),
        ({"prompt": 5}, ["prompt"]),
        ([PROMPT], []),
        (None, []),
    ):
        problem = refused(reader.post("/api/calls", json=body), 400)
        assert problem["fields"] == fields, (body, problem)
    assert reader.get("/api/calls").json()["items"] == []


def test_a_body_that_is_no_json_is_refused(reader: httpx.Client) -> None:
    assert "JSON" in refused(reader.post("/api/calls", content=b'{"prompt"'), 400)["detail"]
    assert "empty" in refused(reader.post("/api/calls", content=b""), 400)["detail"]


def test_wrong_texts_and_rows_are_refused_by_their_place(reader: httpx.Client) -> None:
    assert refused(reader.post("/api/embeddings", json={"texts": []}), 400)["fields"] == ["texts"]
    assert refused(reader.post("/api/embeddings", json={"texts": ["a", 5]}), 400)["fields"] == ["texts[1]"]
    problem = refused(reader.post("/api/embeddings", json={"texts": ["a", " "], "provider": "local"}), 400)
    assert "1" in problem["detail"]
    rows = {"name": "x", "rows": [{"text": ["nested"]}], "text_column": "text"}
    assert refused(reader.post("/api/datasets", json=rows), 400)["fields"][0].startswith("rows[0]")


def test_a_mistyped_or_wrong_parameter_is_refused(reader: httpx.Client) -> None:
    for query, fields in (
        ("provder=local", ["provder"]),
        ("limit=0", ["limit"]),
        ("limit=many", ["limit"]),
        ("limit=1001", ["limit"]),
        ("status=done", ["status"]),
        ("modality=smell", ["modality"]),
        ("since=yesterday", ["since"]),
        ("until=2026-13-01", ["until"]),
        ("as_of=then", ["as_of"]),
        ("at_least=-1", ["at_least"]),
        ("group_id=7", ["group_id"]),
        ("cursor=nonsense", ["cursor"]),
    ):
        assert refused(reader.get(f"/api/calls?{query}"), 400)["fields"] == fields, query


def test_what_is_not_there_is_a_404(reader: httpx.Client) -> None:
    for address in (
        f"/api/calls/{uuid4()}",
        "/api/calls/not-an-id",
        f"/api/calls/{uuid4()}/attempts",
        f"/api/calls/{uuid4()}/events",
        "/api/sweeps/not-an-id",
        "/api/nothing",
        "/nothing",
    ):
        refused(reader.get(address), 404)


def test_another_method_is_a_405_that_names_the_right_ones(reader: httpx.Client) -> None:
    response = reader.delete("/api/calls")
    refused(response, 405)
    assert {"GET", "POST"} <= set(response.headers["allow"].split(", "))


def test_a_body_over_the_limit_is_a_413(reader: httpx.Client) -> None:
    problem = refused(reader.post("/api/calls", json={**PROMPT, "prompt": "x" * 20_000_001}), 413)
    assert "20,000,000" in problem["detail"]


def test_only_this_machines_own_names_are_served(reader: httpx.Client) -> None:
    port = reader.base_url.port
    for host in ("localhost", "127.0.0.1", "[::1]", f"localhost:{port}", f"LOCALHOST:{port}", "[::1]:8000"):
        assert reader.get("/health/live", headers={"host": host}).status_code == 200, host
    for host in ("study.example", "127.0.0.1.study.example", "localhost.study.example:80", "10.0.0.1", "", "[::1"):
        problem = refused(reader.get("/health/live", headers={"host": host}), 403)
        assert "Host" in problem["detail"]
    refused(reader.get("/nothing", headers={"host": "study.example"}), 403)


def test_another_sites_page_can_not_make_calls(http: httpx.Client) -> None:
    for origin in ("http://study.example", "null", "http://127.0.0.1:1"):
        refused(http.post("/api/calls", json=PROMPT, headers={"origin": origin}), 403)
    own = str(http.base_url).rstrip("/")
    assert http.post("/api/calls", json=PROMPT, headers={"origin": own}).status_code == 201
    assert http.get("/api/calls", headers={"origin": "http://study.example"}).status_code == 200


@pytest.mark.parametrize(
    ("error", "status", "more"),
    [
        (Rejected("no", fields=("a", "b")), 400, {"fields": ["a", "b"]}),
        (NotFound("no"), 404, {}),
        (Conflict("no", existing_id="7"), 409, {"existing_id": "7"}),
        (ProviderFailed("no", call_id="8"), 502, {"call_id": "8"}),
        (AttemptFailed(AttemptError(kind="timeout", message="no", transient=True), latency_ms=1.0), 502, {}),
        (Unavailable("no"), 503, {}),
        (NotAuthenticated("no"), 401, {}),
        (NotAllowed("no", needed="write"), 403, {}),
        (TooMany("no", retry_after_seconds=0.1), 429, {}),
    ],
)
def test_every_family_of_errors_has_its_status(error: Exception, status: int, more: dict[str, Any]) -> None:
    response = HANDLERS[AttemptFailed if isinstance(error, AttemptFailed) else StudyError](None, error)
    assert response.status_code == status
    problem = httpx.Response(200, content=response.content).json()
    assert {**problem, **more, "detail": "no"} == problem
    assert ("Retry-After" in response.headers) == (status in (429, 503))
    assert ("WWW-Authenticate" in response.headers) == (status in (401, 403))


def test_a_defect_tells_nothing_of_its_insides(settings: Settings) -> None:
    class Broken:
        """A study whose every part fails in a way that nobody foresaw."""

        actor = "ada"
        metrics = None

        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("the password is 1234")

    app: Litestar = create_app(settings, Broken())  # type: ignore[arg-type]
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        problem = refused(client.get("/api/calls"), 500)
        assert "1234" not in str(problem)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/api/calls", {"prompt": "Hello", "provider": "p" * 301}, "provider"),
        ("/api/calls", {"prompt": "Hello", "model": ""}, "model"),
        ("/api/calls", {"messages": [{"role": "user", "content": "Hello"}] * 10_001}, "messages"),
        ("/api/calls", {"prompt": "Hello", "group": {"group_type": "t", "name": "n" * 301}}, "group.name"),
        ("/api/embeddings", {"texts": ["Hello"], "model": "m" * 301}, "model"),
        ("/api/summaries", {"texts": ["Hello"], "provider": "p" * 301}, "provider"),
        ("/api/conversations", {"model": "m" * 301}, "model"),
    ],
)
def test_what_is_longer_than_it_can_be_is_refused_by_its_field(
    http: httpx.Client, path: str, body: dict[str, Any], field: str
) -> None:
    answer = http.post(path, json=body)
    assert answer.status_code == 400
    assert field in str(answer.json())
