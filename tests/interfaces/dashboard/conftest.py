"""A real browser on a real server, whose model provider misbehaves on purpose."""

import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.conftest import fresh_database
from tests.interfaces.serving.test_serving import process
from tests.support.misbehaving_server import MisbehavingServer, Received

FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
WAIT_MS = 60_000  # for a machine that does other work as well; nothing waits so long where all is well


@dataclass
class Site:
    """The server, its provider, and what every page that was opened on it complained of."""

    address: str
    provider: MisbehavingServer
    complaints: list[str] = field(default_factory=list)
    left_the_machine: list[str] = field(default_factory=list)

    def ask(self, prompt: str, **more: object) -> dict[str, object]:
        """Ask over the API."""
        answer = httpx.post(f"{self.address}/api/calls", json={"prompt": prompt, **more}, timeout=30)
        assert answer.status_code == 201, answer.text
        document: dict[str, object] = answer.json()
        return document

    def finds_what_was_said(self, position: object) -> None:
        """Once the index of prompts and answers, which is written apart, has got to a position."""
        deadline = time.monotonic() + WAIT_MS / 1000
        wanted = {"q": "anything", "at_least": str(position)}
        while (found := httpx.get(f"{self.address}/api/calls", params=wanted, timeout=30)).status_code == 503:
            assert time.monotonic() < deadline, found.text
        assert found.status_code == 200, found.text

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
        asked = json.loads(request.body)["messages"][-1]["content"] if request.body else ""
        wanted = asked.partition(":")[2].split()
        attempt = self._attempts[asked]
        self._attempts[asked] += 1
        return wanted[attempt] if attempt < len(wanted) else "ok"


@pytest.fixture(scope="module")
def chromium() -> str:
    """Where the browser is; what it shows is not looked at where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("there is no chromium here to look at the dashboard with: apt-get install chromium")
    return found


@pytest.fixture(scope="module")
def site(
    chromium: str, server: tuple[str, str], template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """One server for a file's tests."""
    home = str(tmp_path_factory.mktemp("home"))
    with fresh_database(server, template) as database, MisbehavingServer() as provider:
        provider.behave_by(AsThePromptSays())
        options = ("--home", home, "--database-url", database.application_uri)
        keys = {"OPENAI_BASE_URL": provider.url, "OPENAI_API_KEY": "sk-x", "OPENAI_MODEL": "tiny"}
        with process(*options, **keys) as (_, address, _lines):
            # Panel is imported by the first page that needs it, which a browser need not wait for.
            httpx.get(f"{address}/dashboard/?view=ask", timeout=300).raise_for_status()
            yield Site(address, provider)


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """One browser for a file's tests."""
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """A fresh page that remembers nothing; it must not complain, nor ask for anything from elsewhere."""
    context = browser.new_context(base_url=site.address, viewport={"width": 1280, "height": 900})
    site.complaints.clear()
    yield site.watched(context.new_page())
    context.close()
    assert site.complaints == []
    assert site.left_the_machine == []


def opened(page: Page, view: str, **parameters: object) -> Page:
    """A view, once all of it is there."""
    query = "&".join(f"{name}={value}" for name, value in {"view": view, **parameters}.items())
    page.goto(f"/dashboard/?{query}")
    alive = page.locator("#study-live").count() > 0
    expect(page.locator("html[data-live=yes]" if alive else "html[data-theme]")).to_be_attached()
    return page
