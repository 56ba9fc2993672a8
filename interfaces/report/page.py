"""The report as one page of HTML, which needs nothing but a browser."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from bokeh.resources import Resources
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from interfaces.report.agreement import labels_found_in
from interfaces.report.asked import asked, key_figures, lead, provenance, title
from interfaces.report.charts import documents, metric_chart
from interfaces.report.clusters import cluster_rows, rounds_told
from interfaces.report.curves import measured_columns, measured_curves, rule_told
from interfaces.report.data import ReportData, check_finished, chosen_step
from interfaces.report.maps import map_of
from interfaces.report.troubles import doubts, fallbacks
from interfaces.report.wording import number


def render(data: ReportData) -> str:
    """Make the page: self-contained, and the same bytes for the same data. Raises Rejected for an unfinished sweep."""
    check_finished(data)
    charts = _metric_charts(data)
    clusters = cluster_rows(data)
    scatter = map_of(data, clusters, data.scatter)
    umap = None if data.view is None else map_of(data, clusters, data.view, axes=("UMAP 1", "UMAP 2"))
    plots = [*(chart["plot"] for chart in charts), scatter["plot"], *([] if umap is None else [umap["plot"]])]
    view = {
        "sweep": data.sweep,
        "chosen": chosen_step(data.sweep),
        "title": title(data),
        "lead": lead(data),
        "has_texts": data.texts is not None,
        "figures": key_figures(data),
        "asked": asked(data),
        "charts": charts,
        "scatter": scatter,
        "umap": umap,
        "noise": int(np.count_nonzero(data.labels < 0)),
        "rule": rule_told(data),
        "clusters": clusters,
        "told": any(cluster["keywords"] for cluster in clusters),
        "fell_back": [cluster["number"] for cluster in clusters if cluster["fell_back"]],
        "rounds": rounds_told(data.sweep),
        "found_in": labels_found_in(data),
        "troubles": [*data.troubles, *fallbacks(data.sweep), *doubts(data.sweep)],
        "columns": measured_columns(data.sweep),
        "provenance": provenance(data.sweep),
        "command": data.command,
        "unsaid": data.unsaid,
        "documents": _as_script_json(documents(plots)),
        "style": Markup(_asset("page.css")),  # noqa: S704 - our own file
        "script": Markup(_asset("page.js")),  # noqa: S704 - our own file
        "bokeh": Markup(_bokeh_script()),  # noqa: S704 - the library's own bundle
    }
    return str(_template().render(view))


def _metric_charts(data: ReportData) -> list[dict[str, Any]]:
    """A chart for each curve that was measured; that of the rule that chose comes first."""
    return [
        {
            "title": each.title,
            "caption": each.caption,
            "decides": each.decides,
            "spoken": each.spoken,
            "plot": metric_chart(
                each.k_values, each.series, each.chosen_k, each.title if len(each.series) == 1 else "fraction"
            ),
        }
        for each in measured_curves(data.sweep)
    ]


def _as_script_json(value: Any) -> Markup:
    """JSON that may stand inside a script element: nothing in it can end the element or begin markup."""
    encoded = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    for character in "<>&":
        encoded = encoded.replace(character, f"\\u{ord(character):04x}")
    return Markup(encoded)  # noqa: S704 - escaped just above


@cache
def _bokeh_script() -> str:
    return "\n".join(Resources(mode="inline", components=["bokeh"]).js_raw)


@cache
def _asset(name: str) -> str:
    return files("interfaces.report").joinpath(name).read_text(encoding="utf-8")


@cache
def _template() -> Any:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = number
    return environment.from_string(_asset("page.html"))
