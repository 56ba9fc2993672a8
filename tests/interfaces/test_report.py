"""The report: one page, self-contained, the same for the same data, and safe whatever the texts say."""

import base64
import gzip
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from domain.errors import Rejected
from interfaces.report import ReportData, format_of, render, to_markdown, write_report
from interfaces.report.charts import look_of
from interfaces.report.troubles import failed_calls, repeated_attempts

NASTY = """</script><script>alert(1)</script><img src=x onerror="alert(1)"> & 'quotes' <!-- {{ 7*7 }}"""
ROOT = Path(__file__).parents[2]


def report_data(n: int = 60, k: int = 3, **changes: Any) -> ReportData:
    labels = (np.arange(n) % k).astype(np.int32)
    sweep = {
        "sweep_id": "5d1c3f52-6d0a-5a0e-9a53-0c6b7d9b41aa",
        "fingerprint": "f" * 64,
        "status": "finished",
        "method": "k-means",
        "chosen_k": k,
        "chosen_by": "silhouette",
        "explanation": f"K={k} has the highest mean silhouette.",
        "steps": [step(2), step(k), step(k + 1)],
        "clusters": [
            {
                "cluster": cluster,
                "size": int((labels == cluster).sum()),
                "name": f"topic {cluster}",
                "representatives": [f"text {row}" for row in range(cluster, 8 * k, k)],
                "fell_back": cluster == 1,
            }
            for cluster in range(k)
        ],
        "config": {"k_values": [2, k, k + 1], "restarts": 5, "seed": 7, "pca_dim": 64, "parameters": {}},
        "source": {"dataset_name": "intents", "embedding_provider": "local", "embedding_model": "local-ngrams"},
        "software": {"numpy": "2.4.6"},
        "duration_s": 1.25,
    }
    data = ReportData(
        sweep=sweep,
        labels=labels,
        scatter=np.random.default_rng(0).normal(size=(n, 2)).astype(np.float32),
        command="study sweep run intents --seed 7",
        texts=tuple(f"text {row}" for row in range(n)),
        true_labels=tuple(f"label {row % 2}" for row in range(n)),
    )
    return replace(data, **changes)


def step(k: int, **changes: Any) -> dict[str, Any]:
    return {
        "k": k,
        "objective": 100.0 / k,
        "iterations": 9,
        "silhouette": 0.123456,
        "stability_ari_mean": 0.75,
        "stability_ari_std": 0.05,
        "dispersion": 0.4,
        "coverage": 0.2,
        "acc": 0.51,
        "nmi": 0.62,
        "ari": 0.43,
        "labels_sha256": "a" * 64,
        **changes,
    }


class Page(HTMLParser):
    """Elements and the texts between them, as a browser reads them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self._inside = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)

    def documents(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.scripts[0])
        return found


def test_the_page_says_what_was_asked_what_came_out_and_how_to_get_it_again() -> None:
    page = Page(render(report_data()))
    for told in (
        "The clusters of intents",
        "60 texts fall into 3 clusters (k-means).",
        "K=3 has the highest mean silhouette.",
        "chosen by silhouette",
        "0.123",  # silhouette
        "0.750",  # stability
        "0.510",  # accuracy
        "0.620",  # mutual information
        "0.430",  # Rand index
        "topic 2",
        "purity 50%",
        "33.3%",
        "local / local-ngrams",
        "study sweep run intents --seed 7",
        "5d1c3f52-6d0a-5a0e-9a53-0c6b7d9b41aa",
        "f" * 64,
        "numpy 2.4.6",
    ):
        assert told in page.text, told


def test_a_cluster_whose_summary_failed_is_pointed_out() -> None:
    assert "No summary could be had for cluster 1:" in Page(render(report_data())).text


def test_rounds_are_told_with_those_of_their_summaries_that_failed() -> None:
    data = report_data()
    assert "centroids" not in " ".join(Page(render(data)).texts)
    rounds = [
        {"k": k, "round": number, "summaries": [{}] * k, "fell_back": number - 1} for k in (2, 3) for number in (1, 2)
    ]
    told = " ".join(" ".join(Page(render(replace(data, sweep={**data.sweep, "rounds": rounds}))).texts).split())
    assert "In 2 rounds, 6 centroids were to be replaced by summaries of their clusters; 1 of them stayed" in told
    kept = [{**rounds[2], "fell_back": 0}]
    told = " ".join(" ".join(Page(render(replace(data, sweep={**data.sweep, "rounds": kept}))).texts).split())
    assert "In 1 round, 3 centroids were to be replaced by summaries of their clusters; all of them were." in told


def test_the_page_loads_nothing() -> None:
    page = Page(render(report_data()))
    loading = [
        (tag, name, value)
        for tag, attributes in page.elements
        for name, value in attributes.items()
        if name in {"src", "srcset", "href", "data", "action"} or (value or "").startswith(("http:", "https:", "//"))
    ]
    assert loading == []
    assert "@import" not in render(report_data())
    policies = [
        attributes["content"] or "" for _, attributes in page.elements
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]  # fmt: skip
    assert len(policies) == 1
    assert policies[0].startswith("default-src 'none'")
    assert "http" not in policies[0].replace("http-equiv", "")


def test_texts_names_and_labels_are_shown_as_they_are_and_never_run() -> None:
    harmless, data = Page(render(report_data())), report_data(n=30)
    sweep = {
        **data.sweep,
        "sweep_id": NASTY,
        "chosen_by": NASTY,
        "explanation": NASTY,
        "method": NASTY,
        "software": {NASTY: NASTY},
        "source": {"dataset_name": NASTY, "embedding_model": NASTY},
        "config": {"parameters": {NASTY: NASTY}, "summarise": NASTY},
        "clusters": [{**cluster, "name": NASTY, "representatives": [NASTY] * 4} for cluster in data.sweep["clusters"]],
    }
    page = Page(
        render(
            replace(
                data,
                sweep=sweep,
                texts=(NASTY,) * 30,
                true_labels=(NASTY,) * 30,
                command=NASTY,
                facts={NASTY: NASTY},
            )
        )
    )
    assert page.count("script") == harmless.count("script") == 3
    assert page.count("img") == 0
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert "{{ 7*7 }}" in page.text
    assert page.texts.count(NASTY) > 10
    assert not re.search(r"[<>&]", page.scripts[0])
    assert columns(page.documents()[-1])[0]["text"] == [NASTY] * 30


def test_the_page_is_the_same_in_another_process() -> None:
    code = (
        "import hashlib, sys; from tests.interfaces.test_report import report_data; "
        "from interfaces.report import render; from bokeh.plotting import figure; "
        "[figure() for _ in range(int(sys.argv[1]))]; "
        "print(hashlib.sha256(render(report_data()).encode()).hexdigest())"
    )
    pages = {
        subprocess.run(
            [sys.executable, "-c", code, made_before],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": made_before},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for made_before in ("1", "2")
    }
    assert len(pages) == 1


def test_every_chart_has_a_place_of_its_own_and_is_described_in_words() -> None:
    page = Page(render(report_data()))
    places = {a["id"]: a for _, a in page.elements if (a.get("class") or "").startswith("chart") and "id" in a}
    documents = page.documents()
    assert set(places) == {f"chart-{number}" for number in range(len(documents))}
    assert len(documents) == 7  # six of the metrics, which were measured, and the map
    assert all(place["role"] == "img" and place["aria-label"] for place in places.values())
    assert len({document["root_id"] for document in documents}) == 7
    assert [tag for tag, _ in page.elements if tag in {"h1", "h2"}].count("h1") == 1


def test_without_labels_there_is_no_agreement() -> None:
    data = report_data()
    bare = [step(k, acc=None, nmi=None, ari=None) for k in (2, 3)]
    page = Page(render(replace(data, true_labels=None, sweep={**data.sweep, "steps": bare})))
    assert "purity" not in page.text
    assert "NMI" not in page.text
    assert len(page.documents()) == 6


def test_vectors_without_texts_are_shown_by_their_rows() -> None:
    data = report_data()
    page = Page(render(replace(data, texts=None, true_labels=None, sweep={**data.sweep, "source": {}})))
    assert "60 vectors fall into 3 clusters" in page.text
    assert "row 59" in page.scripts[0]


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


def columns(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The columns of every data source in a Bokeh document."""
    found: list[dict[str, Any]] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if value.get("name") == "ColumnDataSource" and value.get("type") == "object":
                found.append(dict(value["attributes"]["data"]["entries"]))
            for member in value.values():
                walk(member)
        elif isinstance(value, list):
            for member in value:
                walk(member)

    walk(document["doc"])
    return found


def test_thirty_six_clusters_look_different() -> None:
    assert len({look_of(cluster) for cluster in range(36)}) == 36
    assert Page(render(report_data(n=200, k=40))).count("svg") == 40


def test_an_unfinished_sweep_has_no_report() -> None:
    data = report_data()
    with pytest.raises(Rejected, match="isn't finished"):
        render(replace(data, sweep={**data.sweep, "chosen_k": None}))


FURTHER = {
    "silhouette_euclidean": 0.2,
    "calinski_harabasz": 1234.5,
    "davies_bouldin": 1.75,
    "gap": 0.9,
    "gap_s": 0.04,
    "log_w": 3.1,
    "log_w_expected": 4.0,
    "prediction_strength": 0.85,
    "prediction_strength_std": 0.06,
    "bic": -55.5,
    "v_measure": 0.58,
    "homogeneity": 0.57,
    "completeness": 0.59,
}


def chosen_by(rule: str, **changes: Any) -> ReportData:
    data = report_data()
    steps = [step(k, **FURTHER) for k in (2, 3, 4)]
    config = {
        **data.sweep["config"],
        "choose_by": rule,
        "choosing": {"parameters": {"references": 20}, "also_measure": ["prediction-strength"]},
        "preparation": {"unit_norm": False, "unit_norm_after": True},
    }
    return replace(data, sweep={**data.sweep, "steps": steps, "chosen_by": rule, "config": config}, **changes)


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


def test_keywords_stand_beside_the_clusters() -> None:
    data = report_data()
    clusters = [{**cluster, "keywords": ["train", NASTY]} for cluster in data.sweep["clusters"]]
    page = Page(render(replace(data, sweep={**data.sweep, "clusters": clusters})))
    assert "Keywords" in page.text
    assert page.count("script") == 3
    assert "Keywords" not in Page(render(data)).text


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


def test_failures_and_fallbacks_are_told_or_that_there_were_none() -> None:
    data = report_data()
    clean = {**data.sweep, "clusters": [{**cluster, "fell_back": False} for cluster in data.sweep["clusters"]]}
    nothing = "Nothing failed, nothing was repeated, and nothing stands in for anything else."
    assert nothing in Page(render(replace(data, sweep=clean))).text
    assert nothing in to_markdown(replace(data, sweep=clean))
    troubled = replace(
        data,
        sweep={**data.sweep, "steps": [step(3, converged=False, empty_clusters=2)]},
        troubles=(("Embedding the texts", "2 calls failed: <out of quota>"),),
    )
    page, text = Page(render(troubled)).text, to_markdown(troubled)
    for told in (
        "Embedding the texts",
        "2 calls failed: <out of quota>",
        "No summary could be had for cluster 1: the most representative text is the name",
        "The best restart ran out of iterations before nothing changed",
        "2 clusters stayed empty",
    ):
        assert told in page, told
        assert told.replace("<", "\\<").replace(">", "\\>") in text, told
    assert nothing not in page


def test_calls_that_failed_are_counted_by_why_and_repeated_ones_are_told() -> None:
    failed = [{"error": {"message": why}} for why in ("no quota", "timed out", "no quota")]
    assert failed_calls("Naming", failed) == [
        ("Naming", "2 calls failed: no quota"),
        ("Naming", "1 call failed: timed out"),
    ]
    many = [{"error": {"message": f"request {number:02}"}} for number in range(12)]
    assert failed_calls("Naming", many)[9:] == [
        ("Naming", "1 call failed: request 09"),
        ("Naming", "2 calls failed for 2 other reasons"),
    ]
    calls = [{"status": "success", "attempts": attempts} for attempts in (1, 3, 2)]
    assert repeated_attempts("Naming", calls) == [
        ("Naming", "2 calls were answered at a later attempt, after 3 that failed")
    ]
    assert repeated_attempts("Naming", calls[:1]) == []


def test_the_labels_are_told_with_the_clusters_that_hold_them() -> None:
    page = Page(render(report_data()))
    assert "Agreement with the labels" in page.text
    assert "label 0 30 0 33% 3 clusters" in page.text
    assert "| label 0 | 30 | 0 | 33% | 3 |" in to_markdown(report_data())
    assert "Agreement" not in to_markdown(replace(report_data(), true_labels=None))


def test_markdown_holds_the_same_numbers_and_words() -> None:
    text = to_markdown(report_data())
    for told in (
        "# The clusters of intents",
        "60 texts fall into 3 clusters (k-means).",
        "## Why K = 3",
        "| 1 | topic 1 (fallback) | 20 | 33.3% | label 0 (50%) |",
        "- text 3",
        "| 3 (chosen) | 0.123 | 0.750 | 0.050 |",
        "| Objective | █▃▁ | 33.333 |",
        "```sh\nstudy sweep run intents --seed 7\n```",
        "f" * 64,
    ):
        assert told in text, told


def test_markdown_shows_texts_as_they_are() -> None:
    data = report_data(n=3)
    sweep = {**data.sweep, "clusters": [{**data.sweep["clusters"][0], "name": "a|b\n# <b>*c*</b> `d` &amp;"}]}
    text = to_markdown(replace(data, sweep=sweep, command="study ```` x"))
    assert "a\\|b \\# \\<b\\>\\*c\\*\\</b\\> \\`d\\` &amp;amp;" in text
    assert "`````sh\nstudy ```` x\n`````" in text


def test_a_reports_ending_says_of_which_kind_it_is(tmp_path: Path) -> None:
    assert write_report(report_data(), tmp_path / "a.MD").read_text() == to_markdown(report_data())
    assert write_report(report_data(), tmp_path / "a.html").read_text() == render(report_data())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.MD", "a.html"]
    for name in ("a.pdf", "report", "."):
        with pytest.raises(Rejected, match=r"\.html"):
            format_of(tmp_path / name)
    with pytest.raises(Rejected, match="no folder"):
        format_of(tmp_path / "none" / "a.html")
