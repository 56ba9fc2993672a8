"""What was measured for each K: the curves, and the same as a table."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from domain.clustering.selection import RULES
from interfaces.report.data import ReportData
from interfaces.report.looks import Series
from interfaces.report.wording import number, short

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


class MeasuredCurve(NamedTuple):
    """A curve with its numbers, one for each K; decides: whether the rule that chose K goes by it."""

    title: str
    caption: str
    decides: bool
    spoken: str
    k_values: Sequence[int]
    series: Sequence[Series]
    chosen_k: int


def measured_curves(sweep: Mapping[str, Any]) -> list[MeasuredCurve]:
    """The curves that were measured; that of the rule that chose comes first."""
    steps = sorted(sweep["steps"], key=lambda step: step["k"])
    rule = RULES.get(str(sweep.get("chosen_by")))
    decisive = None if rule is None else rule.reads
    ordered = sorted(CURVES, key=lambda curve: decisive not in curve.names)
    return [found for curve in ordered if (found := _measured(sweep, steps, curve, decisive in curve.names))]


def _measured(
    sweep: Mapping[str, Any], steps: Sequence[Mapping[str, Any]], curve: Curve, decides: bool
) -> MeasuredCurve | None:
    columns = {name: [step.get(name) for step in steps] for name in curve.names}
    measured = {name: values for name, values in columns.items() if any(value is not None for value in values)}
    if not measured:
        return None
    spread = None if curve.spread is None else [step.get(curve.spread) for step in steps]
    chosen_k = sweep["chosen_k"]
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
        f"{line.name} {short(value)}"
        for line in series
        for step, value in zip(steps, line.values, strict=True)
        if step["k"] == chosen_k and value is not None
    )
    k_values = [step["k"] for step in steps]
    spoken = f"{curve.title} against K from {k_values[0]} to {k_values[-1]}. At the chosen K = {chosen_k}: {at_chosen}."
    caption = curve.caption.format(threshold=sweep.get("config", {}).get("coverage_threshold", 0.2))
    return MeasuredCurve(curve.title, caption, decides, spoken, k_values, series, chosen_k)


def rule_told(data: ReportData) -> str:
    """What the rule goes by, in a sentence; nothing where the method found K itself."""
    rule = RULES.get(str(data.sweep.get("chosen_by")))
    if rule is None:
        return ""
    return f"The rule is {rule.name}: {rule.description}" + (f" ({rule.source})" if rule.source else "")


def measured_columns(sweep: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The numbers that at least one K has, as (name, heading)."""
    return [column for column in STEP_COLUMNS if any(number(step, column[0]) for step in sweep["steps"])]
