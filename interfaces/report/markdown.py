"""The report as Markdown: the same numbers and words, to be read in a terminal, a diff or a pull request."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from interfaces.report.agreement import labels_found_in
from interfaces.report.asked import asked, key_figures, lead, provenance, title
from interfaces.report.clusters import cluster_rows
from interfaces.report.curves import measured_columns, rule_told
from interfaces.report.data import ReportData, check_finished
from interfaces.report.troubles import doubts, fallbacks
from interfaces.report.wording import number

BARS = "▁▂▃▄▅▆▇█"
NO_MAP = "The map of the rows is in the page, which `study report {} --out report.html` writes."
SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~$])")
NUMBERED = re.compile(r"[−-]?[\d,]+(\.\d+)?%?")


def to_markdown(data: ReportData) -> str:
    """Make the report: plain text whatever the texts say. Raises Rejected for an unfinished sweep."""
    check_finished(data)
    sweep = data.sweep
    sections = [
        f"# {_plain(title(data))}",
        f"{_plain(lead(data))} {_plain(sweep['explanation'])}",
        _table(("", "", ""), key_figures(data)),
        "## The clusters",
        _plain(NO_MAP.format(data.sweep["sweep_id"])),
        *_clusters(data),
        f"## Why K = {sweep['chosen_k']}",
        _plain(" ".join(filter(None, (sweep["explanation"], rule_told(data))))),
        *_curves(sweep),
        *_agreement(data),
        "## Failures and fallbacks",
        _troubles(data),
        "## What was asked",
        _table(("", ""), asked(data)),
        "## Get it again",
        "On the same notebook this finds the finished sweep; on a new one it computes it afresh.",
        _code(data.command),
        *map(_plain, data.unsaid),
        _table(("", ""), provenance(sweep)),
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def _clusters(data: ReportData) -> list[str]:
    clusters = cluster_rows(data)
    rows = [
        (
            str(cluster["number"]),
            cluster["name"] + (" (fallback)" if cluster["fell_back"] else ""),
            f"{cluster['size']:,}",
            f"{cluster['share']:.1%}",
            f"{cluster['common'][0]} ({cluster['common'][1]:.0%})" if cluster["common"] else "",
            ", ".join(cluster["keywords"]),
        )
        for cluster in clusters
    ]
    table = _table(("Cluster", "Name", "Size", "Share", "Most common label (purity)", "Keywords"), rows)
    texts = [
        f"**{cluster['number']}: {_plain(cluster['name'])}**\n\n"
        + "\n".join(f"- {_plain(text)}" for text in (*cluster["first"], *cluster["more"]))
        for cluster in clusters
        if cluster["first"]
    ]
    return [table, *(["### Representative texts", *texts] if texts else [])]


def _curves(sweep: Mapping[str, Any]) -> list[str]:
    """Each curve at a glance, then every number."""
    columns, steps = measured_columns(sweep), sweep["steps"]
    chosen_k = sweep["chosen_k"]
    chosen = next(step for step in steps if step["k"] == chosen_k)
    glances = [
        (heading, sparkline([step.get(name) for step in steps]), number(chosen, name))
        for name, heading in columns
        if not heading.startswith("±")
    ]
    numbers = [
        (f"{step['k']}{' (chosen)' if step['k'] == chosen_k else ''}", *(number(step, name) for name, _ in columns))
        for step in steps
    ]
    k_values = f"K = {steps[0]['k']} to {steps[-1]['k']}"
    return [
        _table(("", k_values, f"at K = {chosen_k}"), glances) if len(steps) > 1 else "",
        _table(("K", *(heading for _, heading in columns)), numbers),
    ]


def sparkline(values: Sequence[float | None]) -> str:
    """A curve as a line of bars from its least to its greatest value; a gap where there is none."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    least, span = min(known), max(known) - min(known)
    steps = len(BARS) - 1
    return "".join(
        " " if value is None else BARS[round((value - least) / span * steps) if span else 0] for value in values
    )


def _agreement(data: ReportData) -> list[str]:
    rows = [
        (row["label"], f"{row['size']:,}", row["cluster"], f"{row['share']:.0%}", str(row["spread_over"]))
        for row in labels_found_in(data)
    ]
    if not rows:
        return []
    said = "The labels had no part in the clustering; they only judge it. Where the rows of each label went:"
    headings = ("Label", "Rows", "Most in cluster", "Share there", "Clusters it is spread over")
    return ["## Agreement with the labels", said, _table(headings, rows)]


def _troubles(data: ReportData) -> str:
    told = [*data.troubles, *fallbacks(data.sweep), *doubts(data.sweep)]
    if not told:
        return "Nothing failed, nothing was repeated, and nothing stands in for anything else."
    return "\n".join(f"- {_plain(where)}: {_plain(what)}" for where, what in told)


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table without the columns in which nothing stands; numbers are set to the right."""
    held = list(rows)
    kept = [place for place in range(len(headings)) if any(row[place] for row in held)]
    if not kept:
        return ""
    rule = ["---:" if all(NUMBERED.fullmatch(row[place]) for row in held if row[place]) else "---" for place in kept]
    lines = [[_plain(headings[place]) for place in kept], rule]
    lines += [[_plain(row[place]) for place in kept] for row in held]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _plain(text: str) -> str:
    """A text that Markdown shows as it is, in one line: no markup, no HTML, no cell of a table ends in it."""
    return SPECIAL.sub(r"\\\1", " ".join(text.replace("&", "&amp;").split()))


def _code(text: str) -> str:
    """A block of code that nothing in the text can end."""
    longest = max((len(ticks) for ticks in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{text}\n{fence}"
