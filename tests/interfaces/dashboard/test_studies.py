"""Sweeps, groups and provenance, as people see them and work with them in a browser."""

import json
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

from playwright.sync_api import Page, expect

from tests.interfaces.dashboard.conftest import WAIT_MS, Site, hindrances, opened


def made(site: Site) -> dict[str, Any]:
    """A group of its own."""
    return site.posted("/api/groups", group_type="run", name=uuid4().hex[:8])


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


def test_vectors_made_elsewhere_are_swept_with_the_texts_that_came_with_them(page: Page, site: Site) -> None:
    rows = [[1.0, 0.1 * number, 0.0] for number in range(6)] + [[0.0, 0.1 * number, 1.0] for number in range(6)]
    texts, labels = [f"text {number}" for number in range(12)], ["left"] * 6 + ["right"] * 6
    options: dict[str, Any] = {"k_min": 2, "k_max": 2, "restarts": 1, "pca_dim": 0}
    asked = site.posted("/api/sweeps", vectors=rows, texts=texts, labels=labels, **options)
    with site.api() as api:
        kept = api.get("/api/artifacts", params={"artifact_type": "vectors", "at_least": asked["position"]}).json()[
            "items"
        ][0]
    opened(page, "sweeps", start="yes")
    source = page.get_by_label("What to cluster")
    source.select_option(f"vectors, 12 × 3 ({kept['name'][:8]})")
    expect(page.get_by_label("Who embeds")).to_be_hidden()
    expect(page.get_by_label("Texts of the vectors")).to_have_value(re.compile("^texts of vectors "))
    page.get_by_label("Largest K").fill("2")
    page.get_by_text("Restarts, seed and principal components").click()
    page.get_by_label("Restarts").fill("1")
    page.get_by_label("Principal components").fill("0")
    page.get_by_role("button", name="Start the sweep").click()
    expect(page.get_by_role("link", name=f"Sweep {asked['sweep_id']}")).to_be_visible()  # the same: it is found again


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
    call, other = site.ask("In a group", provider="local"), made(site)
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
    page.get_by_role("link", name="These calls with all filters").click()
    expect(page.get_by_role("region", name="Calls, newest first").get_by_role("row")).to_have_count(2)
    page.go_back()
    page.get_by_role("link", name=f"run: {other['name']}").click()
    expect(page.get_by_role("heading", name=f"run / {other['name']}")).to_be_visible()
    expect(page.get_by_role("region", name="The links of this group")).to_contain_text("from the page")


def test_a_form_that_can_not_be_done_says_why_and_keeps_what_was_written(page: Page, site: Site) -> None:
    opened(page, "groups", group=made(site)["group_id"])
    page.get_by_text("Add calls", exact=True).click()
    page.get_by_label("Ids of calls", exact=True).fill("no id")
    page.get_by_role("button", name="Add the calls").click()
    expect(page.get_by_role("alert").filter(has_text="is no id")).to_be_visible()
    expect(page.get_by_label("Ids of calls", exact=True)).to_have_value("no id")
    site.complaints.clear()  # the browser complains of the 404 that this is


def test_provenance_is_walked_from_a_pasted_id(page: Page, site: Site, sweep: dict[str, Any]) -> None:
    opened(page, "provenance")
    page.get_by_label("Kind").select_option("sweep")
    page.get_by_label("Its id").fill(sweep["sweep_id"])
    page.get_by_label("Its id").press("Enter")
    expect(page).to_have_url(re.compile(f"kind=sweep&id={sweep['sweep_id']}"))
    picture = page.get_by_role("region", name="The graph")
    picture.get_by_role("link", name=re.compile("^dataset: ")).click()
    expect(page).to_have_url(re.compile("kind=dataset"))
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as PROV-JSON").click()
    assert "entity" in json.loads(Path(download.value.path()).read_text())


def test_whoever_can_not_see_well_can_use_these_views(page: Page, site: Site, sweep: dict[str, Any]) -> None:
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
        assert hindrances(page) == []
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.locator("html").evaluate("each => each.scrollWidth") <= 390, view
        page.set_viewport_size({"width": 1280, "height": 900})
