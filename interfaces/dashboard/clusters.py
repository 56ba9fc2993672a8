"""The clusters of one K: their names, sizes, the texts that stand for them, and where each came from."""

from typing import Any

from markupsafe import Markup

from interfaces.dashboard.figures import UNKNOWN, count, share
from interfaces.dashboard.page import Page
from interfaces.dashboard.tables import cards, link, section, table
from interfaces.report import ReportData
from interfaces.report.agreement import labels_found_in
from interfaces.report.clusters import cluster_rows
from interfaces.report.data import chosen_step

FIGURES = (
    ("silhouette", "Silhouette"),
    ("stability_ari_mean", "Stability"),
    ("objective", "Objective"),
    ("acc", "Accuracy, by labels"),
    ("ari", "ARI, by labels"),
    ("v_measure", "V-measure, by labels"),
)


def step_cards(page: Page, data: ReportData) -> Markup:
    """The numbers of this K, and its own address."""
    sweep, step = data.sweep, chosen_step(data.sweep)
    measured = [(label, f"{step[name]:.3f}") for name, label in FIGURES if step.get(name) is not None]
    way = link(page.href("sweeps", sweep=sweep["sweep_id"], k=step["k"]), f"The address of K = {step['k']}")
    came = link(page.href("provenance", kind="step", id=f"{sweep['sweep_id']}/{step['k']}"), "where it came from")
    return cards(measured) + Markup('<p class="note">{} · {}</p>').format(way, came)


def cluster_table(page: Page, data: ReportData) -> Markup:
    """A row for each cluster, then where the rows of each label went."""
    sweep, found = data.sweep, cluster_rows(data)
    rows = [_row(page, sweep, told, own) for told, own in zip(found, sweep["clusters"], strict=True)]
    columns = ["Cluster", "Name", "Size", "Share", "Texts that stand for it", "From"]
    if data.true_labels is not None:
        columns.insert(4, "Commonest label")
        for row, told in zip(rows, found, strict=True):
            common = told["common"]
            row.insert(4, UNKNOWN if common is None else f"{common[0]} ({common[1]:.0%})")
    if any(told["keywords"] for told in found):
        columns.insert(2, "Words")
        for row, told in zip(rows, found, strict=True):
            row.insert(2, ", ".join(told["keywords"]))
    caption = f"Clusters for K = {sweep['chosen_k']}"
    numbers = [columns.index(name) for name in ("Size", "Share")]
    shown = section(caption, table(columns, rows, caption=caption, numbers=numbers))
    labels = labels_found_in(data)
    return shown + section("Agreement with labels", _labels(labels)) if labels else shown


def _row(page: Page, sweep: Any, told: dict[str, Any], own: dict[str, Any]) -> list[str | Markup]:
    name: str | Markup = told["name"] or Markup('<span class="note">not named</span>')
    if own.get("named_by_call_id"):
        name = Markup("{} {}").format(name, link(page.href("calls", call=own["named_by_call_id"]), "(the call)"))
    if told["fell_back"]:
        name = Markup('{} <span class="note">a summary failed; this is its foremost text</span>').format(name)
    colour, _ = told["look"]
    number = Markup(
        '<span aria-hidden="true" style="display: inline-block; width: .7em; height: .7em; border-radius: 2px; '
        'background: {}"></span> {}'
    ).format(colour, told["number"])
    thing = f"{sweep['sweep_id']}/{sweep['chosen_k']}/{told['number']}"
    return [
        number,
        name,
        count(told["size"]),
        share(told["share"]),
        _texts(told["first"], told["more"]),
        link(page.href("provenance", kind="cluster", id=thing), f"provenance of {told['number']}"),
    ]


def _texts(first: list[str], more: list[str]) -> Markup:
    shown = Markup("").join(Markup("<div>{}</div>").format(text) for text in first)
    if not more:
        return shown
    rest = Markup("").join(Markup("<div>{}</div>").format(text) for text in more)
    return shown + Markup("<details><summary>{} more</summary>{}</details>").format(len(more), rest)


def _labels(labels: list[dict[str, Any]]) -> Markup:
    rows = [
        [each["label"], count(each["size"]), each["cluster"], share(each["share"]), count(each["spread_over"])]
        for each in labels
    ]
    columns = ("Label", "Rows", "Cluster with most of them", "Share in it", "Clusters it is spread over")
    return table(columns, rows, caption="Where the rows of each label went", numbers=(1, 3, 4))
