"""The pictures of a report, each with its place and its words."""

import base64
import gzip
import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interfaces.report.looks import look_of
from interfaces.report.page import render
from tests.support.reports import Page, chosen_by, columns, report_data, step


def test_every_chart_has_a_place_of_its_own_and_is_described_in_words() -> None:
    page = Page(render(report_data()))
    places = {a["id"]: a for _, a in page.elements if (a.get("class") or "").startswith("chart") and "id" in a}
    documents = page.documents()
    assert set(places) == {f"chart-{number}" for number in range(len(documents))}
    assert len(documents) == 7  # six of the metrics, which were measured, and the map
    assert all(place["role"] == "img" and place["aria-label"] for place in places.values())
    assert len({document["root_id"] for document in documents}) == 7
    assert [tag for tag, _ in page.elements if tag in {"h1", "h2"}].count("h1") == 1


def test_numbers_that_a_step_lacks_leave_a_gap() -> None:
    data = report_data()
    steps = [step(1, silhouette=None, stability_ari_mean=None, stability_ari_std=None), step(3)]
    page = Page(render(replace(data, sweep={**data.sweep, "steps": steps})))
    assert "None" not in page.text
    assert "nan" not in page.text.lower().split()


def test_a_single_step_is_enough() -> None:
    data = report_data()
    assert "K 3 to 3" in Page(
        render(replace(data, sweep={**data.sweep, "steps": [step(3)], "config": {"k_values": [3]}}))
    ).text.replace("  ", " ")


def test_at_most_five_thousand_points_are_drawn_and_the_page_says_so() -> None:
    page = Page(render(report_data(n=6000)))
    assert "Shown are 5,000 of 6,000, drawn at random." in page.text
    texts = next(entries["text"] for entries in columns(page.documents()[-1]) if "text" in entries)
    assert len(texts) == 5000
    assert "Shown are" not in Page(render(report_data())).text


def test_thirty_six_clusters_look_different() -> None:
    assert len({look_of(cluster) for cluster in range(36)}) == 36
    assert Page(render(report_data(n=200, k=40))).count("svg") == 40


def test_the_rule_that_chose_is_told_with_its_source_and_its_curve_comes_first() -> None:
    page = Page(render(chosen_by("gap")))
    for told in (
        "The rule is gap:",
        "(Tibshirani, Walther & Hastie 2001)",
        "K chosen by gap (references = 20)",
        "Measured besides prediction-strength",
        "Preparation mean subtracted, projected, rows scaled to length 1 again",
        "1,234.5",
        "0.580",  # V-measure
    ):
        assert told in page.text, told
    titles = re.findall(r"<h3>([^<]+)", render(chosen_by("gap")))
    assert titles[0].strip() == "Gap"
    assert len(titles) == 13
    assert page.text.count("decides") == 1
    assert "log W against K from 2 to 4. At the chosen K = 3: data 3.100, expected 4.000." in render(chosen_by("gap"))
    assert re.findall(r"<h3>([^<]+)", render(chosen_by("bic")))[0].strip() == "BIC"


def test_curves_are_drawn_with_their_spread() -> None:
    documents = Page(render(chosen_by("gap"))).documents()
    lows_and_highs = [entries for document in documents for entries in columns(document) if "spread" in entries]
    gap = lows_and_highs[0]
    assert [round(float(each), 6) for each in numbers(gap["spread"])] == [0.04] * 3
    assert [round(float(each), 6) for each in numbers(gap["low"])] == [0.86] * 3
    assert "error s" in json.dumps(documents[0])


def numbers(array: dict[str, Any]) -> NDArray[np.float64]:
    """A Bokeh array, as the page holds it."""
    if isinstance(array["array"], list):
        return np.array(array["array"])
    return np.frombuffer(gzip.decompress(base64.b64decode(array["array"]["data"])), dtype=array["dtype"])


def test_rows_of_no_cluster_are_grey_and_counted() -> None:
    data = report_data()
    labels = data.labels.copy()
    labels[:6] = -1
    steps = [step(3, noise=6, stability_ari_mean=None, stability_ari_std=None)]
    config = {**data.sweep["config"], "k_values": []}
    sweep = {**data.sweep, "steps": steps, "method": "hdbscan", "chosen_by": "hdbscan", "config": config}
    page = Page(render(replace(data, labels=labels, sweep=sweep)))
    assert "Grey crosses are the 6 rows that belong to no cluster." in page.text
    assert "K found by the method" in page.text
    assert "The rule is" not in page.text
    shown = next(entries for entries in columns(page.documents()[-1]) if "shape" in entries)
    assert shown["shape"][:6] == ["x"] * 6
    assert shown["cluster"][0] == "noise: no cluster"
    middles = next(entries for entries in columns(page.documents()[-1]) if "number" in entries)
    assert middles["number"] == ["0", "1", "2"]


def test_a_second_map_is_drawn_when_there_is_one() -> None:
    view = np.random.default_rng(1).normal(size=(60, 2)).astype(np.float32)
    page = Page(render(replace(report_data(), view=view)))
    assert "laid out by UMAP" in page.text
    places = {a["id"] for _, a in page.elements if (a.get("class") or "").startswith("chart") and "id" in a}
    assert places == {f"chart-{number}" for number in range(8)}
    assert len(page.documents()) == 8
    assert "UMAP 1" in json.dumps(page.documents()[-1])
