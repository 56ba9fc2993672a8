"""Charts, as Bokeh draws them on a page of either colour. Imports Panel.

They bring no script of their own. What they show is on the page as a table as well, for who can't see them.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import panel
from bokeh.models import ColumnDataSource, DataRange1d, HoverTool
from bokeh.models.annotations import Legend, LegendItem
from bokeh.plotting import figure

# Okabe and Ito's colours, without those that vanish on white or on black; dashes tell further ones apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DASHES = ("solid", "dashed", "dotted")
GREY = "#7d8691"  # to be read on white and on slate
FONT = "system-ui, sans-serif"

Points = Sequence[tuple[datetime, float | None]]


def lines_over_time(label: str, series: Mapping[str, Points]) -> Any:
    """A line for each name; a value that is None leaves a gap."""
    plot = _plot(label, x_axis_type="datetime", height=240, y_range=DataRange1d(start=0))
    names = list(series)
    times = [np.array([at for at, _ in series[name]], dtype="datetime64[ms]") for name in names]
    values = [np.array([value for _, value in series[name]], dtype=np.float64) for name in names]
    colours = [COLOURS[number % len(COLOURS)] for number in range(len(names))]
    dashes = [DASHES[number // len(COLOURS) % len(DASHES)] for number in range(len(names))]
    # All lines are one glyph and all dots another: each glyph takes the server some milliseconds.
    lines = ColumnDataSource({"at": times, "value": values, "colour": colours, "dash": dashes})
    drawn = plot.multi_line(xs="at", ys="value", source=lines, line_color="colour", line_dash="dash", line_width=2)
    lengths = [len(each) for each in times]
    every = ColumnDataSource(
        {
            "at": np.concatenate(times),
            "value": np.concatenate(values),
            "name": [name for name, length in zip(names, lengths, strict=True) for _ in range(length)],
            "colour": [colour for colour, length in zip(colours, lengths, strict=True) for _ in range(length)],
        }
    )
    dots = plot.scatter(x="at", y="value", source=every, color="colour", size=6)
    told = [("", "@name"), ("at", "@at{%F %H:%M}"), (label, "@value{0,0.[00]}")]
    plot.add_tools(HoverTool(renderers=[dots], tooltips=told, formatters={"@at": "datetime"}))
    legend = [LegendItem(label=name, renderers=[drawn], index=at) for at, name in enumerate(names)]
    if len(legend) > 1:
        plot.add_layout(
            Legend(
                items=legend,
                orientation="horizontal",
                background_fill_alpha=0,
                border_line_alpha=0,
                label_text_color=GREY,
                label_text_font=FONT,
                ncols=3,
            ),
            "above",
        )
    return _shown(plot)


def ranges(label: str, rows: Sequence[tuple[str, float, float, float]]) -> Any:
    """For each name a value in the middle, one that is seldom passed and one that is hardly ever: p50, p95, p99."""
    names = [name for name, *_ in rows]
    source = ColumnDataSource(
        {"name": names, **{f"p{percent}": [row[at] for row in rows] for at, percent in ((1, 50), (2, 95), (3, 99))}}
    )
    plot = _plot("", y_range=names[::-1], x_range=DataRange1d(start=0), height=70 + 34 * len(rows), x_axis_label=label)
    plot.segment(x0="p50", x1="p99", y0="name", y1="name", source=source, color=COLOURS[0], line_width=2)
    plot.segment(x0="p50", x1="p95", y0="name", y1="name", source=source, color=COLOURS[0], line_width=9, alpha=0.45)
    dots = plot.scatter(x="p50", y="name", source=source, color=COLOURS[0], size=10)
    told = [("", "@name"), *((f"p{percent}", f"@p{percent}{{0,0}} ms") for percent in (50, 95, 99))]
    plot.add_tools(HoverTool(renderers=[dots], tooltips=told))
    plot.ygrid.grid_line_color = None
    return _shown(plot)


def _plot(y_label: str, **more: Any) -> Any:
    plot = figure(
        sizing_mode="stretch_width",
        toolbar_location=None,
        tools="",
        y_axis_label=y_label,
        background_fill_alpha=0,
        border_fill_alpha=0,
        outline_line_color=None,
        **more,
    )
    for axis in plot.axis:
        axis.update(
            axis_label_text_color=GREY,
            axis_label_text_font=FONT,
            axis_label_text_font_style="normal",
            major_label_text_color=GREY,
            major_label_text_font=FONT,
            axis_line_color=GREY,
            major_tick_line_color=GREY,
            minor_tick_line_color=None,
        )
    plot.grid.grid_line_color = GREY
    plot.grid.grid_line_alpha = 0.25
    return plot


def _shown(plot: Any) -> Any:
    return panel.pane.Bokeh(plot, sizing_mode="stretch_width", margin=0, min_width=1)
