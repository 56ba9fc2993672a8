"""The report's pictures, as Bokeh documents whose bytes depend on the numbers alone."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from bokeh.core.properties import value
from bokeh.embed import json_item
from bokeh.models import BasicTicker, ColumnDataSource, HoverTool, Text
from bokeh.models.annotations import Legend, LegendItem, Span
from bokeh.plotting import figure
from numpy.typing import NDArray

from interfaces.report.looks import COLOURS, Series, look_of

DASHES = ("solid", "dashed", "dotted")

FONT = "system-ui, sans-serif"
INK, MUTED, GRID = "#1c2024", "#5c6570", "#e4e7ea"  # of the light page; page.js repaints for the dark one

NUMBER_STYLE: dict[str, Any] = {
    "text_align": "center",
    "text_baseline": "middle",
    "text_font": value(FONT),
    "text_font_size": "12px",
    "text_font_style": "bold",
    "text_color": INK,
    "background_fill_color": "#ffffff",
    "background_fill_alpha": 0.8,
    "padding": 3,
    "border_radius": 3,
}
LEGEND_STYLE: dict[str, Any] = {
    "orientation": "horizontal",
    "background_fill_alpha": 0,
    "border_line_alpha": 0,
    "margin": 0,
    "padding": 2,
    "label_text_font": FONT,
    "label_text_font_size": "12px",
    "label_text_color": MUTED,
    "glyph_width": 28,
    "spacing": 14,
}


class Points(NamedTuple):
    """The rows of a scatter, as columns of equal length."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    cluster: NDArray[np.int32]
    text: Sequence[str]
    cluster_name: Sequence[str]
    true_label: Sequence[str] | None


def metric_chart(k_values: Sequence[int], series: Sequence[Series], chosen_k: int, y_label: str) -> figure:
    """Draw numbers against K, with the chosen K as a dashed line and a larger dot."""
    plot = _plot(height=230, x_axis_label="K, number of clusters", y_axis_label=y_label, tools="")
    plot.xaxis.ticker = BasicTicker(min_interval=1)
    legend_items = []
    for number, line in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        values, spread = _floats(line.values), _floats(line.spread or [0.0] * len(k_values))
        source = ColumnDataSource(
            {
                "k": np.asarray(k_values, dtype=np.float64),
                "value": values,
                "low": values - spread,
                "high": values + spread,
                "spread": spread,
                "size": np.where(np.asarray(k_values) == chosen_k, 11.0, 5.0),
            }
        )
        if line.spread is not None:
            plot.varea(x="k", y1="low", y2="high", source=source, fill_color=colour, fill_alpha=0.2)
        drawn = plot.line(
            x="k", y="value", source=source, color=colour, line_width=2, line_dash=DASHES[number % len(DASHES)]
        )
        dots = plot.scatter(x="k", y="value", source=source, color=colour, size="size")
        tooltips = [("K", "@k{0}"), (line.name, "@value{0.0000}")]
        if line.spread is not None:
            tooltips.append((line.spread_name, "@spread{0.0000}"))
        plot.add_tools(HoverTool(renderers=[dots], tooltips=tooltips, mode="vline" if len(series) == 1 else "mouse"))
        renderers: list[Any] = [drawn, dots]
        legend_items.append(LegendItem(label=line.name, renderers=renderers))
    plot.add_layout(Span(location=chosen_k, dimension="height", line_color=MUTED, line_dash="dashed", line_width=1))
    if len(series) > 1:
        plot.add_layout(Legend(items=legend_items, **LEGEND_STYLE), "above")
    return plot


def scatter_chart(
    points: Points,
    centres: Sequence[tuple[int, float, float]],
    *,
    axes: tuple[str, str] = ("First principal component", "Second principal component"),
    height: int = 520,
) -> figure:
    """Draw texts as points, coloured and shaped by cluster, with each cluster's number at its middle."""
    plot = _plot(
        height=height,
        x_axis_label=axes[0],
        y_axis_label=axes[1],
        tools="pan,wheel_zoom,box_zoom,reset,save",
        active_drag=None,
        toolbar_location="above",
    )
    looks = [look_of(int(cluster)) for cluster in points.cluster]
    columns: dict[str, Any] = {
        "x": points.x,
        "y": points.y,
        "colour": [colour for colour, _ in looks],
        "shape": [shape for _, shape in looks],
        "cluster": [
            f"{cluster}: {name}" if cluster >= 0 else "noise: no cluster"
            for cluster, name in zip(points.cluster, points.cluster_name, strict=True)
        ],
        "text": list(points.text),
    }
    if points.true_label is not None:
        columns["label"] = list(points.true_label)
    dots = plot.scatter(
        x="x", y="y", source=ColumnDataSource(columns), marker="shape", color="colour", size=6, fill_alpha=0.55,
        line_alpha=0.9, line_width=0.5,
    )  # fmt: skip
    plot.add_tools(HoverTool(renderers=[dots], tooltips=_tooltip(points), limit=3))
    middles = ColumnDataSource(
        {
            "x": [x for _, x, _ in centres],
            "y": [y for _, _, y in centres],
            "number": [str(cluster) for cluster, _, _ in centres],
        }
    )
    numbers = Text(x="x", y="y", text="number", **NUMBER_STYLE)
    plot.add_glyph(middles, numbers)
    return plot


def documents(plots: Sequence[figure]) -> list[dict[str, Any]]:
    """Encode plots for Bokeh.embed.embed_item, their models numbered in the order in which they stand.

    Bokeh numbers models over a whole process, so the same plot made twice would differ in its bytes.
    """
    numbered: dict[str, str] = {}
    items = [_renumbered(json_item(plot), numbered) for plot in plots]
    return [{**item, "root_id": numbered[item["root_id"]]} for item in items]


def _renumbered(value: Any, numbered: dict[str, str]) -> Any:
    if isinstance(value, dict):
        is_reference = "id" in value and (len(value) == 1 or value.get("type") == "object")
        return {
            key: numbered.setdefault(member, f"m{len(numbered)}")
            if is_reference and key == "id"
            else _renumbered(member, numbered)
            for key, member in value.items()
        }
    if isinstance(value, list):
        return [_renumbered(member, numbered) for member in value]
    return value


def _plot(*, height: int, **settings: Any) -> figure:
    plot = figure(
        height=height,
        sizing_mode="stretch_width",
        min_width=200,
        **{"toolbar_location": None, **settings},
        background_fill_color=None,
        border_fill_color=None,
        outline_line_color=None,
    )
    plot.toolbar.logo = None
    for axis in plot.axis:
        axis.axis_label_text_font = axis.major_label_text_font = FONT
        axis.axis_label_text_font_size = axis.major_label_text_font_size = "12px"
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_color = axis.major_label_text_color = MUTED
        axis.axis_line_color = axis.major_tick_line_color = GRID
        axis.minor_tick_line_color = None
    plot.grid.grid_line_color = GRID
    return plot


def _tooltip(points: Points) -> str:
    """What a point shows, wrapped to the width of a telephone. Bokeh puts the values in as text, never as markup."""
    label = "" if points.true_label is None else '<div style="color: #5c6570">@label</div>'
    wrapped = "width: max-content; max-width: min(20rem, 60vw); white-space: normal; overflow-wrap: anywhere"
    return f'<div style="{wrapped}"><div>@text</div><div style="color: #5c6570">@cluster</div>{label}</div>'


def _floats(values: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
