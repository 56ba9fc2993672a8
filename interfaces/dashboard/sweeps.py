"""Sweeps: which there are, one of them, two beside each other, and starting one."""

from typing import Any

from markupsafe import Markup

from interfaces.dashboard.figures import badge, count, duration, moment
from interfaces.dashboard.forms import hidden_field
from interfaces.dashboard.page import HOME, Drawn, Page, View
from interfaces.dashboard.states import empty
from interfaces.dashboard.sweep import draw_sweep
from interfaces.dashboard.sweep_comparison import draw_comparison
from interfaces.dashboard.sweep_source import offered
from interfaces.dashboard.tables import link, paging, table
from projections.paging import Paging

ROWS = 25
COLUMNS = ("Started", "Status", "Data", "Method", "K tried", "K chosen", "Took", "Compare")
NUMBERS = (5, 6)
LEAD = "Texts clustered for every number of clusters K, with one of them chosen by a rule that is recorded."


async def draw(page: Page) -> Drawn:
    """What the address names: a sweep, two of them, the form, or the list."""
    one, other = page.text("sweep"), page.text("other")
    if one and other:
        return await draw_comparison(page, one, other)
    if one:
        return await draw_sweep(page, one)
    if page.text("start"):
        return await _start(page)
    return await _list(page)


async def _list(page: Page) -> Drawn:
    cursor = page.text("cursor")
    found = await page.study.sweeps.list(page.moment, Paging(ROWS, cursor))
    start = _way_to_start(page)
    if not found["items"]:
        return Drawn("Sweeps", (empty("There is no sweep yet.", start or "Somebody who may write can start one."),))
    rows = [_row(page, sweep, number) for number, sweep in enumerate(found["items"])]
    listed = table(COLUMNS, rows, caption="Sweeps, newest first", numbers=NUMBERS)
    listed += paging(page.href() if cursor else None, found["next_cursor"] and page.href(cursor=found["next_cursor"]))
    compare = Markup('<button class="primary">Compare the two</button>') if len(rows) > 1 else Markup("")
    form = Markup('<form method="get" action="{}" aria-label="Two sweeps to compare">{}{}{}<p>{}</p></form>').format(
        HOME, hidden_field("view", "sweeps"), hidden_field("as_of", str(page.moment.as_of or "")), listed, compare
    )
    return Drawn("Sweeps", (Markup("<p>{}</p>").format(start), form), lead=LEAD)


def _way_to_start(page: Page) -> Markup:
    if not page.may_write or page.is_past:
        return Markup("")
    return link(page.href(start="yes"), "Start a sweep", css="primary")


async def _start(page: Page) -> Drawn:
    title = "Start a sweep"
    if not page.may_write:
        return Drawn(title, (empty("Your token may look, but not start a sweep.", "That needs the scope write."),))
    if page.is_past:
        now = link("/dashboard/?view=sweeps&start=yes", "Go back to now")
        return Drawn(title, (empty("You are looking at the past, where nothing can be started.", now),))
    found = await offered(page)
    if not (found.datasets or found.vectors):
        how = Markup("Bring one in with <code>study dataset import FILE.csv --name mine --text-column text</code>.")
        return Drawn(title, (empty("There is no dataset to cluster yet.", how),))
    from interfaces.dashboard.sweep_form import SweepForm

    form = SweepForm(page, found)
    page.when_left(form.progress.end)
    lead = "It runs on the server, also when you leave. Texts that were embedded before are not paid for again."
    return Drawn(title, (form.fields, form.result.part, *form.progress.parts), lead=lead)


def _row(page: Page, sweep: dict[str, Any], number: int) -> list[str | Markup]:
    source, config = sweep["source"] or {}, sweep["config"] or {}
    tried = config.get("k_values") or [step["k"] for step in sweep["steps"]]
    name = sweep["dataset_name"] or "vectors made elsewhere"
    size = Markup(' <span class="note">{} rows</span>').format(count(source.get("n_samples"))) if source else ""
    took = sweep["duration_s"]
    return [
        link(page.href(sweep=sweep["sweep_id"]), moment(sweep["started_at"] or sweep["requested_at"])),
        badge(sweep["status"]),
        Markup("{}{}").format(name, size),
        sweep["method"],
        f"{min(tried)} to {max(tried)}" if tried else "found by the method",
        count(sweep["chosen_k"]),
        duration(None if took is None else took * 1000),
        Markup(
            '<label><input type="radio" name="sweep" value="{0}"{1} aria-label="first: sweep {2}"> first</label> '
            '<label><input type="radio" name="other" value="{0}"{3} aria-label="second: sweep {2}"> second</label>'
        ).format(
            sweep["sweep_id"],
            Markup(" checked") if number == 1 else "",
            f"{name} {sweep['sweep_id'][:8]}",
            Markup(" checked") if number == 0 else "",
        ),
    ]


VIEW = View("sweeps", "Sweeps", "s", draw, is_alive=True)
