"""A small graph as SVG: columns of things, with lines between them, and each thing a way to its own page."""

from collections import defaultdict
from collections.abc import Sequence

from markupsafe import Markup
from msgspec import Struct

from interfaces.dashboard.figures import shortened

WIDTH, HEIGHT, GAP_X, GAP_Y, EDGE = 176, 44, 72, 14, 12
MOST_NODES = 80
MOST_CHARACTERS = 20


class GraphNode(Struct, frozen=True):
    """A thing: how it is called, what it is, where it is looked at, and in which column it stands, any whole number."""

    key: str
    name: str
    kind: str
    address: str
    column: int
    is_root: bool = False


class GraphEdge(Struct, frozen=True):
    """What leads from one thing to another, by their keys."""

    first: str
    second: str
    name: str


def graph(title: str, nodes: Sequence[GraphNode], edges: Sequence[GraphEdge]) -> Markup:
    """The picture, which scrolls where it is wide; of more than 80 things the first ones. A table must say the same."""
    shown = nodes[:MOST_NODES]
    places = _places(shown)
    lines = [each for each in edges if each.first in places and each.second in places]
    width = max((x for x, _ in places.values()), default=0) + WIDTH + EDGE
    height = max((y for _, y in places.values()), default=0) + HEIGHT + EDGE
    drawn = Markup("").join(_line(each, places) for each in lines) + Markup("").join(
        _box(each, places[each.key]) for each in shown
    )
    more = len(nodes) - len(shown)
    rest = Markup('<p class="note">{} more are in the table below.</p>').format(f"{more:,}") if more else Markup("")
    return Markup(
        '<div class="scrolls" tabindex="0" role="region" aria-label="{0}" style="overflow-x: auto">'
        '<svg role="group" aria-label="{0}" viewBox="0 0 {1} {2}" width="{1}" height="{2}" '
        'style="display: block; margin: 0 auto; min-width: {1}px">{3}</svg></div>{4}'
    ).format(title, width, height, drawn, rest)


def _places(nodes: Sequence[GraphNode]) -> dict[str, tuple[float, float]]:
    """The upper left corner of each: columns from left to right, each in the middle of the height."""
    columns: dict[int, list[str]] = defaultdict(list)
    for each in nodes:
        columns[each.column].append(each.key)
    tallest = max(map(len, columns.values()), default=0)
    places: dict[str, tuple[float, float]] = {}
    for at, number in enumerate(sorted(columns)):
        free = (tallest - len(columns[number])) * (HEIGHT + GAP_Y) / 2
        for row, key in enumerate(columns[number]):
            places[key] = (EDGE + at * (WIDTH + GAP_X), EDGE + free + row * (HEIGHT + GAP_Y))
    return places


def _line(edge: GraphEdge, places: dict[str, tuple[float, float]]) -> Markup:
    (x1, y1), (x2, y2) = places[edge.first], places[edge.second]
    if x1 == x2:  # beside each other in one column: around the right side
        path = f"M {x1 + WIDTH} {y1 + HEIGHT / 2} q 34 {(y2 - y1) / 2} 0 {y2 - y1}"
    else:
        (left, top), (right, bottom) = sorted(((x1, y1), (x2, y2)))
        start, end, half = left + WIDTH, right, (right - left - WIDTH) / 2
        path = (
            f"M {start} {top + HEIGHT / 2} C {start + half} {top + HEIGHT / 2} "
            f"{end - half} {bottom + HEIGHT / 2} {end} {bottom + HEIGHT / 2}"
        )
    return Markup(
        '<path d="{}" fill="none" style="stroke: var(--quiet); stroke-width: 1.2; opacity: .6"><title>{}</title></path>'
    ).format(path, edge.name)


def _box(node: GraphNode, place: tuple[float, float]) -> Markup:
    x, y = place
    root = Markup(' data-root="yes"') if node.is_root else ""
    look = ("accent-faint", "accent", "2") if node.is_root else ("sheet", "line", "1")
    return Markup(
        '<a href="{}"{} aria-label="{}: {}"><title>{}: {}</title>'
        '<rect x="{}" y="{}" width="{}" height="{}" rx="7" '
        'style="fill: var(--{}); stroke: var(--{}); stroke-width: {}"/>'
        '<text x="{}" y="{}" style="fill: var(--quiet); font: 11px var(--text)">{}</text>'
        '<text x="{}" y="{}" style="fill: var(--ink); font: 13px var(--text)">{}</text></a>'
    ).format(
        node.address, root, node.kind, node.name, node.kind, node.name, x, y, WIDTH, HEIGHT, *look,
        x + 10, y + 17, shortened(node.kind, 26), x + 10, y + 34, _in_a_box(node.name),
    )  # fmt: skip


def _in_a_box(name: str) -> str:
    """As much of a name as there is room for: its beginning and its end, since many differ there."""
    line = " ".join(name.split())
    return line if len(line) <= MOST_CHARACTERS else f"{line[:9]}…{line[9 - MOST_CHARACTERS + 1 :]}"


def columns_from(root: str, edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """How many lines away from a root each thing is: against the lines to the left, along them to the right.

    edges: (left, right) keys; what no line joins to the root stands beyond all else
    """
    columns = {root: 0}
    for step in (1, -1):
        reached, distance = {root}, 0
        while reached:
            distance += step
            pairs = edges if step == 1 else [(right, left) for left, right in edges]
            reached = {right for left, right in pairs if left in reached and right not in columns}
            columns |= dict.fromkeys(reached, distance)
    return columns
