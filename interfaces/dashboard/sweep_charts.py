"""The report's pictures of a sweep, on a page of either colour. Imports Panel."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import panel
from markupsafe import Markup

from interfaces.dashboard.charts import GREY
from interfaces.dashboard.controls import row
from interfaces.report import ReportData
from interfaces.report.clusters import cluster_rows
from interfaces.report.curves import metric_charts
from interfaces.report.maps import map_of


def curves(sweep: Mapping[str, Any]) -> tuple[Any, ...]:
    """A chart for each number that was measured, with its spread; that of the rule comes first."""
    steps = sweep["steps"]
    if not steps:
        return ()
    at = sweep["chosen_k"] or steps[-1]["k"]
    nothing = np.empty(0, dtype=np.int32), np.empty((0, 2), dtype=np.float32)
    charts = metric_charts(ReportData({**sweep, "chosen_k": at}, *nothing, command=""))
    drawn = [
        panel.Column(
            panel.pane.HTML(str(_heading(chart)), sizing_mode="stretch_width", margin=0),
            shown(chart["plot"]),
            styles={"flex": "1 1 320px", "min-width": "0"},
            min_width=1,
            margin=0,
            sizing_mode="stretch_width",
        )
        for chart in charts
    ]
    return (row(*drawn),)


def scatter(data: ReportData) -> Any:
    """The rows in the plane of their first two principal components, as a plot."""
    return painted(map_of(data, cluster_rows(data), data.scatter)["plot"])


def shown(plot: Any) -> Any:
    """A plot as a part of a page."""
    return panel.pane.Bokeh(painted(plot), sizing_mode="stretch_width", margin=0, min_width=1)


def painted(plot: Any) -> Any:
    """A plot in colours that can be read on light and on dark."""
    for axis in plot.axis:
        axis.axis_label_text_color = axis.major_label_text_color = GREY
        axis.axis_line_color = axis.major_tick_line_color = GREY
    plot.grid.grid_line_color = GREY
    plot.grid.grid_line_alpha = 0.25
    plot.background_fill_color = plot.border_fill_color = "#ffffff"
    plot.background_fill_alpha = plot.border_fill_alpha = 0
    for legend in plot.legend:
        legend.label_text_color = GREY
    return plot


def _heading(chart: Mapping[str, Any]) -> Markup:
    decides = " (K is chosen by this)" if chart["decides"] else ""
    return Markup(
        '<p style="margin: 0; color: var(--ink); font: 600 1rem var(--title)">{}{}</p>'
        '<p style="margin: 0; color: var(--quiet); font: .87rem/1.4 var(--text)">{}</p>'
    ).format(chart["title"], decides, chart["caption"])
