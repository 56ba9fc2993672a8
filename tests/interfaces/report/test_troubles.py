"""What went wrong on the way is told."""

from dataclasses import replace

from interfaces.report import to_markdown
from interfaces.report.page import render
from interfaces.report.troubles import failed_calls, repeated_attempts
from tests.support.reports import Page, report_data, step


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
