"""A real browser on a real server, whose model provider misbehaves on purpose."""

import csv
import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.conftest import fresh_database
from tests.interfaces.serving.test_serving import process
from tests.support.browser import FLAGS, chromium_here
from tests.support.misbehaving_server import MisbehavingServer, Received

OWN = "the-operators-own-token"
TEXTS = Path(__file__).parents[3] / "interfaces" / "cli" / "quickstart_texts.csv"
GRAVE = ("serious", "critical")
# A page's themes, with axe's rules for each: nothing but colours is different in the second.
THEMES: tuple[tuple[Literal["light", "dark"], dict[str, list[str]]], ...] = (
    ("light", {}),
    ("dark", {"runOnly": ["color-contrast", "link-in-text-block"]}),
)
WAIT_MS = 60_000  # for a machine that does other work as well; nothing waits so long where all is well


@dataclass
class Site:
    """The server, its provider, and what every page that was opened on it complained of."""

    address: str
    provider: MisbehavingServer
    token: str | None = None  # of whoever runs it, where tokens are asked for
    complaints: list[str] = field(default_factory=list)
    left_the_machine: list[str] = field(default_factory=list)

    def api(self) -> httpx.Client:
        """Whoever runs the server, over the API."""
        headers = {"authorization": f"Bearer {self.token}"} if self.token else {}
        return httpx.Client(base_url=self.address, headers=headers, timeout=60)

    def posted(self, path: str, **body: object) -> dict[str, Any]:
        """What the API answers to a command."""
        with self.api() as api:
            answer = api.post(path, json=body)
        assert answer.status_code in (200, 201, 202), answer.text
        document: dict[str, Any] = answer.json()
        return document

    def ask(self, prompt: str, **more: object) -> dict[str, Any]:
        """Ask over the API."""
        return self.posted("/api/calls", prompt=prompt, **more)

    def finds_what_was_said(self, position: object) -> None:
        """Once the index of prompts and answers, which is written apart, has got to a position."""
        deadline = time.monotonic() + WAIT_MS / 1000
        wanted = {"q": "anything", "at_least": str(position)}
        with self.api() as api:
            while (found := api.get("/api/calls", params=wanted)).status_code == 503:
                assert time.monotonic() < deadline, found.text
        assert found.status_code == 200, found.text

    def lists(self, **wanted: str) -> None:
        """Once there is a call of this kind; what was stopped is recorded a moment later."""
        deadline = time.monotonic() + WAIT_MS / 1000
        with self.api() as api:
            while not api.get("/api/calls", params=wanted).raise_for_status().json()["items"]:
                assert time.monotonic() < deadline
                time.sleep(0.1)

    def has_been_asked(self, prompt: str) -> None:
        """Once the provider has got a prompt."""
        deadline = time.monotonic() + WAIT_MS / 1000
        while not any(prompt.encode() in request.body for request in self.provider.requests):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def watched(self, page: Page) -> Page:
        """Have a page's errors and requests written down."""
        page.set_default_timeout(WAIT_MS)

        def said(message: ConsoleMessage) -> None:
            if message.type == "error":
                self.complaints.append(f"{page.url}: {message.text}")

        def asked(request: Request) -> None:
            if not request.url.startswith((self.address, "data:", "blob:")):
                self.left_the_machine.append(request.url)

        page.on("console", said)
        page.on("pageerror", lambda error: self.complaints.append(f"{page.url}: {error}"))
        page.on("request", asked)
        return page


class AsThePromptSays:
    """What the provider does: after a colon, a prompt names it for one attempt after the other."""

    def __init__(self) -> None:
        self._attempts: Counter[str] = Counter()

    def __call__(self, request: Received, _number: int) -> str:
        """The behaviour that is meant for this attempt."""
        body = json.loads(request.body or b"{}")
        asked = body["messages"][-1]["content"] if "messages" in body else "".join(body.get("input", ""))
        wanted = asked.partition(":")[2].split()
        attempt = self._attempts[asked]
        self._attempts[asked] += 1
        return wanted[attempt] if attempt < len(wanted) else "ok"


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where the browser is; what it shows is not looked at where there is none."""
    found = chromium_here()
    if found is None:
        pytest.skip("there is no chromium here to look at the dashboard with: apt-get install chromium-headless-shell")
    return found


@pytest.fixture(scope="session")
def house(
    server: tuple[str, str], template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[tuple[str, ...], dict[str, str], MisbehavingServer]]:
    """The store of all the dashboard's servers: their options, their settings, and the provider that they ask."""
    with fresh_database(server, template) as database, MisbehavingServer() as provider:
        provider.behave_by(AsThePromptSays())
        options = ("--home", str(tmp_path_factory.mktemp("home")), "--database-url", database.application_uri)
        keys = {"OPENAI_BASE_URL": provider.url, "OPENAI_API_KEY": "sk-x", "OPENAI_MODEL": "tiny"}
        yield options, keys, provider


@pytest.fixture(scope="session")
def site(house: tuple[tuple[str, ...], dict[str, str], MisbehavingServer]) -> Iterator[Site]:
    """A server that only this machine reaches. All tests of a process share it: each looks for its own things."""
    options, keys, provider = house
    with process(*options, **keys) as (_, address, _lines):
        # Panel is imported by the first page that needs it, which a browser need not wait for.
        httpx.get(f"{address}/dashboard/?view=ask", timeout=300).raise_for_status()
        yield Site(address, provider)


@pytest.fixture(scope="session")
def guarded(house: tuple[tuple[str, ...], dict[str, str], MisbehavingServer]) -> Iterator[Site]:
    """A server of the same store that other machines reach as well, so that tokens are asked for."""
    options, keys, provider = house
    with process("--host", "0.0.0.0", *options, **keys, STUDY_TOKEN=OWN) as (_, address, _lines):
        yield Site(address.replace("0.0.0.0", "127.0.0.1"), provider, token=OWN)


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """One browser for a file's tests; while it is there, no test can have a loop of its own."""
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """A fresh page that remembers nothing."""
    with visiting(browser, site) as page:
        yield page


@contextmanager
def visiting(browser: Browser, site: Site) -> Iterator[Page]:
    """A browser's page of its own at a server; it must not complain, nor ask for anything from elsewhere."""
    context = browser.new_context(base_url=site.address, viewport={"width": 1280, "height": 900})
    site.complaints.clear()
    yield site.watched(context.new_page())
    context.close()
    assert site.complaints == []
    assert site.left_the_machine == []


@pytest.fixture(scope="session")
def dataset(site: Site) -> str:
    """The quickstart's texts with their topics, every fourth of them."""
    with TEXTS.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[::4]
    site.posted("/api/datasets", name="quickstart", rows=rows, text_column="text", label_column="topic")
    return "quickstart"


@pytest.fixture(scope="session")
def sweep(site: Site, dataset: str) -> dict[str, Any]:
    """A finished sweep of them."""
    asked = site.posted("/api/sweeps", dataset=dataset, provider="local", k_min=2, k_max=4, restarts=2)
    deadline = time.monotonic() + 5 * WAIT_MS / 1000  # its kernels are compiled first
    with site.api() as api:
        while True:
            found: dict[str, Any] = api.get(f"/api/sweeps/{asked['sweep_id']}").json()
            if found.get("status") == "finished":
                return found
            assert time.monotonic() < deadline, found
            time.sleep(0.3)


def opened(page: Page, view: str, **parameters: object) -> Page:
    """A view, once all of it is there."""
    query = "&".join(f"{name}={value}" for name, value in {"view": view, **parameters}.items())
    page.goto(f"/dashboard/?{query}")
    alive = page.locator("#study-live").count() > 0
    expect(page.locator("html[data-live=yes]" if alive else "html[data-theme]")).to_be_attached()
    return page


def hindrances(page: Page) -> list[tuple[object, ...]]:
    """What is gravely in the way of whoever can not see well, in light and in dark."""
    found: list[tuple[object, ...]] = []
    for theme, rules in THEMES:
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        expect(page.locator("html")).to_have_attribute("data-theme", theme)
        violations = Axe().run(page, options={"resultTypes": ["violations"], **rules}).response["violations"]
        found += [
            (theme, page.url, each["id"], [node["html"][:200] for node in each["nodes"]])
            for each in violations
            if each["impact"] in GRAVE
        ]
    return found
