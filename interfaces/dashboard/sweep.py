"""One sweep: what it was asked, how far it is, its curves, and its clusters for every K."""

from typing import Any
from uuid import UUID

from markupsafe import Markup

from domain.errors import NotFound, Rejected
from domain.sweeps import LEFT_TO_SERVERS
from interfaces.dashboard.charts import against_k
from interfaces.dashboard.documents import REPORT_AT
from interfaces.dashboard.figures import UNKNOWN, badge, count, duration, moment
from interfaces.dashboard.page import Drawn, Page
from interfaces.dashboard.tables import cards, document, facts, link, section, table
from interfaces.report.curves import measured_columns, measured_curves

UNFINISHED = Markup('<p class="note">The clusters are shown once the sweep is finished.</p>')


async def draw_sweep(page: Page, sweep_id: str) -> Drawn:
    """The page of a sweep. Raises NotFound, also when it had not been asked for at the moment that is looked at."""
    sweep = await page.study.sweeps.get(sweep_id, page.moment)
    parts: list[Markup | Any] = [
        Markup('<p class="id"><code>{}</code> · {}</p>').format(sweep["sweep_id"], link(page.href(), "all sweeps")),
        cards(_figures(sweep)),
    ]
    if sweep["reason"]:
        parts.append(Markup('<p class="failure" role="alert">{}</p>').format(sweep["reason"]))
    if sweep["explanation"]:
        parts.append(section(f"Why K = {sweep['chosen_k']}", Markup("<p>{}</p>").format(sweep["explanation"])))
    parts += await _what_is_there(page, sweep)
    parts += [section("K by K", _steps(sweep)), section("Recorded", facts(_record(page, sweep)), *_documents(sweep))]
    return Drawn(f"Sweep of {sweep['dataset_name'] or 'vectors'}", tuple(parts))


async def _what_is_there(page: Page, sweep: dict[str, Any]) -> list[Any]:
    parts: list[Any] = []
    if sweep["status"] in (*LEFT_TO_SERVERS, "running") and not page.is_past:
        parts += _progress(page, sweep)
    if sweep["steps"]:
        parts.append(section("Against K", _curves(sweep)))
    if sweep["status"] != "finished":
        return [*parts, UNFINISHED]
    return [*parts, Markup("<h2>The clusters</h2>"), *await _clusters(page, sweep)]


def _curves(sweep: dict[str, Any]) -> Markup:
    """A chart for each number that was measured, with its spread; that of the rule comes first."""
    at = sweep["chosen_k"] or sweep["steps"][-1]["k"]
    drawn = [
        Markup('<div><p class="title">{}{}</p><p class="note">{}</p>{}</div>').format(
            each.title,
            " (K is chosen by this)" if each.decides else "",
            each.caption,
            against_k(each.spoken, each.k_values, each.series, each.chosen_k),
        )
        for each in measured_curves({**sweep, "chosen_k": at})
    ]
    return Markup('<div class="curves">{}</div>').format(Markup("").join(drawn))


def _progress(page: Page, sweep: dict[str, Any]) -> list[Any]:
    from interfaces.dashboard.sweep_progress import SweepProgress

    progress = SweepProgress(page)

    async def begin() -> None:
        progress.begin(UUID(sweep["sweep_id"]))

    page.when_shown(begin)
    page.when_left(progress.end)
    return list(progress.parts)


async def _clusters(page: Page, sweep: dict[str, Any]) -> tuple[Any, ...]:
    from interfaces.dashboard.sweep_map import SweepMap

    data = await page.study.reports.data(sweep["sweep_id"], page.moment)
    asked = page.text("k")
    if asked is not None and not (asked.isascii() and asked.isdecimal() and len(asked) < 10):
        raise Rejected(f"k: {asked[:40]!r} is no number of clusters", fields=("k",))
    k = sweep["chosen_k"] if asked is None else int(asked)
    if k not in [step["k"] for step in sweep["steps"]]:
        raise NotFound(f"K = {k} was not swept; there are {', '.join(str(step['k']) for step in sweep['steps'])}")
    return SweepMap(page, data, await page.study.reports.of_k(data, k)).parts


def _figures(sweep: dict[str, Any]) -> list[tuple[str, str | Markup]]:
    source, took = sweep["source"] or {}, sweep["duration_s"]
    return [
        ("Status", badge(sweep["status"])),
        ("K chosen", count(sweep["chosen_k"])),
        ("Method", sweep["method"]),
        ("Rows", count(source.get("n_samples"))),
        ("Chosen by", sweep["chosen_by"] or UNKNOWN),
        ("Took", duration(None if took is None else took * 1000)),
    ]


def _steps(sweep: dict[str, Any]) -> Markup:
    if not sweep["steps"]:
        return Markup("<p>No K is done yet.</p>")
    columns = measured_columns(sweep)
    rows = [
        [
            f"{step['k']} (chosen)" if step["k"] == sweep["chosen_k"] else str(step["k"]),
            *(UNKNOWN if step.get(name) is None else f"{step[name]:,.3f}" for name, _ in columns),
        ]
        for step in sweep["steps"]
    ]
    head = ("K", *(label for _, label in columns))
    numbers = range(1, len(head))
    shown = table(head, rows, caption="What was measured for each K", numbers=numbers)
    return Markup("<details><summary>The curves as a table</summary>{}</details>").format(shown)


def _record(page: Page, sweep: dict[str, Any]) -> list[tuple[str, str | Markup]]:
    sweep_id, source = sweep["sweep_id"], sweep["source"] or {}
    told: list[tuple[str, str | Markup]] = []
    if sweep["status"] == "finished":
        html, markdown = (page.way_to(REPORT_AT, sweep=sweep_id, format=kind) for kind in ("", "md"))
        ways = link(html, "The report to keep or to send"), link(markdown, "as Markdown")
        told.append(("Report", Markup(", ").join(ways)))
    if source.get("embedding_group_id"):
        embedded = f"{source['embedding_provider']} / {source['embedding_model']}"
        told.append(("Embedded by", link(page.href("groups", group=source["embedding_group_id"]), embedded)))
    if sweep["run_group_id"]:
        told.append(
            ("Group of the run", link(page.href("groups", group=sweep["run_group_id"]), "The run and its steps"))
        )
    return [
        *told,
        ("Asked for", moment(sweep["requested_at"] or sweep["started_at"])),
        ("Started", moment(sweep["started_at"])),
        ("Finished", moment(sweep["finished_at"])),
        ("By", sweep["actor"]),
        ("Fingerprint", Markup("<code>{}</code>").format(sweep["fingerprint"] or "–")),
        ("History", link(page.href("events", entity=sweep_id, after=0), "Every event of this sweep")),
        ("Provenance", link(page.href("provenance", kind="sweep", id=sweep_id), "What it came from")),
    ]


def _documents(sweep: dict[str, Any]) -> list[Markup]:
    wanted = {"Configuration": sweep["config"], "Data": sweep["source"], "Software": sweep["software"]}
    return [document(title, content) for title, content in wanted.items() if content]
