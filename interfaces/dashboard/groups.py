"""Groups: which there are, and making one."""

from typing import Any

from markupsafe import Markup

from interfaces.dashboard.figures import moment, shortened
from interfaces.dashboard.forms import filters, text_field
from interfaces.dashboard.group import draw_group
from interfaces.dashboard.group_forms import act, create_form
from interfaces.dashboard.page import Drawn, Page, View
from interfaces.dashboard.states import empty
from interfaces.dashboard.tables import link, paging, table
from projections.paging import Paging

ROWS = 50
TYPES = ("batch", "dataset", "embedding_batch", "experiment", "run", "step", "summarization_batch")
FILTERS = ("type", "name")
COLUMNS = ("Type", "Name", "Description", "Made", "By")
LEAD = "Calls that belong together, and how such groups hang together. A type and a name together name one group."


async def draw(page: Page) -> Drawn:
    """One group if the address names it, else those that pass the filters, newest first."""
    group = page.text("group")
    if group is not None:
        return await draw_group(page, group)
    chosen, cursor = {name: page.text(name) for name in FILTERS}, page.text("cursor")
    found = await page.study.groups.list(
        page.moment, Paging(ROWS, cursor), group_type=chosen["type"], name=chosen["name"]
    )
    if found["items"]:
        following = found["next_cursor"] and page.href(**chosen, cursor=found["next_cursor"])
        listed = table(COLUMNS, [_row(page, each) for each in found["items"]], caption="Groups, newest first")
        listed += paging(page.href(**chosen) if cursor else None, following)
    elif any(chosen.values()):
        listed = empty("No group has this type and name.", link(page.href(), "Take the filters back"))
    else:
        listed = empty("There is no group yet.", "Sweeps, batches and embedded datasets make some by themselves.")
    return Drawn("Groups", (_filters(page), _form(page), listed), lead=LEAD)


def _filters(page: Page) -> Markup:
    return filters(
        page,
        text_field(page, "type", "Type", offers=TYPES),
        text_field(page, "name", "Name", hint="all of it", kind="search"),
    )


def _form(page: Page) -> Markup:
    return create_form(page) if page.may_write and not page.is_past else Markup("")


def _row(page: Page, group: dict[str, Any]) -> list[str | Markup]:
    return [
        link(page.href(type=group["group_type"]), group["group_type"]),
        link(page.href(group=group["group_id"]), shortened(group["name"], 80)),
        shortened(group["description"], 80),
        moment(group["created_at"]),
        shortened(group["actor"], 30),
    ]


VIEW = View("groups", "Groups", "r", draw, act=act)
