"""From a finished sweep to the page: what was asked, what came out, why, and how to get it again."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
from bokeh.resources import Resources
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from domain.clustering.selection import RULES
from domain.errors import Rejected
from interfaces.report.charts import Points, Series, documents, look_of, metric_chart, scatter_chart

MOST_POINTS = 5_000
SHOWN_CHARACTERS = 240
HOVER_CHARACTERS = 160
REPRESENTATIVES_AT_ONCE = 3


@dataclass(frozen=True, eq=False)
class ReportData:
    """Everything on the page; nothing is looked up while it is rendered.

    sweep: the finished sweep in the shape of the interfaces' JSON
    labels: (n_texts,) int32, the cluster of each row for the chosen K, −1 for none; scatter: (n_texts, 2) float32
    view: (n_texts, 2) float32, a second map, if one was asked for
    texts, true_labels: one a row, where there are some
    command: what reproduces the sweep; facts: further lines under "Data", by name
    explained_variance: fractions of the variance along the scatter's two axes
    """

    sweep: Mapping[str, Any]
    labels: NDArray[np.int32]
    scatter: NDArray[np.float32]
    command: str
    texts: Sequence[str] | None = None
    true_labels: Sequence[str] | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    explained_variance: tuple[float, float] | None = None
    view: NDArray[np.float32] | None = None


def render(data: ReportData) -> str:
    """Make the page: self-contained, and the same bytes for the same data. Raises Rejected for an unfinished sweep."""
    if data.sweep.get("chosen_k") is None:
        raise Rejected(f"Sweep {data.sweep.get('sweep_id')} isn't finished, so there is no K to report", fields=("id",))
    charts = _metric_charts(data)
    clusters = _clusters(data)
    scatter = _scatter(data, clusters, data.scatter)
    umap = None if data.view is None else _scatter(data, clusters, data.view, axes=("UMAP 1", "UMAP 2"))
    plots = [*(chart["plot"] for chart in charts), scatter["plot"], *([] if umap is None else [umap["plot"]])]
    view = {
        "sweep": data.sweep,
        "chosen": _chosen_step(data.sweep),
        "title": _title(data),
        "lead": _lead(data),
        "has_texts": data.texts is not None,
        "figures": _key_figures(data),
        "asked": _asked(data),
        "charts": charts,
        "scatter": scatter,
        "umap": umap,
        "noise": int(np.count_nonzero(data.labels < 0)),
        "rule": _rule(data),
        "clusters": clusters,
        "told": any(cluster["keywords"] for cluster in clusters),
        "fell_back": [cluster["number"] for cluster in clusters if cluster["fell_back"]],
        "rounds": _rounds(data.sweep),
        "columns": [column for column in STEP_COLUMNS if any(_number(s, column[0]) for s in data.sweep["steps"])],
        "provenance": _provenance(data.sweep),
        "command": data.command,
        "documents": _as_script_json(documents(plots)),
        "style": Markup(_asset("page.css")),  # noqa: S704 - our own file
        "script": Markup(_asset("page.js")),  # noqa: S704 - our own file
        "bokeh": Markup(_bokeh_script()),  # noqa: S704 - the library's own bundle
    }
    return str(_template().render(view))


STEP_COLUMNS = (
    ("silhouette", "Silhouette"),
    ("stability_ari_mean", "Stability, mean ARI"),
    ("stability_ari_std", "± std"),
    ("objective", "Objective"),
    ("dispersion", "Dispersion"),
    ("coverage", "Coverage"),
    ("iterations", "Iterations"),
    ("calinski_harabasz", "Calinski-Harabasz"),
    ("davies_bouldin", "Davies-Bouldin"),
    ("silhouette_euclidean", "Silhouette, Euclidean"),
    ("gap", "Gap"),
    ("gap_s", "± s"),
    ("prediction_strength", "Prediction strength"),
    ("prediction_strength_std", "± std"),
    ("bic", "BIC"),
    ("acc", "ACC"),
    ("nmi", "NMI"),
    ("ari", "ARI"),
    ("v_measure", "V-measure"),
    ("homogeneity", "Homogeneity"),
    ("completeness", "Completeness"),
)


def _title(data: ReportData) -> str:
    name = data.sweep.get("source", {}).get("dataset_name") or data.facts.get("source_name") or "vectors"
    return f"The clusters of {name}"


def _lead(data: ReportData) -> str:
    sweep = data.sweep
    what = "texts" if data.texts is not None else "vectors"
    return f"{len(data.labels):,} {what} fall into {sweep['chosen_k']} clusters ({sweep['method']})."


def _rounds(sweep: Mapping[str, Any]) -> dict[str, int] | None:
    """How often the chosen K's centroids were to be replaced by summaries, and how often that failed."""
    rounds = [done for done in sweep.get("rounds") or () if done["k"] == sweep["chosen_k"]]
    if not rounds:
        return None
    counts = {"count": len(rounds), "summaries": sum(len(done["summaries"]) for done in rounds)}
    return {**counts, "fell_back": sum(done["fell_back"] for done in rounds)}


def _chosen_step(sweep: Mapping[str, Any]) -> Mapping[str, Any]:
    return next(step for step in sweep["steps"] if step["k"] == sweep["chosen_k"])


def _key_figures(data: ReportData) -> list[tuple[str, str, str]]:
    """The numbers to see first: (name, value, what it says)."""
    step = _chosen_step(data.sweep)
    figures = [
        ("Silhouette", _number(step, "silhouette"), "−1 to 1; how much closer to the own cluster than to the next"),
        ("Stability", _number(step, "stability_ari_mean"), "mean ARI between restarts; 1 when all agree"),
        ("ACC", _number(step, "acc"), "share of texts whose cluster, matched one to one, is their label's"),
        ("NMI", _number(step, "nmi"), "information shared with the labels, 0 to 1"),
        ("ARI", _number(step, "ari"), "pairs treated alike by clusters and labels; 0 is chance"),
        ("Noise", _number(step, "noise") if step.get("noise") else "", "rows that belong to no cluster"),
    ]
    return [figure for figure in figures if figure[1]]


def _asked(data: ReportData) -> list[tuple[str, str]]:
    """What was asked, on which data, with which method."""
    config, source = data.sweep.get("config", {}), data.sweep.get("source", {})
    k_values = config.get("k_values") or [step["k"] for step in data.sweep["steps"]]
    model = " / ".join(filter(None, (source.get("embedding_provider"), source.get("embedding_model"))))
    parameters = _listed(config.get("parameters"))
    choosing = config.get("choosing") or {}
    rule = config.get("choose_by") or ""
    rule_parameters = _listed(choosing.get("parameters"))
    lines = [
        ("Data", source.get("dataset_name")),
        ("Rows", f"{len(data.labels):,}" + (" with labels" if data.true_labels is not None else "")),
        ("Vectors", f"{source['n_features']:,} dimensions" if source.get("n_features") else None),
        ("Embedded by", model),
        *data.facts.items(),
        ("Method", data.sweep["method"] + (f" ({parameters})" if parameters else "")),
        ("K", f"{min(k_values)} to {max(k_values)}" if config.get("k_values") != [] else "found by the method"),
        ("K chosen by", rule + (f" ({rule_parameters})" if rule_parameters else "")),
        ("Measured besides", ", ".join(choosing.get("also_measure") or ())),
        ("Restarts for each K", config.get("restarts")),
        ("Most iterations", config.get("max_iterations")),
        ("Preparation", _preparation(config)),
        ("Principal components", config.get("pca_dim") or "none: the vectors themselves"),
        ("Seed", config.get("seed")),
        ("Clusters named by", config.get("summarise")),
    ]
    return [(name, str(value)) for name, value in lines if value not in (None, "")]


def _listed(values: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{name} = {value}" for name, value in (values or {}).items())


def _preparation(config: Mapping[str, Any]) -> str:
    """What was done to the rows before they were clustered, in words and in its order."""
    asked = config.get("preparation") or {}
    projected, centre = bool(config.get("pca_dim")), asked.get("centre")
    done = [
        "rows scaled to length 1" if asked.get("unit_norm", True) else "",
        "mean subtracted" if centre or (centre is None and projected) else "",
        "projected" if projected else "",
        "rows scaled to length 1 again" if asked.get("unit_norm_after") else "",
    ]
    return ", ".join(filter(None, done)) or "none: the vectors as they are"


class Curve(NamedTuple):
    """A chart of the section on K: which numbers it shows, and which spreads."""

    title: str
    caption: str
    names: tuple[str, ...]
    spread: str | None = None
    spread_name: str = "standard deviation"


CURVES = (
    Curve("Silhouette", "Higher is better: texts lie closer to their own cluster than to the next.", ("silhouette",)),
    Curve(
        "Stability",
        "Mean ARI between restarts, ± one standard deviation; 1 when every restart finds the same clusters.",
        ("stability_ari_mean",),
        "stability_ari_std",
    ),
    Curve("Objective", "What the method minimises; it falls with K, so look for the bend.", ("objective",)),
    Curve(
        "Gap",
        "How much tighter than rows without clusters, ± the error s; the first K that the next doesn't clearly exceed.",
        ("gap",),
        "gap_s",
        "error s",
    ),
    Curve(
        "log W",
        "The logarithm of the spread within clusters: of the data, and expected of rows without clusters.",
        ("log_w", "log_w_expected"),
    ),
    Curve(
        "Prediction strength",
        "Pairs of one half that the other half's clusters put together too, in the weakest cluster, ± one standard "
        "deviation over the splits; the last K above the threshold.",
        ("prediction_strength",),
        "prediction_strength_std",
    ),
    Curve("BIC", "Bayesian information criterion; lower is better.", ("bic",)),
    Curve("Silhouette, Euclidean", "The same by Euclidean distance; higher is better.", ("silhouette_euclidean",)),
    Curve("Calinski-Harabasz", "Spread between clusters over spread within; higher is better.", ("calinski_harabasz",)),
    Curve("Davies-Bouldin", "Likeness of each cluster to the one most like it; lower is better.", ("davies_bouldin",)),
    Curve("Dispersion", "Mean cosine distance of a text to its cluster's centre; lower is tighter.", ("dispersion",)),
    Curve("Coverage", "Share of texts within cosine distance {threshold:g} of their cluster's centre.", ("coverage",)),
    Curve(
        "Agreement with labels",
        "Accuracy, mutual information, Rand index and V-measure; 1 is perfect.",
        ("acc", "nmi", "ari", "v_measure"),
    ),
)
SPOKEN_NAMES = {"v_measure": "V-measure", "log_w": "data", "log_w_expected": "expected"}


def _rule(data: ReportData) -> str:
    """What the rule goes by, in a sentence; nothing where the method found K itself."""
    rule = RULES.get(str(data.sweep.get("chosen_by")))
    if rule is None:
        return ""
    return f"The rule is {rule.name}: {rule.description}" + (f" ({rule.source})" if rule.source else "")


def _metric_charts(data: ReportData) -> list[dict[str, Any]]:
    """A chart for each curve that was measured; that of the rule that chose comes first."""
    steps = sorted(data.sweep["steps"], key=lambda step: step["k"])
    rule = RULES.get(str(data.sweep.get("chosen_by")))
    decisive = None if rule is None else rule.reads
    ordered = sorted(CURVES, key=lambda curve: decisive not in curve.names)
    return [chart for curve in ordered if (chart := _metric_chart(data, steps, curve, decisive in curve.names))]


def _metric_chart(
    data: ReportData, steps: Sequence[Mapping[str, Any]], curve: Curve, decides: bool
) -> dict[str, Any] | None:
    columns = {name: [step.get(name) for step in steps] for name in curve.names}
    measured = {name: values for name, values in columns.items() if any(value is not None for value in values)}
    if not measured:
        return None
    spread = None if curve.spread is None else [step.get(curve.spread) for step in steps]
    chosen_k = data.sweep["chosen_k"]
    series = [
        Series(
            SPOKEN_NAMES.get(name, name.upper()) if len(curve.names) > 1 else curve.title,
            values,
            spread,
            curve.spread_name,
        )
        for name, values in measured.items()
    ]
    at_chosen = ", ".join(
        f"{line.name} {_short(value)}"
        for line in series
        for step, value in zip(steps, line.values, strict=True)
        if step["k"] == chosen_k and value is not None
    )
    k_values = [step["k"] for step in steps]
    title = curve.title
    spoken = f"{title} against K from {k_values[0]} to {k_values[-1]}. At the chosen K = {chosen_k}: {at_chosen}."
    threshold = data.sweep.get("config", {}).get("coverage_threshold", 0.2)
    return {
        "title": title,
        "caption": curve.caption.format(threshold=threshold),
        "decides": decides,
        "spoken": spoken,
        "plot": metric_chart(k_values, series, chosen_k, title if len(series) == 1 else "fraction"),
    }


def _scatter(
    data: ReportData,
    clusters: Sequence[Mapping[str, Any]],
    places: NDArray[np.float32],
    *,
    axes: tuple[str, str] = ("First principal component", "Second principal component"),
) -> dict[str, Any]:
    count = len(data.labels)
    rows = list(range(count))
    if count > MOST_POINTS:
        # Drawn by a fixed seed, so that the page stays the same, and not by stride, which would follow any order.
        rows = sorted(np.random.default_rng(0).choice(count, MOST_POINTS, replace=False).tolist())
    names = {cluster["number"]: _clipped(cluster["name"], 60) for cluster in clusters}
    labels = data.labels[rows]
    points = Points(
        x=places[rows, 0].astype(np.float64),
        y=places[rows, 1].astype(np.float64),
        cluster=labels,
        text=[f"row {row}" if data.texts is None else _clipped(data.texts[row], HOVER_CHARACTERS) for row in rows],
        cluster_name=[names.get(int(cluster), "") for cluster in labels],
        true_label=None if data.true_labels is None else [_clipped(data.true_labels[row], 60) for row in rows],
    )
    middles = [
        (int(cluster), float(np.median(own[:, 0])), float(np.median(own[:, 1])))
        for cluster in np.unique(data.labels[data.labels >= 0])
        for own in [places[data.labels == cluster]]
    ]
    return {
        "shown": len(rows),
        "count": count,
        "variance": None if data.explained_variance is None else f"{sum(data.explained_variance):.0%}",
        "plot": scatter_chart(points, middles, axes=axes),
    }


def _clusters(data: ReportData) -> list[dict[str, Any]]:
    return [
        {
            "number": cluster["cluster"],
            "name": _clipped(cluster["name"], SHOWN_CHARACTERS),
            "size": cluster["size"],
            "share": cluster["size"] / max(1, len(data.labels)),
            "look": look_of(cluster["cluster"]),
            "first": [
                _clipped(text, SHOWN_CHARACTERS) for text in cluster["representatives"][:REPRESENTATIVES_AT_ONCE]
            ],
            "more": [_clipped(text, SHOWN_CHARACTERS) for text in cluster["representatives"][REPRESENTATIVES_AT_ONCE:]],
            "common": _most_common_label(data, cluster["cluster"]),
            "fell_back": bool(cluster.get("fell_back")),
            "keywords": [_clipped(word, 60) for word in cluster.get("keywords") or ()],
        }
        for cluster in data.sweep["clusters"]
    ]


def _most_common_label(data: ReportData, cluster: int) -> tuple[str, float] | None:
    """The label most of a cluster's rows have, and their share of it (its purity); ties go to the first by name."""
    if data.true_labels is None:
        return None
    counts = Counter(data.true_labels[row] for row in np.flatnonzero(data.labels == cluster).tolist())
    if not counts:
        return None
    label, count = min(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return _clipped(label, 80), count / counts.total()


def _provenance(sweep: Mapping[str, Any]) -> list[tuple[str, str]]:
    source = sweep.get("source", {})
    lines = [
        ("Sweep", sweep.get("sweep_id")),
        ("Fingerprint", sweep.get("fingerprint")),
        ("Run group", sweep.get("run_group_id")),
        ("Dataset", source.get("dataset_id")),
        ("Vectors", source.get("vectors_id")),
        ("Embedding group", source.get("embedding_group_id")),
        ("Vectors, SHA-256", source.get("vectors_sha256")),
        ("Texts, SHA-256", source.get("texts_sha256")),
        ("Labels, SHA-256", source.get("labels_sha256")),
        ("Chosen step's clusters, SHA-256", _chosen_step(sweep).get("labels_sha256")),
        ("Seed", sweep.get("config", {}).get("seed")),
        ("Software", ", ".join(f"{name} {version}" for name, version in sorted(sweep.get("software", {}).items()))),
        ("Duration", None if sweep.get("duration_s") is None else f"{sweep['duration_s']:.1f} s"),
    ]
    return [(name, str(value)) for name, value in lines if value not in (None, "")]


def _number(step: Mapping[str, Any], name: str) -> str:
    value = step.get(name)
    return "" if value is None else _short(value)


def _short(value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3f}".replace("-", "−") if abs(value) < 1000 else f"{value:,.1f}"


def _clipped(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[: characters - 1].rstrip() + "…"


def _as_script_json(value: Any) -> Markup:
    """JSON that may stand inside a script element: nothing in it can end the element or begin markup."""
    encoded = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    for character in "<>&":
        encoded = encoded.replace(character, f"\\u{ord(character):04x}")
    return Markup(encoded)  # noqa: S704 - escaped just above


@cache
def _bokeh_script() -> str:
    return "\n".join(Resources(mode="inline", components=["bokeh"]).js_raw)


@cache
def _asset(name: str) -> str:
    return files("interfaces.report").joinpath(name).read_text(encoding="utf-8")


@cache
def _template() -> Any:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = _number
    return environment.from_string(_asset("page.html"))
