"""Who comes in, what they may do, how much of it, and under whose name it is recorded."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from litestar.routes import HTTPRoute

from application.check_tokens import Caller
from domain.errors import TooMany
from domain.identity import content_id
from infrastructure.settings import Settings, read_settings
from interfaces.http.app import create_app
from interfaces.http.limits import REMEMBERED, Limits
from interfaces.http.scopes import NEEDED
from tests.conftest import Database
from tests.interfaces.http.conftest import serving
from tests.interfaces.http.test_problems import refused
from tests.interfaces.serving.test_serving import environment, process

OWN = "the-operators-own-token"
PROMPT = {"prompt": "hello", "provider": "local"}
SCOPES = ("read", "write", "admin")


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def routes() -> set[str]:
    app = create_app(read_settings())
    return {
        f"{method} {route.path_format}"
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for method in route.methods
        if method != "OPTIONS"
    }


def test_every_route_says_what_it_needs_and_nothing_else_is_said() -> None:
    # The gateway stands before the framework's routes and asks by itself.
    assert routes() | {route for route in NEEDED if " /v1/" in route} == set(NEEDED)
    assert {needed for route, needed in NEEDED.items() if not route.startswith(("GET ", "HEAD "))} == {"write", "admin"}


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Settings:
    return read_settings(database_url=database.application_uri, study_home=tmp_path / "home", study_token=OWN)


@pytest.fixture
def beyond(settings: Settings) -> Iterator[httpx.Client]:
    """A server that other machines may reach, as its operator sees it."""
    with (
        serving(settings, loopback=False) as address,
        httpx.Client(base_url=address, timeout=20, headers=bearer(OWN)) as client,
    ):
        yield client


@contextmanager
def nobody(client: httpx.Client) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=client.base_url, timeout=20) as stranger:
        yield stranger


def issue(client: httpx.Client, scope: str, name: str | None = None) -> dict[str, str]:
    issued = client.post("/api/tokens", json={"name": name or f"a-{scope}", "scope": scope})
    assert issued.status_code == 201, issued.text
    assert issued.headers["cache-control"] == "no-store"
    return bearer(issued.json()["token"])


def said(answer: httpx.Response, status: int) -> str:
    """What a refusal tells, in the shape that the clients of its path understand."""
    if not answer.url.path.startswith("/v1/"):
        return str(refused(answer, status)["detail"])
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    return str(answer.json()["error"]["message"])


def begun(http: httpx.Client, method: str, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
    """An answer, with its body where it is an error: some of the others never end."""
    with http.stream(method, path, headers=headers) as answer:
        if answer.is_error:
            answer.read()
    return answer


def test_each_route_lets_in_whom_its_scope_names(beyond: httpx.Client) -> None:
    tokens = {scope: issue(beyond, scope) for scope in SCOPES}
    with nobody(beyond) as stranger:
        for route, needed in NEEDED.items():
            method, _, template = route.partition(" ")
            path = template.replace("{file_path}", "page.js").replace("{", "").replace("}", "")
            enough = SCOPES if needed == "open" else SCOPES[SCOPES.index(needed) :]
            answer = begun(stranger, method, path)
            assert (answer.status_code == 401) == (needed != "open"), route
            if needed != "open":
                assert answer.headers["www-authenticate"] == 'Bearer realm="study-query-llm"', route
                assert said(answer, 401)
            for scope, headers in tokens.items():
                if scope in enough and needed in ("write", "admin"):
                    continue  # it would do it, or say what is missing
                answer = begun(stranger, method, path, headers)
                assert (answer.status_code == 403) == (scope not in enough), (route, scope)
                if scope not in enough:
                    assert f'error="insufficient_scope", scope="{needed}"' in answer.headers["www-authenticate"]
                    assert f"a-{scope}" in said(answer, 403)


def test_what_is_done_with_a_token_is_recorded_under_its_name(beyond: httpx.Client) -> None:
    ada, request_id = issue(beyond, "write", "ada"), str(uuid4())
    with nobody(beyond) as http:
        asked = http.post("/api/calls", json=PROMPT, headers={**ada, "x-request-id": request_id})
        assert asked.status_code == 201, asked.text
        assert http.get("/api/tokens", headers=ada).status_code == 403
        named = http.post(
            "/api/groups", json={"group_type": "run", "name": "r"}, headers={**ada, "x-request-id": "r-1"}
        )
        assert (named.status_code, named.headers["x-request-id"]) == (201, "r-1")
    events = beyond.get("/api/audit/events", params={"actor": "ada"}).json()["items"]
    assert [event["event"] for event in events] == ["call.requested.v1", "call.answered.v1", "group.created.v1"]
    assert [event["correlation_id"] for event in events] == [request_id] * 2 + [str(content_id("request", "r-1"))]
    issued = beyond.get("/api/audit/events", params={"kind": "token"}).json()["items"]
    assert [event["actor"] for event in issued] == ["STUDY_TOKEN"]
    (listed,) = beyond.get("/api/tokens").json()["items"]
    assert (listed["name"], listed["scope"], listed["status"]) == ("ada", "write", "issued")


def test_what_is_no_live_token_is_refused(beyond: httpx.Client) -> None:
    with nobody(beyond) as http:
        for header in (
            "Bearer sq_unknown",
            "Bearer",
            "Basic dXM6cA==",
            "sq_unknown",
            f"Bearer {'x' * 600}",
            f"Token {OWN}",
        ):
            answer = http.get("/api/calls", headers={"authorization": header})
            assert "unknown, expired or revoked" in refused(answer, 401)["detail"], header
            assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        assert http.get("/api/calls", headers={"authorization": f"bearer  {OWN}"}).status_code == 200
        assert http.get("/nothing").status_code == 404


def test_beyond_this_machine_any_host_name_is_served_and_pages_need_a_token(beyond: httpx.Client) -> None:
    elsewhere = {"host": "study.example", "origin": "http://pages.example"}
    assert beyond.get("/api/calls", headers=elsewhere).status_code == 200
    assert beyond.post("/api/calls", json=PROMPT, headers=elsewhere).status_code == 201
    with nobody(beyond) as http:
        refused(http.post("/api/calls", json=PROMPT, headers=elsewhere), 403)


def test_on_this_machine_nobody_needs_a_token_and_an_unknown_one_is_ignored(settings: Settings) -> None:
    with serving(settings) as address, httpx.Client(base_url=address, timeout=20) as http:
        for headers in ({}, bearer("sk-of-another-service"), bearer("sq_unknown")):
            assert http.post("/api/calls", json=PROMPT, headers=headers).status_code == 201, headers
        reading = issue(http, "read")
        assert http.get("/api/calls", headers=reading).status_code == 200
        refused(http.post("/api/calls", json=PROMPT, headers=reading), 403)  # a known one counts as what it is
        events = http.get("/api/audit/events", params={"event": "call.requested"}).json()["items"]
        tokens = http.get("/api/audit/events", params={"kind": "token"}).json()["items"]
    assert len({event["actor"] for event in events} | {event["actor"] for event in tokens}) == 1


def test_a_token_may_ask_only_so_much(database: Database, tmp_path: Path) -> None:
    settings = read_settings(
        database_url=database.application_uri,
        study_home=tmp_path,
        study_token=OWN,
        study_token_rate=0.5,
        study_token_burst=3,
    )
    with serving(settings) as address, httpx.Client(base_url=address, timeout=20) as http:
        answers = [http.get("/api/providers", headers=bearer(OWN)) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 2
        assert "STUDY_TOKEN_RATE" in refused(answers[-1], 429)["detail"]
        as_openai = http.get("/v1/models", headers=bearer(OWN))
        assert (as_openai.status_code, as_openai.headers["content-type"]) == (429, "application/json")
        error = as_openai.json()["error"]
        assert (error["type"], error["code"], error["param"]) == ("requests", "rate_limit_exceeded", None)
        assert http.get("/api/providers").status_code == 200  # this machine's user is nobody's token


def test_places_are_given_back_and_each_worker_grants_its_part() -> None:
    now = [0.0]
    limits = Limits(rate=10, burst=4, places=3, workers=2, clock=lambda: now[0])
    ada, bob = Caller("ada", "read"), Caller("bob", "read")
    with limits.place(ada), limits.place(ada):
        with pytest.raises(TooMany, match="STUDY_TOKEN_CONCURRENCY"), limits.place(ada):
            pass
        with limits.place(bob):
            pass
    with pytest.raises(TooMany, match="STUDY_TOKEN_RATE") as refused_for_now, limits.place(ada):
        pass
    assert refused_for_now.value.retry_after_seconds == pytest.approx(0.2)
    now[0] += 0.2
    with limits.place(ada):
        pass
    unlimited = Limits(rate=0, burst=1, places=0)
    for number in range(REMEMBERED + 2):
        with unlimited.place(Caller(f"t{number}", "read")), unlimited.place(Caller(f"t{number}", "read")):
            pass
    assert len(unlimited._spending) < REMEMBERED


def study(*words: str, **variables: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", "interfaces.cli.main", *words],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return ran.stdout.strip()


def test_a_revoked_token_is_refused_by_every_worker_within_a_second(database: Database, tmp_path: Path) -> None:
    variables = {"DATABASE_URL": database.application_uri, "STUDY_HOME": str(tmp_path / "home")}
    token = study("token", "issue", "--name", "ada", "--scope", "admin", **variables)
    with process("--host", "0.0.0.0", "--workers", "2", **variables) as (server, everywhere, lines):
        address = everywhere.replace("0.0.0.0", "127.0.0.1")
        statuses: dict[str, list[tuple[float, int]]] = {"a": [], "b": [], "c": [], "d": []}
        stop = threading.Event()

        def ask(mine: list[tuple[float, int]]) -> None:
            while not stop.is_set():
                # A connection each time, so that whichever worker is free takes it.
                answer = httpx.get(f"{address}/api/providers", headers=bearer(token), timeout=30)
                mine.append((time.monotonic(), answer.status_code))
                time.sleep(0.02)

        assert httpx.get(f"{address}/api/providers", headers=bearer(token), timeout=30).status_code == 200
        askers = [threading.Thread(target=ask, args=(mine,)) for mine in statuses.values()]
        for asker in askers:
            asker.start()
        time.sleep(0.5)
        revoked = httpx.delete(f"{address}/api/tokens/ada", headers=bearer(token), timeout=30)
        revoked_at = time.monotonic()
        assert revoked.status_code == 200, revoked.text
        time.sleep(1.5)
        stop.set()
        for asker in askers:
            asker.join()
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=30) == 0
    told = [each for mine in statuses.values() for each in mine]
    assert {status for at, status in told if at < revoked_at} <= {200, 401}
    assert {status for at, status in told if at > revoked_at + 1} == {401}
    assert token not in "".join(lines)
    assert [line for line in lines if not line.startswith("{")] == []
    access = [entry for line in lines if (entry := json.loads(line))["event"] == "request"]
    assert {entry["route"] for entry in access} == {"/api/providers", "/api/tokens/{name}"}
    assert {entry["caller"] for entry in access if entry["status"] == 200} == {"ada"}
    assert all(UUID(entry["request_id"]) for entry in access)
