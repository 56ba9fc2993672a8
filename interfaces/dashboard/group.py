"""One group: what it holds, what it is linked with, and what can be done with it."""

import asyncio
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from interfaces.dashboard.figures import count, moment, shortened
from interfaces.dashboard.graphs import GraphEdge, GraphNode, graph
from interfaces.dashboard.group_forms import group_forms
from interfaces.dashboard.page import Drawn, Page
from interfaces.dashboard.states import empty
from interfaces.dashboard.tables import document, facts, link, paging, section, table
from projections.paging import Paging

ROWS = 50
LINKS_AT_ONCE = 200

Links = Sequence[dict[str, Any]]


async def draw_group(page: Page, named: str) -> Drawn:
    """The page of a group, named by its id or as TYPE/NAME. Raises NotFound, Rejected."""
    group = await page.study.groups.get(named, page.moment)
    group_id, cursor = group["group_id"], page.text("cursor")
    members, children, parents = await asyncio.gather(
        page.study.groups.members(group_id, page.moment, Paging(ROWS, cursor)),
        page.study.groups.children(group_id, page.moment, Paging(LINKS_AT_ONCE)),
        page.study.groups.parents(group_id, page.moment, Paging(LINKS_AT_ONCE)),
    )
    listed = _members(page, members["items"])
    following = members["next_cursor"] and page.href(group=group_id, cursor=members["next_cursor"])
    listed += paging(page.href(group=group_id) if cursor else None, following)
    written = f"{group['group_type']}/{group['name']}"
    every_call = Markup("<p>{}</p>").format(link(page.href("calls", group=written), "These calls with all filters →"))
    more = bool(children["next_cursor"] or parents["next_cursor"])
    return Drawn(
        f"{group['group_type']} / {shortened(group['name'], 80)}",
        (
            Markup('<p class="id"><code>{}</code> · {}</p>').format(group_id, link(page.href(), "all groups")),
            Markup("<p>{}</p>").format(group["description"]) if group["description"] else Markup(""),
            facts(_figures(page, group)),
            _forms(page, group),
            section("Calls in it", listed, every_call if members["items"] else ""),
            section("Linked groups", *_links(page, group, parents["items"], children["items"], more=more)),
            *([document("Metadata", group["metadata"])] if group["metadata"] else []),
        ),
    )


def _figures(page: Page, group: dict[str, Any]) -> list[tuple[str, str | Markup]]:
    group_id = group["group_id"]
    return [
        ("Calls", count(group["member_count"])),
        ("Made", moment(group["created_at"])),
        ("By", shortened(group["actor"], 40)),
        ("History", link(page.href("events", entity=group_id, after=0), "Its events")),
        ("Provenance", link(page.href("provenance", kind="group", id=group_id), "Its graph")),
    ]


def _forms(page: Page, group: dict[str, Any]) -> Markup:
    return group_forms(page, group) if page.may_write and not page.is_past else Markup("")


def _members(page: Page, members: Links) -> Markup:
    rows = [
        [
            link(page.href("calls", call=each["call_id"]), Markup("<code>{}</code>").format(each["call_id"])),
            each["role"] or "–",
            count(each["position"]),
            moment(each["added_at"]),
        ]
        for each in members
    ]
    if not rows:
        return empty("No call is in this group.", "Calls join when they are asked with it, or by their ids above.")
    return table(("Call", "Role", "Position", "Added"), rows, caption="Calls in their order", numbers=(2,))


def _links(page: Page, group: dict[str, Any], parents: Links, children: Links, *, more: bool) -> tuple[Markup, ...]:
    if not parents and not children:
        return (Markup("<p>It is linked with no other group.</p>"),)
    here = group["group_id"]
    others = [(-1, each) for each in parents] + [(1, each) for each in children]
    nodes = [GraphNode(here, group["name"], group["group_type"], page.href(group=here), 0, is_root=True)]
    edges = []
    for side, each in others:
        key = f"{side}/{each['group_id']}"
        if all(node.key != key for node in nodes):
            address = page.href(group=each["group_id"])
            nodes.append(GraphNode(key, each["name"], each["group_type"], address, side))
        first, second = (here, key) if side == 1 else (key, here)
        edges.append(GraphEdge(first, second, _words(each["link_type"])))
    rows = [
        [
            "this group" if side == 1 else _named(page, each),
            _words(each["link_type"]),
            _named(page, each) if side == 1 else "this group",
            count(each["position"]),
        ]
        for side, each in others
    ]
    beyond = Markup('<p class="note">Of each direction the first {} are shown.</p>').format(LINKS_AT_ONCE)
    return (
        graph("The groups: those that link to this one to the left, those it links to the right", nodes, edges),
        table(("From", "Link", "To", "Position"), rows, caption="The links of this group", numbers=(3,)),
        *([beyond] if more else []),
    )


def _named(page: Page, each: dict[str, Any]) -> Markup:
    return link(page.href(group=each["group_id"]), f"{each['group_type']} / {shortened(each['name'], 70)}")


def _words(link_type: str) -> str:
    return {"step": "has the step"}.get(link_type, link_type.replace("_", " "))
