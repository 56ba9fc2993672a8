"""Where something came from, as a tree of nested lists."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from study_query_llm.notebook.elements import aside, clipped, framed, heading

MOST_NODES = 200
LABEL_CHARACTERS = 160
Place = tuple[str, str]


def lineage_page(walk: Mapping[str, Any]) -> str:
    """Each thing under what it is linked with; one that stands there already is only named again."""
    root = walk["root"]
    tree = _Tree(walk)
    grown = tree.branch(root, "")
    more = "" if walk["complete"] and not tree.cut else "Not everything is shown"
    title = heading(f"Provenance of {root['kind']} {root['id']}")
    return framed(title, Markup("<ul>{}</ul>").format(grown), aside([more]) if more else "")


class _Tree:
    def __init__(self, walk: Mapping[str, Any]) -> None:
        self.nodes: dict[Place, Mapping[str, Any]] = {(node["kind"], node["id"]): node for node in walk["nodes"]}
        self.shown: set[Place] = set()
        self.cut = False

    def branch(self, reference: Mapping[str, Any], relation: str) -> Markup:
        """A thing as an item of a list, and what it is linked with under it."""
        place = (reference["kind"], reference["id"])
        node = self.nodes.get(place)
        seen, self.cut = place in self.shown, self.cut or len(self.shown) >= MOST_NODES
        label = "" if node is None else clipped(str(node["label"]), LABEL_CHARACTERS)
        line = Markup("<span style='opacity:.75'>{} </span><b>{}</b> {}").format(relation, reference["kind"], label)
        if seen or node is None or self.cut:
            return Markup("<li>{}{}</li>").format(line, " (see above)" if seen else " …")
        self.shown.add(place)
        under = Markup("").join(
            self.branch(item, link["relation"]) for link in node["links"] or () for item in link["items"]
        )
        return Markup("<li>{}{}</li>").format(line, Markup("<ul>{}</ul>").format(under) if under else "")
