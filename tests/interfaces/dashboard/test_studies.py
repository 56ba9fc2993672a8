"""Sweeps, groups and provenance, as people see them and work with them in a browser."""

import csv
import re
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.interfaces.dashboard.conftest import WAIT_MS, Site, opened

TEXTS = Path(__file__).parents[3] / "interfaces" / "cli" / "quickstart_texts.csv"
GRAVE = ("serious", "critical")


@pytest.fixture(scope="module")
def dataset(site: Site) -> str:
    """The quickstart's texts with their topics, every fourth of them."""
    with TEXTS.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[::4]
    asked = {"name": "quickstart", "rows": rows, "text_column": "text", "label_column": "topic"}
    answer = httpx.post(f"{site.address}/api/datasets", json=asked, timeout=60)
    assert answer.status_code in (200, 201), answer.text
    return "quickstart"


@pytest.fixture(scope="module")
def sweep(site: Site, dataset: str) -> dict[str, Any]:
    """A finished sweep of them."""
    asked = {"dataset": dataset, "provider": "local", "k_min": 2, "k_max": 4, "restarts": 2}
    sweep_id = httpx.post(f"{site.address}/api/sweeps", json=asked, timeout=60).json()["sweep_id"]
    deadline = (
        time.monotonic() + 5 * WAIT_MS / 1000
    )  # its kernels are compiled first, on a machine that does other work
    while True:
        found: dict[str, Any] = httpx.get(f"{site.address}/api/sweeps/{sweep_id}", timeout=60).json()
        if found.get("status") == "finished":
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.3)


def made(site: Site, group_type: str) -> dict[str, Any]:
    asked = {"group_type": group_type, "name": uuid4().hex[:8]}
    group: dict[str, Any] = httpx.post(f"{site.address}/api/groups", json=asked, timeout=60).json()
    return group


def test_a_sweep_is_started_from_the_page_and_watched_to_its_end(page: Page, site: Site, dataset: str) -> None:
    opened(page, "sweeps", start="yes")
    page.get_by_label("Who embeds").select_option("local")
    page.get_by_label("Method", exact=True).select_option("k-subspaces")
    expect(page.get_by_label("rank")).to_have_value("2")
    page.get_by_label("Largest K").fill("3")
    page.get_by_role("button", name="Start the sweep").click()
    progress = page.get_by_role("region", name="Progress")
    expect(progress).to_contain_text("It is finished. 2 of 2 values of K are done.", timeout=3 * WAIT_MS)
    progress.get_by_role("link", name="See what came of it").click()
    expect(page.get_by_role("heading", name="Sweep of quickstart")).to_be_visible()
    expect(page.get_by_role("heading", name=re.compile("^Why K = "))).to_be_visible()


def test_what_a_form_can_not_mean_is_said_before_anything_begins(page: Page, site: Site, dataset: str) -> None:
    opened(page, "sweeps", start="yes")
    page.get_by_label("Largest K").fill("many")
    page.get_by_role("button", name="Start the sweep").click()
    expect(page.get_by_role("alert").filter(has_text="is no whole number")).to_be_visible()
    page.get_by_label("Largest K").fill("1")
    page.get_by_role("button", name="Start the sweep").click()
    expect(page.get_by_role("alert").filter(has_text="K runs from at least 1 upwards")).to_be_visible()


def test_another_k_moves_the_clusters_and_has_an_address(page: Page, site: Site, sweep: dict[str, Any]) -> None:
    opened(page, "sweeps", sweep=sweep["sweep_id"], k=2)
    expect(page.get_by_role("heading", name="Clusters for K = 2")).to_be_visible()
    page.get_by_role("button", name="More →").click()
    expect(page.get_by_role("heading", name="Clusters for K = 3")).to_be_visible()
    table = page.get_by_role("region", name="Clusters for K = 3")
    expect(table.get_by_role("row")).to_have_count(4)
    expect(page.get_by_role("heading", name="Agreement with labels")).to_be_visible()
    page.get_by_role("link", name="The address of K = 3").click()
    expect(page).to_have_url(re.compile("k=3"))
    expect(page.get_by_role("heading", name="Clusters for K = 3")).to_be_visible()
    page.get_by_role("link", name="provenance of 0").click()
    expect(page.get_by_role("heading", name="Provenance", exact=True)).to_be_visible()
    expect(page.get_by_role("region", name="What was found")).to_contain_text("artifact")


def test_two_sweeps_are_compared(page: Page, site: Site, sweep: dict[str, Any]) -> None:
    opened(page, "sweeps", sweep=sweep["sweep_id"], other=sweep["sweep_id"])
    expect(page.get_by_text("Nothing differed.")).to_be_visible()
    expect(page.get_by_text("1.000").first).to_be_visible()


def test_before_it_was_asked_for_a_sweep_is_not_there_and_none_can_be_started(
    page: Page, site: Site, sweep: dict[str, Any]
) -> None:
    opened(page, "sweeps", as_of=sweep["position"])
    expect(page.get_by_role("link", name="Start a sweep")).to_have_count(0)
    site.complaints.clear()
    page.goto(f"/dashboard/?view=sweeps&sweep={sweep['sweep_id']}&as_of=1")
    expect(page.get_by_role("alert").first).to_contain_text("There is no sweep")
    site.complaints.clear()  # the browser complains of the 404 that this is
    opened(page, "sweeps", start="yes", as_of=sweep["position"])
    expect(page.get_by_text("where nothing can be started")).to_be_visible()


def test_a_group_is_made_filled_and_linked(page: Page, site: Site) -> None:
    call, other = site.ask("In a group", provider="local"), made(site, "run")
    opened(page, "groups")
    page.get_by_text("New group").click()
    page.get_by_label("Type", exact=True).last.fill("experiment")
    page.get_by_label("Name", exact=True).last.fill("from the page")
    page.get_by_role("button", name="Create the group").click()
    page.get_by_role("link", name="experiment / from the page").click()
    expect(page.get_by_text("No call is in this group.")).to_be_visible()
    page.get_by_text("Add calls", exact=True).click()
    page.get_by_label("Ids of calls", exact=True).fill(str(call["call_id"]))
    page.get_by_label("Role", exact=True).fill("output")
    page.get_by_role("button", name="Add the calls").click()
    expect(page.get_by_role("status").filter(has_text="The group holds 1 calls now")).to_be_visible()
    page.get_by_text("Link with another group").click()
    page.get_by_label("Other group").fill(f"run/{other['name']}")
    page.get_by_role("button", name="Link", exact=True).click()
    expect(page.get_by_role("status").filter(has_text="Linked.")).to_be_visible()
    page.get_by_role("link", name="Show the group as it is now").click()
    expect(page.get_by_role("region", name="Calls in their order").get_by_role("row")).to_have_count(2)
    page.get_by_role("link", name=f"run: {other['name']}").click()
    expect(page.get_by_role("heading", name=f"run / {other['name']}")).to_be_visible()
    expect(page.get_by_role("region", name="The links of this group")).to_contain_text("from the page")


def test_provenance_is_walked_from_a_pasted_id(page: Page, site: Site, sweep: dict[str, Any]) -> None:
    opened(page, "provenance")
    page.get_by_label("Kind").select_option("sweep")
    page.get_by_label("Its id").fill(sweep["sweep_id"])
    page.get_by_label("Its id").press("Enter")
    expect(page).to_have_url(re.compile(f"kind=sweep&id={sweep['sweep_id']}"))
    picture = page.get_by_role("region", name="The graph")
    picture.get_by_role("link", name=re.compile("^dataset: ")).click()
    expect(page).to_have_url(re.compile("kind=dataset"))
    document = httpx.get(
        site.address + str(page.get_by_role("link", name="Download").get_attribute("href")), timeout=60
    )
    assert "entity" in document.json()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_whoever_can_not_see_well_can_use_these_views(
    page: Page, site: Site, sweep: dict[str, Any], theme: str
) -> None:
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light", reduced_motion="reduce")
    sweep_id, group = sweep["sweep_id"], sweep["run_group_id"]
    places: list[tuple[str, dict[str, object]]] = [
        ("sweeps", {}),
        ("sweeps", {"start": "yes"}),
        ("sweeps", {"sweep": sweep_id}),
        ("groups", {"group": group}),
        ("provenance", {"kind": "sweep", "id": sweep_id}),
    ]
    for view, parameters in places:
        opened(page, view, **parameters)
        found = Axe().run(page).response["violations"]
        grave = [
            (view, each["id"], [node["html"][:200] for node in each["nodes"]])
            for each in found
            if each["impact"] in GRAVE
        ]
        assert grave == []
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.locator("html").evaluate("each => each.scrollWidth") <= 390, view
        page.set_viewport_size({"width": 1280, "height": 900})
