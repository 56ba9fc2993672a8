"""The report's pictures of a sweep, on a page of either colour. Imports Panel."""

from typing import Any

import panel

from interfaces.report import ReportData
from interfaces.report.clusters import cluster_rows
from interfaces.report.maps import map_of

GREY = "#7d8691"  # to be read on white and on slate


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
    return plot
