"""The page: self-contained, the same for the same data, and safe whatever the texts say."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from domain.errors import Rejected
from interfaces.report import to_markdown
from interfaces.report.page import render
from tests.support.reports import NASTY, Page, columns, report_data, step

ROOT = Path(__file__).parents[3]


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
        "import hashlib, sys; from tests.support.reports import report_data; "
        "from interfaces.report.page import render; from bokeh.plotting import figure; "
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


def test_an_unfinished_sweep_has_no_report() -> None:
    data = report_data()
    with pytest.raises(Rejected, match="isn't finished"):
        render(replace(data, sweep={**data.sweep, "chosen_k": None}))


def test_keywords_stand_beside_the_clusters() -> None:
    data = report_data()
    clusters = [{**cluster, "keywords": ["train", NASTY]} for cluster in data.sweep["clusters"]]
    page = Page(render(replace(data, sweep={**data.sweep, "clusters": clusters})))
    assert "Keywords" in page.text
    assert page.count("script") == 3
    assert "Keywords" not in Page(render(data)).text


def test_the_labels_are_told_with_the_clusters_that_hold_them() -> None:
    page = Page(render(report_data()))
    assert "Agreement with the labels" in page.text
    assert "label 0 30 0 33% 3 clusters" in page.text
    assert "| label 0 | 30 | 0 | 33% | 3 |" in to_markdown(report_data())
    assert "Agreement" not in to_markdown(replace(report_data(), true_labels=None))
