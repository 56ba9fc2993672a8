"""The dashboard in real browsers: how long pages take until they live, alone and beside another browser, and what the
server's memory does over many of them."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Browser, Page, async_playwright

from benchmarks.gateways import Gateway
from tests.support.browser import FLAGS, chromium_here

FORGOTTEN_SECONDS = 45  # a page that was left is looked for every 5 s, and forgotten after 30
WAIT_MS = 120_000


@asynccontextmanager
async def browsers(count: int) -> AsyncIterator[list[Browser]]:
    """So many browsers, each with processes of its own."""
    async with async_playwright() as playwright:
        opened = [await playwright.chromium.launch(executable_path=chromium_here(), args=FLAGS) for _ in range(count)]
        yield opened
        for each in opened:
            await each.close()


async def shown_ms(page: Page, address: str) -> float:
    """Go there, and tell how long it took until all of it was drawn."""
    began = time.perf_counter()
    answer = await page.goto(address, wait_until="domcontentloaded")
    if answer is None or not answer.ok:
        raise SystemExit(f"{address} can't be shown")
    live = await page.locator("#study-live").count() > 0
    if live:
        await page.wait_for_selector("html[data-live=yes]", state="attached")
    else:
        await page.wait_for_load_state("load")
    return (time.perf_counter() - began) * 1000


async def page_in(browser: Browser) -> Page:
    """A page whose scripts are in the browser's cache after its first views."""
    page = await (await browser.new_context(viewport={"width": 1280, "height": 900})).new_page()
    page.set_default_timeout(WAIT_MS)
    return page


async def together(views: dict[str, str], rounds: int) -> list[dict[str, Any]]:
    """Each view's median time, in one browser, and in two at once that are at different views."""
    names = list(views)
    async with browsers(2) as opened:
        pages = [await page_in(each) for each in opened]
        for page in pages:
            for address in views.values():
                await shown_ms(page, address)
        alone: dict[str, list[float]] = {name: [] for name in names}
        beside: dict[str, list[float]] = {name: [] for name in names}

        async def walk(page: Page, first: int, times: dict[str, list[float]]) -> None:
            for name in (*names[first:], *names[:first]):
                times[name].append(await shown_ms(page, views[name]))

        for _ in range(rounds):  # in turns, so that what else the machine does falls on both
            await walk(pages[0], 0, alone)
            await asyncio.gather(walk(pages[0], 0, beside), walk(pages[1], len(names) // 2, beside))
    return [
        {
            "view": name,
            "alone_ms": round(statistics.median(alone[name])),
            "with_another_ms": round(statistics.median(beside[name])),
        }
        for name in names
    ]


async def memory(server: Gateway, views: Sequence[str], loads: int, every: int) -> list[dict[str, Any]]:
    """The server's resident memory after so many loads in a browser, once pages that were left are forgotten."""
    rows: list[dict[str, Any]] = []

    async def note(count: int, page: Page) -> None:
        await page.goto("about:blank")
        await asyncio.sleep(FORGOTTEN_SECONDS)
        rows.append({"loads": count, "memory_mb": round(server.memory_mb(), 1)})

    async with browsers(1) as (browser,):
        page = await page_in(browser)
        await note(0, page)
        for address in views:
            await shown_ms(page, address)
        await note(len(views), page)
        for count in range(len(views) + 1, loads + 1):
            await shown_ms(page, views[count % len(views)])
            if count % every == 0:
                await note(count, page)
    return rows
