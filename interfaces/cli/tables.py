"""What people see in the terminal: tables, a small plot, and short forms of things."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from interfaces.cli.terminal import visible

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

UUID_LENGTH = 36
BARS = "▁▂▃▄▅▆▇█"
MEASURED_WHEN_ASKED = {
    "gap": "gap",
    "gap_s": "± s",
    "prediction_strength": "prediction",
    "prediction_strength_std": "± std",
    "silhouette_euclidean": "silhouette, Euclidean",
    "bic": "BIC",
}


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str | None = None) -> "Table":
    """A plain table; numbers are aligned to the right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for place, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[place], (int, float)) or row[place] is None for row in rows)
        ids = bool(rows) and all(len(str(row[place])) == UUID_LENGTH for row in rows)
        made.add_column(column, justify="right" if numeric else "left", overflow="fold", no_wrap=ids)
    for row in rows:
        made.add_row(*(value if isinstance(value, Text) else Text(shown(value)) for value in row))
    return made


def marked(excerpts: Sequence[Mapping[str, Any]]) -> "Text":
    """Parts of texts, one a line, each mark of theirs in bold; nothing that a terminal would obey."""
    from rich.text import Text

    made = Text()
    for number, excerpt in enumerate(excerpts):
        made.append(f"{chr(10) if number else ''}{excerpt['part']}: {'… ' if excerpt['omitted_before'] else ''}", "dim")
        at, text = 0, excerpt["text"]
        for begin, end in excerpt["marks"]:
            made.append(visible(" ".join(text[at:begin].split("\n"))))
            made.append(visible(text[begin:end]), "bold")
            at = end
        made.append(visible(" ".join(text[at:].split("\n"))))
        made.append(" …" if excerpt["omitted_after"] else "", "dim")
    return made


def shown(value: Any) -> str:
    """A value as people read it: three decimals, a dash for nothing, and nothing that a terminal would obey."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}"
    return visible(str(value))


def short(text: str | None, length: int = 60) -> str:
    """One line of bounded length."""
    line = " ".join((text or "").split())
    return line if len(line) <= length else line[: length - 1] + "…"


def sparkline(values: Sequence[float | None]) -> str:
    """A curve in one line; a dot where there is no value."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, span = min(known), (max(known) - min(known)) or 1.0
    return "".join("·" if value is None else BARS[round((value - low) / span * (len(BARS) - 1))] for value in values)


def steps_table(sweep: Mapping[str, Any]) -> "Table":
    """A sweep's steps; the chosen one is marked."""
    labelled = any(step.get("nmi") is not None for step in sweep["steps"])
    asked = [name for name in MEASURED_WHEN_ASKED if any(step.get(name) is not None for step in sweep["steps"])]
    columns = ["", "K", "silhouette", "stability", "±", "objective", "dispersion", "coverage"]
    rows = [
        [
            "→" if step["k"] == sweep["chosen_k"] else "",
            step["k"],
            step["silhouette"],
            step["stability_ari_mean"],
            step["stability_ari_std"],
            round(step["objective"], 1),
            step["dispersion"],
            step["coverage"],
            *(step.get(name) for name in asked),
            *([step["nmi"], step["ari"], step["acc"]] if labelled else []),
        ]
        for step in sweep["steps"]
    ]
    columns += [MEASURED_WHEN_ASKED[name] for name in asked]
    return table(columns + (["NMI", "ARI", "ACC"] if labelled else []), rows)


def clusters_table(sweep: Mapping[str, Any]) -> "Table":
    """The clusters of the chosen K, the largest first."""
    told = any(cluster.get("keywords") for cluster in sweep["clusters"])
    clusters = sorted(sweep["clusters"], key=lambda cluster: (-cluster["size"], cluster["cluster"]))
    rows = [
        [
            cluster["cluster"],
            cluster["size"],
            cluster["name"] + (" (fell back)" if cluster["fell_back"] else ""),
            *([", ".join(cluster.get("keywords") or ())] if told else []),
            "\n".join(short(text, 56) for text in cluster["representatives"][:2]),
        ]
        for cluster in clusters
    ]
    return table(["cluster", "size", "name", *(["keywords"] if told else []), "for example"], rows)
