"""What people see and do in a browser."""

import re
import time

from playwright.sync_api import Page, Route, expect

from domain.groups import group_id_of
from tests.interfaces.dashboard.conftest import Site, hindrances, opened

EVERY_VIEW = ("ask", "calls", "analytics", "events", "health")


def ask(page: Page, prompt: str, **fields: str) -> None:
    page.get_by_label("Prompt").fill(prompt)
    for label, value in fields.items():
        page.get_by_label(label, exact=True).fill(value)
    page.get_by_role("button", name="Ask", exact=True).click()


def test_an_answer_is_shown_with_what_it_cost_and_leads_to_its_call(page: Page, site: Site) -> None:
    opened(page, "ask", provider="openai")
    ask(page, "Name three primes")
    answer = page.get_by_role("region", name="Answer")
    expect(answer).to_contain_text("echo: Name three primes")
    for told in ("tiny", "Latency", "3 in, 4 out", "Cost", "Attempts"):
        expect(answer).to_contain_text(told)
    answer.get_by_role("link", name="Everything that is recorded").click()
    expect(page).to_have_url(re.compile(r"view=calls&call=[0-9a-f-]{36}$"))
    expect(page.get_by_role("heading", name="Call", exact=True)).to_be_visible()
    page.get_by_text("Raw response").click()
    expect(page.get_by_text('"surprise"').or_(page.get_by_text('"choices"'))).to_be_visible()
    page.go_back()
    expect(page.get_by_label("Prompt")).to_be_visible()


def test_a_failure_is_shown_with_each_of_its_attempts(page: Page, site: Site) -> None:
    opened(page, "ask", provider="openai", group="batch/failing")
    ask(page, "Fail me: rate_limited bad_request")
    failure = page.get_by_role("region", name="Failure")
    expect(failure.get_by_role("alert")).to_contain_text("That makes no sense")
    expect(failure.get_by_role("row")).to_have_count(3)
    expect(failure).to_contain_text("Slow down")
    opened(page, "calls", status="failed", group="batch/failing")
    expect(page.get_by_role("row")).to_have_count(2)
    page.locator("td a").first.click()
    expect(page.get_by_role("heading", name="What went wrong")).to_be_visible()
    expect(page.get_by_text("Slow down")).to_be_visible()


def test_what_is_written_wrong_is_said_before_anything_is_asked(page: Page, site: Site) -> None:
    opened(page, "ask")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_role("alert").filter(has_text="Write a prompt first")).to_be_visible()
    page.get_by_text("Parameters, template and group").click()
    ask(page, "hello", Group="primes")
    expect(page.get_by_role("alert").filter(has_text="TYPE/NAME")).to_be_visible()


def test_samples_are_shown_side_by_side_in_the_group_that_they_join(page: Page, site: Site) -> None:
    opened(page, "ask", provider="openai", group="batch/sampled")
    page.get_by_text("Parameters, template and group").click()
    page.get_by_label("Role in the group").fill("sample")
    page.get_by_label("Samples").fill("3")
    ask(page, "Sample me")
    expect(page.get_by_role("article")).to_have_count(3)
    expect(page.get_by_role("article").nth(2)).to_contain_text("echo: Sample me")
    opened(page, "calls", group="batch/sampled")
    expect(page.get_by_role("row")).to_have_count(4)


def test_an_answer_can_be_stopped_and_is_recorded_as_cancelled(page: Page, site: Site) -> None:
    opened(page, "ask", provider="openai", group="batch/stopped")
    ask(page, "Never mind: hang")
    site.has_been_asked("Never mind")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("status").filter(has_text="recorded as cancelled")).to_be_visible()
    expect(page.get_by_role("button", name="Ask", exact=True)).to_be_enabled()
    site.lists(status="cancelled", group_id=str(group_id_of("batch", "stopped")))
    opened(page, "calls", status="cancelled", group="batch/stopped")
    expect(page.get_by_role("row")).to_have_count(2)


def test_the_past_is_seen_as_it_stood_until_one_goes_back_to_now(page: Page, site: Site) -> None:
    before = site.ask("The first of twain", provider="local")["position"]
    site.finds_what_was_said(site.ask("The second of twain", provider="local")["position"])
    opened(page, "calls", q="twain")
    expect(page.get_by_role("row")).to_have_count(3)
    page.get_by_label("As of").fill(str(before))
    page.get_by_label("As of").press("Enter")
    expect(page.get_by_role("status").filter(has_text="looking at the past")).to_be_visible()
    expect(page.get_by_role("row")).to_have_count(2)
    page.get_by_role("link", name="Health").click()
    expect(page).to_have_url(re.compile(f"as_of={before}"))
    page.get_by_role("link", name="Ask", exact=True).click()
    expect(page.get_by_text("where nothing can be asked")).to_be_visible()
    page.get_by_role("link", name="Back to now", exact=True).click()
    expect(page.get_by_label("Prompt")).to_be_visible()


def test_long_lists_are_read_page_by_page_by_links(page: Page, site: Site) -> None:
    answers = site.ask("Many of these", provider="local", n=60, seed=1)["items"]
    site.finds_what_was_said(max(each["position"] for each in answers))
    opened(page, "calls", provider="local", q="many")
    expect(page.locator("tbody tr")).to_have_count(50)
    page.get_by_role("link", name="Next page").click()
    expect(page.locator("tbody tr")).to_have_count(10)
    page.go_back()
    expect(page.locator("tbody tr")).to_have_count(50)


def test_new_events_appear_while_one_looks(page: Page, site: Site) -> None:
    opened(page, "events")
    answered = site.ask("Seen at once", provider="local")
    expect(page.get_by_role("row").nth(1)).to_contain_text(f"{answered['position']}")
    expect(page.get_by_role("row").nth(1)).to_contain_text("call.answered")


def test_a_page_says_that_it_is_alive_once_all_of_it_is_drawn_and_styled(page: Page, site: Site) -> None:
    def late(route: Route) -> None:
        time.sleep(1.0)
        route.continue_()

    page.route("**/*.css", late)
    opened(page, "ask")
    hidden = page.get_by_text("Parameters, template and group").evaluate("each => getComputedStyle(each).visibility")
    primary = page.get_by_role("button", name="Ask", exact=True)
    colours = [primary.evaluate(f"each => getComputedStyle(each).{name}") for name in ("color", "backgroundColor")]
    assert (hidden, colours) == ("visible", ["rgb(255, 255, 255)", "rgb(11, 92, 107)"])


def test_all_is_reached_by_the_keyboard(page: Page, site: Site) -> None:
    opened(page, "health")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Keyboard shortcuts")
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("c")
    expect(page.get_by_role("heading", name="Calls")).to_be_visible()
    page.keyboard.press("/")
    expect(page.get_by_label("Words in prompt or answer")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("t")
    expect(page.get_by_label("As of")).to_be_focused()


def test_light_and_dark_follow_the_machine_and_the_switch_is_remembered(page: Page, site: Site) -> None:
    page.emulate_media(color_scheme="dark")
    opened(page, "health")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.get_by_role("button", name="Light or dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")


def test_whoever_can_not_see_well_can_use_every_view(page: Page, site: Site) -> None:
    call = site.ask("Look at me", provider="openai")
    then = {"call": call["call_id"], "as_of": call["position"]}
    for view, parameters in [*((view, {}) for view in EVERY_VIEW), ("calls", then)]:
        opened(page, view, **parameters)
        if view == "ask":
            page.get_by_text("Parameters, template and group").click()
        assert hindrances(page) == []


def test_every_view_fits_a_narrow_screen(page: Page, site: Site) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    for view in EVERY_VIEW:
        opened(page, view)
        assert page.locator("html").evaluate("each => each.scrollWidth") <= 390, view
