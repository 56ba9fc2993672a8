"""Analytics: how many calls, how fast, for how many tokens and how much, and what went wrong."""

from collections import defaultdict
from datetime import datetime
from typing import Any

from markupsafe import Markup

from interfaces.dashboard.charts import lines_over_time, ranges
from interfaces.dashboard.figures import count, dollars, duration, moment, share
from interfaces.dashboard.forms import choice, filters, group_in, text_field, time_in
from interfaces.dashboard.page import Drawn, Page, View
from interfaces.dashboard.states import empty
from interfaces.dashboard.tables import cards, link, section, table
from interfaces.study.analytics import analytics_wanted
from projections.call_queries import CallFilter

LEAD = "All calls added up. Percentiles are within 1 %; counts, means and sums are exact."
BUCKETS = ("minute", "hour", "day")
MOST_IN_CHARTS = 12  # models; all of them are in the tables
COLUMNS = ("Model", "Calls", "", "Succeeded", "p50", "p95", "p99", "Tokens", "Cost", "Saved")
CHARTED = (("Calls", "calls"), ("Mean latency, ms", "latency_ms_mean"), ("Tokens", "tokens_sum"))


async def draw(page: Page) -> Drawn:
    """What passes the filters, in sum, by model, in time and by error."""
    wanted, bucket = _wanted(page), page.text("bucket") or "hour"
    room = page.study.analytics
    summary = await room.summary(wanted, page.moment)
    if not summary["calls"]:
        hint = (
            link(page.href("analytics"), "Take the filters back") if page.parameters else link(page.href("ask"), "Ask")
        )
        return Drawn("Analytics", (_filters(page), empty("There are no calls to add up.", hint)), lead=LEAD)
    models = (await room.providers(wanted, page.moment))["items"]
    series = await room.timeseries(wanted, page.moment, bucket=bucket, fill=True)
    errors = (await room.errors(wanted, page.moment))["items"]
    return Drawn(
        "Analytics",
        (
            _filters(page),
            cards(_figures(summary)),
            section("By model", _by_model(page, models)),
            _latency(models),
            _in_time(series, bucket),
            section("What went wrong", _errors(page, errors)),
        ),
        lead=LEAD,
    )


def _filters(page: Page) -> Markup:
    return filters(
        page,
        text_field(page, "provider", "Provider", offers=page.study.providers.configured()),
        text_field(page, "model", "Model"),
        text_field(page, "since", "Since", hint="2026-03-01"),
        text_field(page, "until", "Until", hint="2026-03-02 12:00"),
        choice(page, "bucket", "In time by", BUCKETS, usual="hour"),
        more={
            "group": text_field(page, "group", "Group", hint="TYPE/NAME"),
            "actor": text_field(page, "actor", "Asked by"),
        },
    )


def _wanted(page: Page) -> CallFilter:
    words = {name: page.text(name) for name in ("provider", "model", "actor")}
    return analytics_wanted(group=group_in(page), since=time_in(page, "since"), until=time_in(page, "until"), **words)


def _figures(summary: dict[str, Any]) -> list[tuple[str, str | Markup]]:
    tokens, latency = summary["tokens"], summary["latency_ms"]
    unknown = f"{count(summary['cost_unknown'])} calls of unknown cost" if summary["cost_unknown"] else ""
    return [
        ("Calls", _with_note(count(summary["calls"]), f"{count(summary['failed'])} failed")),
        ("Succeeded", share(summary["success_rate"])),
        ("Latency, median", _with_note(duration(latency["p50"]), _slowest(latency))),
        ("Tokens", _with_note(count(tokens["total"]), _in_and_out(tokens))),
        ("Cost", _with_note(dollars(summary["cost"]), unknown)),
        ("Saved", _with_note(dollars(summary["saved"]), _given(summary))),
    ]


def _with_note(value: str | Markup, note: str | Markup) -> Markup:
    return Markup('{}<span class="note">{}</span>').format(value, note)


def _slowest(latency: dict[str, Any]) -> Markup:
    return Markup("p95 {}, p99 {}").format(duration(latency["p95"]), duration(latency["p99"]))


def _in_and_out(tokens: dict[str, Any]) -> Markup:
    return Markup("{} in, {} out").format(count(tokens["prompt"]), count(tokens["completion"]))


def _given(summary: dict[str, Any]) -> str | Markup:
    if summary["joined"] is None:
        return ""
    return Markup("{} shared, {} from the cache").format(count(summary["joined"]), count(summary["cached"]))


def _by_model(page: Page, models: list[dict[str, Any]]) -> Markup:
    most = max(each["count"] for each in models) or 1
    rows = [
        [
            link(page.href("calls", provider=each["provider"], model=each["model"]), _name(each)),
            count(each["count"]),
            Markup('<meter min="0" max="{}" value="{}" aria-label="share of the most asked"></meter>').format(
                most, each["count"]
            ),
            share(each["success_rate"]),
            *(duration(each["latency_ms"][name]) for name in ("p50", "p95", "p99")),
            count(each["tokens_total"]),
            dollars(each["cost"]),
            dollars(each["saved"]),
        ]
        for each in models
    ]
    return table(COLUMNS, rows, caption="Models, the one with the most calls first", numbers=(1, 3, 4, 5, 6, 7, 8, 9))


def _name(each: dict[str, Any]) -> str:
    return f"{each['provider']} / {each['model']}"


def _latency(models: list[dict[str, Any]]) -> Markup:
    """How long answers took, by model, as ranges."""
    rows = [
        (_name(each), *(each["latency_ms"][name] for name in ("p50", "p95", "p99")))
        for each in models[:MOST_IN_CHARTS]
        if each["latency_ms"]["p50"] is not None
    ]
    told = Markup('<p class="note">Dot: half of the answers came sooner. Thick: 95 of 100. Thin: 99 of 100.</p>')
    return section("Latency by model", told, ranges("milliseconds", rows)) if rows else Markup("")


def _in_time(series: dict[str, Any], bucket: str) -> Markup:
    if not series["items"]:
        return Markup("")
    times = {each["at"]: datetime.fromisoformat(each["at"]) for each in series["items"]}
    parts = []
    for label, column in CHARTED:
        lines: dict[str, dict[datetime, float | None]] = defaultdict(dict)
        for each in series["items"]:
            lines[each["provider"]][times[each["at"]]] = each[column]
        parts.append(section(f"{label} by {bucket}", lines_over_time(label, lines)))
    return Markup("").join((*parts, _as_table(series["items"])))


def _as_table(items: list[dict[str, Any]]) -> Markup:
    rows = [
        [moment(each["at"]), each["provider"], *(count(each[column]) for _, column in CHARTED)]
        for each in items[::-1]
        if each["calls"]
    ]
    columns = ("At", "Provider", *(label for label, _ in CHARTED))
    listed = table(columns, rows[:500], caption="In time, the newest first", numbers=(2, 3, 4))
    return Markup("<details><summary>The same as a table</summary>{}</details>").format(listed)


def _errors(page: Page, errors: list[dict[str, Any]]) -> Markup:
    rows = [
        [
            each["kind"].replace("_", " "),
            link(
                page.href("calls", status="failed", provider=each["provider"], model=each["model"]),
                _name(each),
            ),
            count(each["attempts"]),
            count(each["calls"]),
            moment(each["last_at"]),
        ]
        for each in errors
    ]
    columns = ("What", "Model", "Attempts that failed so", "Calls that failed for good", "Last seen")
    return table(columns, rows, caption="Errors", numbers=(2, 3)) if rows else Markup("<p>Nothing.</p>")


VIEW = View("analytics", "Analytics", "n", draw)
