"""Two sweeps beside each other: what differed, and how far they agree."""

import json
from typing import Any

from markupsafe import Markup

from interfaces.dashboard.figures import UNKNOWN, count, shortened
from interfaces.dashboard.page import Drawn, Page
from interfaces.dashboard.tables import cards, document, link, section, table

MEASURES = (
    ("silhouette", "Silhouette"),
    ("stability_ari_mean", "Stability"),
    ("objective", "Objective"),
    ("ari", "ARI with labels"),
)


async def draw_comparison(page: Page, first: str, second: str) -> Drawn:
    """What differed between two sweeps. Raises NotFound."""
    found = await page.study.sweeps.compare(first, second, page.moment)
    one, other = found["first"], found["second"]
    agreement = found["chosen_ari"]
    told = cards(
        [
            ("First", _named(page, one)),
            ("Second", _named(page, other)),
            ("K chosen", Markup("{} and {}").format(count(one["chosen_k"]), count(other["chosen_k"]))),
            ("Agreement of the chosen clusters (ARI)", UNKNOWN if agreement is None else f"{agreement:.3f}"),
        ]
    )
    rows = (
        Markup("")
        if found["same_rows"]
        else Markup("<p>They are not of the same rows, so labels can’t be compared.</p>")
    )
    back = Markup("<p>{}</p>").format(link(page.href(), "← All sweeps"))
    differences = [
        [each["about"], each["field"], _value(each["first"]), _value(each["second"])] for each in found["differences"]
    ]
    listed = (
        table(("About", "What", "First", "Second"), differences, caption="What differed")
        if differences
        else Markup("<p>Nothing differed.</p>")
    )
    equal = document(f"What was equal: {len(found['equal'])} things", found["equal"])
    parts = [back, told, rows, section("What differed", listed, equal)]
    if found["steps"]:
        parts.append(section("K by K", _steps(found["steps"])))
    return Drawn("Two sweeps", tuple(parts))


def _named(page: Page, sweep: dict[str, Any]) -> Markup:
    return Markup('{}<span class="note">{}, {}</span>').format(
        link(page.href(sweep=sweep["sweep_id"]), sweep["dataset_name"] or "vectors"),
        sweep["method"],
        sweep["sweep_id"][:8],
    )


def _steps(steps: list[dict[str, Any]]) -> Markup:
    rows = [
        [
            str(step["k"]),
            _labels(step),
            _figure(step["ari"]),
            *(_pair(step["differ"].get(name), both=step["in_first"] and step["in_second"]) for name, _ in MEASURES),
        ]
        for step in steps
    ]
    columns = ("K", "Labels", "ARI of the two", *(label for _, label in MEASURES))
    return table(columns, rows, caption="Both sweeps, K by K: first, then second", numbers=range(2, len(columns)))


def _labels(step: dict[str, Any]) -> str:
    if not step["in_first"] or not step["in_second"]:
        return f"only in the {'first' if step['in_first'] else 'second'}"
    return "the same" if step["same_labels"] else "differ"


def _pair(differ: dict[str, Any] | None, *, both: bool) -> str | Markup:
    if differ is None:
        return "equal" if both else UNKNOWN
    return Markup("{} / {}").format(_figure(differ["first"]), _figure(differ["second"]))


def _figure(number: float | None) -> str | Markup:
    return UNKNOWN if number is None else f"{number:.3f}"


def _value(value: Any) -> str | Markup:
    if value is None:
        return UNKNOWN
    return shortened(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), 120)
