"""What people can do in a browser where tokens are asked for."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.interfaces.dashboard.conftest import Site, opened, visiting


@pytest.fixture
def visitor(browser: Browser, guarded: Site) -> Iterator[Page]:
    """A page at the server that asks for tokens."""
    with visiting(browser, guarded) as page:
        yield page


def sign_in(page: Page, guarded: Site, scope: str, address: str = "/dashboard/?view=calls") -> None:
    """Come in with a new token."""
    token = guarded.posted("/api/tokens", name=f"{scope}-{uuid4().hex[:8]}", scope=scope)["token"]
    page.goto(address)
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    guarded.complaints.clear()  # the browser complains of the 401 that asked for the token


def test_whoever_signed_in_opens_the_report_and_the_provenance_that_pages_lead_to(
    visitor: Page, guarded: Site, sweep: dict[str, Any]
) -> None:
    sign_in(visitor, guarded, "read")
    opened(visitor, "sweeps", sweep=sweep["sweep_id"])
    visitor.get_by_role("link", name="The report to keep or to send").click()
    expect(visitor.get_by_role("heading", name="The clusters of quickstart")).to_be_visible()
    expect(visitor.locator("canvas").first).to_be_attached()
    visitor.go_back()
    visitor.get_by_role("link", name="What it came from").click()
    with visitor.expect_download() as download:
        visitor.get_by_role("link", name="Download as PROV-JSON").click()
    assert "entity" in json.loads(Path(download.value.path()).read_text())


def test_whoever_may_only_look_is_told_so_and_finds_no_form(
    visitor: Page, guarded: Site, sweep: dict[str, Any]
) -> None:
    sign_in(visitor, guarded, "read")
    opened(visitor, "ask")
    expect(visitor.get_by_text("Your token may look, but not ask.")).to_be_visible()
    opened(visitor, "sweeps", start="yes")
    expect(visitor.get_by_text("Your token may look, but not start a sweep.")).to_be_visible()
    for view, parameters in (("sweeps", {}), ("groups", {}), ("groups", {"group": sweep["run_group_id"]})):
        opened(visitor, view, **parameters)
        expect(visitor.get_by_role("heading", level=1)).to_be_visible()
        names = [re.compile("Create"), re.compile("^Add the"), re.compile("^Link"), re.compile("Start a sweep")]
        for name in names:
            expect(visitor.get_by_role("button", name=name)).to_have_count(0)
            expect(visitor.get_by_role("link", name=name)).to_have_count(0)


def test_a_form_that_is_open_refuses_when_its_token_is_revoked(visitor: Page, guarded: Site) -> None:
    sign_in(visitor, guarded, "write")
    opened(visitor, "ask", provider="local")
    expect(visitor.get_by_label("Prompt")).to_be_visible()
    name = visitor.locator(".who .name").inner_text()
    with guarded.api() as api:
        api.delete(f"/api/tokens/{name}").raise_for_status()
    visitor.get_by_label("Prompt").fill("May I still?")
    visitor.get_by_role("button", name="Ask", exact=True).click()
    expect(visitor.get_by_text("The connection to the server is lost.")).to_be_visible()
    visitor.reload()
    expect(visitor.get_by_role("heading", name="Sign in with a token")).to_be_visible()
    guarded.complaints.clear()  # of the socket that was closed, and of the 401
