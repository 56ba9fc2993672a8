"""Several people, several workers, and work that is ended before it is done."""

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from uuid import uuid4

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.interfaces.dashboard.conftest import WAIT_MS, Site, opened, visiting
from tests.interfaces.serving.test_serving import process
from tests.support.misbehaving_server import MisbehavingServer


def ask(page: Page, prompt: str) -> None:
    page.get_by_label("Prompt").fill(prompt)
    page.get_by_role("button", name="Ask", exact=True).click()


def test_two_people_ask_at_once_and_each_sees_their_own(page: Page, site: Site, browser: Browser) -> None:
    with visiting(browser, site) as other:
        for each in (page, other):
            opened(each, "ask", provider="openai")
        for each, prompt in ((page, "This is mine"), (other, "This is theirs")):
            ask(each, prompt)
        expect(page.get_by_role("region", name="Answer")).to_contain_text("echo: This is mine")
        expect(other.get_by_role("region", name="Answer")).to_contain_text("echo: This is theirs")


def test_two_people_work_in_different_views_at_once(
    page: Page, site: Site, browser: Browser, sweep: dict[str, Any]
) -> None:
    with visiting(browser, site) as other:
        opened(page, "events")
        opened(other, "sweeps", sweep=sweep["sweep_id"], k=2)
        answered = site.ask("Seen by one of the two", provider="local")
        other.get_by_role("button", name="More →").click()
        expect(page.get_by_role("row").nth(1)).to_contain_text(f"{answered['position']}")
        expect(other.get_by_role("heading", name="Clusters for K = 3")).to_be_visible()


def test_a_sweep_is_cancelled_from_the_page_that_started_it(page: Page, site: Site) -> None:
    name = uuid4().hex[:8]
    rows = [{"text": f"{name} {number}: hang"} for number in range(6)]
    site.posted("/api/datasets", name=name, rows=rows, text_column="text")
    opened(page, "sweeps", start="yes", dataset=name)
    page.get_by_label("Who embeds").select_option("openai")
    page.get_by_label("Largest K").fill("3")
    page.get_by_role("button", name="Start the sweep").click()
    site.has_been_asked(name)
    page.get_by_role("button", name="Cancel the sweep").click()
    progress = page.get_by_role("region", name="Progress")
    expect(progress).to_contain_text("It was cancelled. What is finished of it stays.")
    expect(page.get_by_role("button", name="Cancel the sweep")).to_have_count(0)
    progress.get_by_role("link", name="See what came of it").click()
    expect(page.get_by_text("cancelled", exact=True).first).to_be_visible()


def test_a_link_between_groups_is_taken_back(page: Page, site: Site) -> None:
    names = [uuid4().hex[:8] for _ in range(2)]
    first, second = (site.posted("/api/groups", group_type="run", name=name) for name in names)
    body = {"child_group_id": second["group_id"], "link_type": "contains"}
    site.posted(f"/api/groups/{first['group_id']}/links", **body)
    opened(page, "groups", group=first["group_id"])
    expect(page.get_by_role("region", name="The links of this group")).to_contain_text(names[1])
    page.get_by_text("Link with another group").click()
    page.get_by_label("Other group").fill(f"run/{names[1]}")
    page.get_by_role("button", name="Take the link back").click()
    expect(page.get_by_role("status").filter(has_text="The link is taken back.")).to_be_visible()
    page.get_by_role("link", name="Show the group as it is now").click()
    expect(page.get_by_role("region", name="The links of this group")).to_have_count(0)


@pytest.fixture
def workers(house: tuple[tuple[str, ...], dict[str, str], MisbehavingServer]) -> Iterator[Site]:
    """A server of two processes."""
    options, keys, provider = house
    with process("--workers", "2", *options, **keys) as (_, address, _lines):
        deadline = time.monotonic() + 5 * WAIT_MS / 1000
        while not _answers(address):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield Site(address, provider)


def _answers(address: str) -> bool:
    """Whether the worker that has the dashboard is there."""
    with suppress(httpx.TransportError):
        return httpx.get(f"{address}/dashboard/?view=events", timeout=300).status_code == 200
    return False


def test_pages_are_alive_whichever_of_several_workers_they_came_by(workers: Site, browser: Browser) -> None:
    with visiting(browser, workers) as page, visiting(browser, workers) as other:
        for _ in range(3):  # by one worker or by the other
            opened(page, "events")
            answered = workers.ask("Asked of one of the workers", provider="local")
            expect(page.get_by_role("row").nth(1)).to_contain_text(f"{answered['position']}")
        opened(other, "ask", provider="openai")
        ask(other, "Asked of both workers")
        expect(other.get_by_role("region", name="Answer")).to_contain_text("echo: Asked of both workers")
        other.get_by_role("link", name="Everything that is recorded").click()
        expect(other).to_have_url(re.compile("view=calls&call="))
