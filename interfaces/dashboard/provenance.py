"""Provenance: from any thing to what it came from, and to what was made of it."""

from typing import Any, get_args

from markupsafe import Markup

from domain.provenance import KINDS, WRITTEN
from interfaces.dashboard.documents import FEW, PROVENANCE_AT, USUAL_DEPTH, Direction, depth_in, direction_in
from interfaces.dashboard.figures import count, moment, shortened
from interfaces.dashboard.forms import choice, filters, text_field
from interfaces.dashboard.graphs import GraphEdge, GraphNode, columns_from, graph
from interfaces.dashboard.page import Drawn, Page, View
from interfaces.dashboard.states import empty
from interfaces.dashboard.tables import document, facts, link, section, table
from projections.provenance import LARGEST_DEPTH

LEAD = "What a thing came from, and what was made of it, down to the bytes. Nothing here is inferred: it is recorded."
PAGES = {"call": ("calls", "call"), "sweep": ("sweeps", "sweep"), "group": ("groups", "group")}


async def draw(page: Page) -> Drawn:
    """The thing that the address names with its graph, or the way to name one."""
    kind, thing_id = page.text("kind") or "call", page.text("id")
    if thing_id is None:
        return Drawn("Provenance", (_filters(page), _invitation()), lead=LEAD)
    direction, depth = direction_in(page), depth_in(page)
    found = await page.study.provenance.of(kind, thing_id, page.moment, direction=direction, depth=depth, few=FEW)
    root = found["nodes"][0]
    heading = Markup('<p class="id">{}: {} <code>{}</code></p>').format(root["kind"], root["label"], root["id"])
    partial = Markup('<p class="note">There is more beyond what is shown: go deeper, or on from a thing below.</p>')
    parts = [_filters(page), heading, _graph(page, found), *([] if found["complete"] else [partial])]
    parts += [section("What was found", _table(page, found)), section("This thing", *_facts(page, root))]
    prov = page.way_to(PROVENANCE_AT, kind=kind, id=thing_id, direction=direction, depth=depth)
    parts.append(Markup('<p><a href="{}" download="provenance.json">Download as PROV-JSON</a></p>').format(prov))
    return Drawn("Provenance", tuple(parts), lead=LEAD)


def _filters(page: Page) -> Markup:
    return filters(
        page,
        choice(page, "kind", "Kind", KINDS, usual="call"),
        text_field(page, "id", "Its id", kind="search", hint="paste an id"),
        choice(page, "direction", "Direction", get_args(Direction), usual="both"),
        choice(page, "depth", "Steps", [str(each) for each in range(1, LARGEST_DEPTH + 1)], usual=USUAL_DEPTH),
    )


def _invitation() -> Markup:
    written = facts((kind, WRITTEN.get(kind, "its id")) for kind in KINDS)
    hint = "Paste the id of a call, a sweep, a group …; every view leads here from what it shows, too."
    return empty("Choose a kind and paste an id.", hint) + section("How ids are written", written)


def _key(thing: dict[str, Any]) -> str:
    return f"{thing['kind']}/{thing['id']}"


def _graph(page: Page, found: dict[str, Any]) -> Markup:
    """What a thing came from stands to its left, what was made of it to its right."""
    pairs = [(_key(each["second"]), _key(each["first"]), each) for each in found["edges"]]
    root = _key(found["root"])
    columns = columns_from(root, [(left, right) for left, right, _ in pairs])
    furthest = max(columns.values()) + 1
    nodes = [
        GraphNode(
            _key(node),
            shortened(node["label"] or node["id"], 80),
            node["kind"],
            _way(page, node),
            columns.get(_key(node), furthest),
            is_root=_key(node) == root,
        )
        for node in found["nodes"]
    ]
    edges = [GraphEdge(left, right, _words(each["relation"], each["role"])) for left, right, each in pairs]
    return graph("The graph: sources to the left, results to the right", nodes, edges)


def _way(page: Page, thing: dict[str, Any]) -> str:
    given = {name: page.text(name) for name in ("direction", "depth")}
    return page.href("provenance", kind=thing["kind"], id=thing["id"], **given)


def _table(page: Page, found: dict[str, Any]) -> Markup:
    rows = [
        [
            node["kind"],
            link(_way(page, node), shortened(node["label"], 90) or node["id"]),
            moment(node["at"]),
            _ways_on(page, node),
            _own_page(page, node) if node["found"] else Markup('<span class="note">not recorded here</span>'),
        ]
        for node in found["nodes"]
    ]
    return table(("Kind", "What", "When", "Linked with", "Look"), rows, caption="What was found, the nearest first")


def _ways_on(page: Page, node: dict[str, Any]) -> Markup:
    links = node["links"]
    if links is None:
        return Markup('<span class="note">go on from here to see</span>')
    return Markup("<br>").join(
        Markup('<span class="note">{} {}</span> {}').format(
            "←" if each["direction"] == "up" else "→",
            f"{each['name'].replace('_', ' ')}: {count(each['count'])}{'' if each['counted_all'] else ' or more'}",
            Markup(", ").join(link(_way(page, item), f"{each['to']} {item['id'][-8:]}") for item in each["items"][:2]),
        )
        for each in links
        if each["count"]
    )


def _own_page(page: Page, node: dict[str, Any]) -> str | Markup:
    if node["kind"] not in PAGES:
        return ""
    view, parameter = PAGES[node["kind"]]
    return link(page.href(view, **{parameter: node["id"]}), f"the {node['kind']}")


def _facts(page: Page, root: dict[str, Any]) -> list[Markup]:
    known = [("At", moment(root["at"])), ("By", root["actor"] or "–"), ("Position", str(root["position"] or "–"))]
    own = _own_page(page, root)
    return [facts([*known, ("Look", own)] if own else known), document("All that is recorded of it", root["facts"])]


def _words(relation: str, role: str | None) -> str:
    spoken = "".join(f" {each.lower()}" if each.isupper() else each for each in relation)
    return spoken if role is None else f"{spoken} ({role})"


VIEW = View("provenance", "Provenance", "p", draw)
