"""Who comes in to the dashboard, by which way, and what a page may load."""

import base64
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.conftest import Database
from tests.interfaces.dashboard.conftest import OWN, Site
from tests.interfaces.serving.test_serving import process


@pytest.fixture
def here(site: Site) -> Iterator[httpx.Client]:
    """A server that only this machine reaches."""
    with httpx.Client(base_url=site.address, timeout=30) as client:
        yield client


@pytest.fixture
def everywhere(guarded: Site) -> str:
    """The address of a server that asks for tokens."""
    return guarded.address


@pytest.fixture
def visitor(everywhere: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=everywhere, timeout=30) as client:
        yield client


def issued(everywhere: str, name: str, scope: str) -> str:
    answer = httpx.post(
        f"{everywhere}/api/tokens", json={"name": name, "scope": scope}, headers={"authorization": f"Bearer {OWN}"}
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["token"])


def signed_in(visitor: httpx.Client, token: str, leads_to: str = "/dashboard/?view=calls") -> httpx.Response:
    return visitor.post("/dashboard/login", data={"token": token, "leads_to": leads_to})


def test_the_root_leads_to_the_dashboard_and_the_api_is_where_it_was(here: httpx.Client) -> None:
    assert here.get("/").headers["location"] == "/dashboard/"
    assert here.get("/dashboard").headers["location"] == "/dashboard/"
    assert "items" in here.get("/api/calls").json()
    assert here.get("/no/such/thing").headers["content-type"].startswith("application/problem+json")


def test_an_address_that_leads_nowhere_shows_the_way_home(here: httpx.Client, visitor: httpx.Client) -> None:
    for who in (here, visitor):  # whether or not tokens are asked for
        page = who.get("/dashboard/calls/zzz")
        assert page.status_code == 404
        assert "default-src 'self'" in page.headers["content-security-policy"]
        home = re.search(r'<a class="primary" href="([^"]+)">', page.text)
        assert home is not None
        assert home[1] == "/dashboard/"
        style = re.search(r'<link rel="stylesheet" href="([^"]+)">', page.text)
        assert style is not None
        assert who.get(style[1]).status_code == 200
    assert here.post("/dashboard/zzz").status_code == 404


def test_a_page_loads_nothing_from_elsewhere_and_says_so_to_the_browser(here: httpx.Client) -> None:
    page = here.get("/dashboard/", params={"view": "calls"})
    policy = page.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-eval" not in policy
    assert re.findall(r'(?:src|href)="(?:https?:)?//', page.text) == []
    for address in re.findall(r'(?:src|href)="(/dashboard/assets/[^"]+)"', page.text):
        asset = here.get(address)
        assert (asset.status_code, "immutable" in asset.headers["cache-control"]) == (200, True)
        assert "http://" not in asset.text.replace("http://www.w3.org", "")
    assert here.get("/dashboard/assets/x/../page.py").status_code == 404
    assert here.get("/dashboard/static/../../etc/passwd").status_code == 404


@pytest.mark.parametrize(
    ("parameters", "status", "told"),
    [
        ({"view": "nothing"}, 404, "There is no view"),
        ({"view": "calls", "call": "zzz"}, 404, "is no id"),
        ({"view": "calls", "as_of": "yesterday"}, 400, "neither a position nor a time"),
        ({"view": "calls", "as_of": "999999"}, 400, "after the end of the log"),
        ({"view": "calls", "status": "odd"}, 400, "is no status"),
        ({"view": "calls", "since": "soon"}, 400, "is no time"),
        ({"view": "calls", "group": "primes"}, 400, "TYPE/NAME"),
        ({"view": "calls", "cursor": "zzz"}, 400, "is no cursor"),
        ({"view": "calls", "q": "x" * 3_000}, 400, "longer than"),
        ({"view": "events", "after": "-1"}, 400, "is no position"),
        ({"view": "events", "kind": "odd"}, 400, "odd"),
    ],
)
def test_what_can_not_be_shown_says_why(here: httpx.Client, parameters: dict[str, str], status: int, told: str) -> None:
    page = here.get("/dashboard/", params=parameters)
    assert (page.status_code, told in page.text, "Traceback" in page.text) == (status, True, False), page.text


def test_what_was_typed_is_never_taken_for_markup(here: httpx.Client) -> None:
    for name in ("view", "q", "as_of", "call", "group"):
        page = here.get("/dashboard/", params={"view": "calls", name: '"><script>alert(1)</script>'})
        assert "<script>alert" not in page.text, name


def test_another_sites_page_may_neither_sign_in_nor_be_sent_here(here: httpx.Client) -> None:
    assert here.get("/dashboard/", headers={"host": "evil.example"}).status_code == 403
    posted = here.post("/dashboard/login", data={"token": OWN}, headers={"origin": "https://evil.example"})
    assert posted.status_code == 403
    form, evil = {"do": "create", "type": "run", "name": "evil"}, {"origin": "https://evil.example"}
    assert here.post("/dashboard/", params={"view": "groups"}, data=form, headers=evil).status_code == 403
    assert here.get("/api/groups", params={"name": "evil"}).json()["items"] == []


@pytest.mark.parametrize(
    ("parameters", "form", "told"),
    [
        ({"view": "health"}, {"do": "create"}, "Nothing can be done here"),
        ({"view": "groups", "as_of": "1"}, {"do": "create"}, "Nothing can be done here"),
        ({"view": "groups"}, {"do": "add", "calls": "x"}, "asks for nothing"),
        ({"view": "groups"}, {}, "asks for nothing"),
        ({"view": "groups"}, {"do": "create", "type": "x" * 1_000_001}, "asks for nothing"),
        ({"view": "groups"}, {"do": "create", "type": "run"}, "Name is empty"),
    ],
)
def test_a_form_that_means_nothing_changes_nothing(
    here: httpx.Client, parameters: dict[str, str], form: dict[str, str], told: str
) -> None:
    here.post("/api/calls", json={"prompt": "so that there is a first event", "provider": "local"}).raise_for_status()
    page = here.post("/dashboard/", params=parameters, data=form)
    assert (page.status_code, told in page.text) == (400, True), page.text


def test_whoever_has_no_token_is_asked_for_one_and_sees_nothing(visitor: httpx.Client) -> None:
    page = visitor.get("/dashboard/", params={"view": "calls", "status": "failed"})
    assert page.status_code == 401
    assert "Sign in with a token" in page.text
    assert "?view=calls&amp;status=failed" in page.text
    assert visitor.get("/dashboard/live/ws").status_code == 404


def test_a_wrong_token_is_told_to_be_wrong(visitor: httpx.Client) -> None:
    refused = signed_in(visitor, "not-anybodys-token-at-all")
    assert (refused.status_code, "unknown, expired or revoked" in refused.text) == (401, True)
    assert visitor.cookies.get("study_token") is None


def test_who_signs_in_gets_a_cookie_that_no_script_reads_and_out_it_goes(visitor: httpx.Client) -> None:
    answer = signed_in(visitor, OWN)
    assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard/?view=calls")
    cookie = answer.headers["set-cookie"].lower()
    assert all(word in cookie for word in ("httponly", "samesite=strict", "path=/dashboard/"))
    page = visitor.get("/dashboard/", params={"view": "calls"})
    assert (page.status_code, OWN in page.text) == (200, False)
    assert visitor.get("/api/calls").status_code == 401  # the cookie opens nothing but the dashboard
    visitor.post("/dashboard/logout")
    assert visitor.get("/dashboard/").status_code == 401


def test_the_cookie_is_kept_to_tls_where_the_browser_speaks_it(visitor: httpx.Client) -> None:
    origin = str(visitor.base_url).replace("http://", "https://").rstrip("/")
    answer = visitor.post("/dashboard/login", data={"token": OWN}, headers={"origin": origin})
    assert "secure" in answer.headers["set-cookie"].lower()


def test_signing_in_leads_nowhere_else(visitor: httpx.Client) -> None:
    documents = ("/dashboard/report?sweep=x", "/dashboard/provenance.json?kind=call&id=x")
    for inside in documents:
        assert signed_in(visitor, OWN, inside).headers["location"] == inside
    for elsewhere in (
        "https://evil.example/",
        "//evil.example",
        "/dashboard/../api/docs",
        "/dashboard/evil",
        "/dashboard/reports?x",
    ):
        assert signed_in(visitor, OWN, elsewhere).headers["location"] == "/dashboard/"


def test_who_may_only_look_sees_but_is_not_offered_to_ask(visitor: httpx.Client, everywhere: str) -> None:
    assert signed_in(visitor, issued(everywhere, "looker", "read")).status_code == 303
    assert visitor.get("/dashboard/", params={"view": "calls"}).status_code == 200
    assert "may look, but not ask" in visitor.get("/dashboard/", params={"view": "ask"}).text
    form = {"do": "create", "type": "run", "name": "looked at"}
    refused = visitor.post("/dashboard/", params={"view": "groups"}, data=form)
    assert (refused.status_code, "may only look" in refused.text) == (403, True)


def test_documents_ask_for_the_token_that_pages_ask_for(visitor: httpx.Client, everywhere: str) -> None:
    call = httpx.post(
        f"{everywhere}/api/calls",
        json={"prompt": "Where did this come from?", "provider": "local"},
        headers={"authorization": f"Bearer {OWN}"},
        timeout=30,
    ).json()
    known = {"at_least": call["position"]}
    httpx.get(f"{everywhere}/api/calls", params=known, headers={"authorization": f"Bearer {OWN}"}, timeout=30)
    asked = {"kind": "call", "id": call["call_id"]}
    refused = visitor.get("/dashboard/provenance.json", params=asked)
    assert (refused.status_code, "Sign in with a token" in refused.text) == (401, True)
    assert f"/dashboard/provenance.json?kind=call&amp;id={call['call_id']}" in refused.text
    assert visitor.get("/dashboard/report", params={"sweep": str(uuid4())}).status_code == 401
    assert signed_in(visitor, issued(everywhere, "reader", "read")).status_code == 303
    assert "entity" in visitor.get("/dashboard/provenance.json", params=asked).json()


@pytest.mark.parametrize(
    ("path", "parameters", "status", "told"),
    [
        ("report", {}, 400, "sweep is missing"),
        ("report", {"sweep": "zzz"}, 404, "is no id"),
        ("report", {"sweep": str(UUID(int=1))}, 404, "There is no sweep"),
        ("report", {"sweep": str(UUID(int=1)), "format": "pdf"}, 400, "neither html nor md"),
        ("provenance.json", {"kind": "call"}, 400, "id is missing"),
        ("provenance.json", {"kind": "call", "id": str(UUID(int=1)), "depth": "-1"}, 400, "no number of steps"),
        ("provenance.json", {"kind": "call", "id": str(UUID(int=1)), "direction": "<b>"}, 400, "none of up, down"),
    ],
)
def test_a_document_that_can_not_be_made_says_why(
    here: httpx.Client, path: str, parameters: dict[str, str], status: int, told: str
) -> None:
    page = here.get(f"/dashboard/{path}", params=parameters)
    assert (page.status_code, told in page.text, "<b>" in page.text) == (status, True, False), page.text
    assert here.post(f"/dashboard/{path}", params=parameters).status_code == 404


def test_a_token_that_is_revoked_shows_nothing_more(visitor: httpx.Client, everywhere: str) -> None:
    assert signed_in(visitor, issued(everywhere, "leaver", "write")).status_code == 303
    assert visitor.get("/dashboard/", params={"view": "health"}).status_code == 200
    httpx.delete(f"{everywhere}/api/tokens/leaver", headers={"authorization": f"Bearer {OWN}"}).raise_for_status()
    assert visitor.get("/dashboard/", params={"view": "health"}).status_code == 401


def socket_of(page: httpx.Response, address: str, **more: Any) -> ClientConnection:
    """The socket that a page opens, from a page of this server unless another origin is given."""
    found = re.search(r'id="study-live">(.*?)</script>', page.text)
    assert found, page.text
    token = json.loads(found[1])["items"][0]["token"]
    here = urlsplit(address).netloc
    options = {"origin": f"http://{here}", "compression": None, **more}
    return connect(f"ws://{here}/dashboard/live/ws", subprotocols=["bokeh", token], proxy=None, **options)


def test_a_socket_is_only_opened_by_a_page_of_this_server_that_is_still_alive(here: httpx.Client) -> None:
    page, address = here.get("/dashboard/", params={"view": "events"}), str(here.base_url)
    for origin in ("http://evil.example", "https://localhost", None):
        with pytest.raises(InvalidStatus):
            socket_of(page, address, origin=origin)
    with (
        pytest.raises(InvalidStatus),
        connect(
            f"ws://{urlsplit(address).netloc}/dashboard/live/ws", origin=address, subprotocols=["bokeh", "made-up"]
        ),
    ):
        pass
    with socket_of(page, address) as talking:
        assert "ACK" in str(talking.recv(timeout=30))


def test_what_a_page_knows_of_its_session_holds_no_token(visitor: httpx.Client) -> None:
    signed_in(visitor, OWN)
    page = visitor.get("/dashboard/", params={"view": "events"})
    _, token = page.text.split('"token":"')
    payload = token.split('"')[0].split(".")[0]
    unpacked = base64.urlsafe_b64decode(payload + "==")
    packed = json.loads(unpacked)["__bk__zlib_"]
    told = zlib.decompress(base64.urlsafe_b64decode(packed + "=="))
    assert OWN.encode() not in told
    assert b'"cookies": {}' in told


def test_the_socket_of_a_page_whose_token_is_revoked_is_closed(visitor: httpx.Client, everywhere: str) -> None:
    token = issued(everywhere, "watcher", "read")
    signed_in(visitor, token)
    page = visitor.get("/dashboard/", params={"view": "events"})
    with socket_of(page, everywhere, additional_headers={"cookie": f"study_token={token}"}) as talking:
        assert "ACK" in str(talking.recv(timeout=30))
        httpx.delete(f"{everywhere}/api/tokens/watcher", headers={"authorization": f"Bearer {OWN}"}).raise_for_status()
        talking.send("{}")
        with pytest.raises(ConnectionClosedError, match="1008"):
            list(talking)


def test_a_server_may_have_no_dashboard(database: Database, tmp_path: Path) -> None:
    options = ("--no-dashboard", "--home", str(tmp_path), "--database-url", database.application_uri)
    with process(*options) as (_, address, _lines):
        assert httpx.get(f"{address}/dashboard/").status_code == 404
        assert httpx.get(f"{address}/health/live").status_code == 200
