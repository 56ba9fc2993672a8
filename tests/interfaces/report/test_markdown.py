"""The report as Markdown, and as a file."""

from dataclasses import replace
from pathlib import Path

import pytest

from domain.errors import Rejected
from interfaces.report import format_of, to_markdown, write_report
from interfaces.report.page import render
from tests.support.reports import report_data


def test_markdown_holds_the_same_numbers_and_words() -> None:
    text = to_markdown(report_data())
    for told in (
        "# The clusters of intents",
        "60 texts fall into 3 clusters (k-means).",
        "study report 5d1c3f52-6d0a-5a0e-9a53-0c6b7d9b41aa --out report.html",
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
