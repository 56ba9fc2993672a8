"""Two sweeps side by side: what differed in what they were given, what they ran on and what came of them."""

from collections.abc import Iterator, Mapping
from typing import Any

Json = dict[str, Any]

# What a sweep's document holds under each heading. Names and ids say where data came from, hashes what they are.
HEADINGS: Mapping[str, tuple[str, ...]] = {
    "config": ("config",),
    "data": ("source",),
    "software": ("software",),
    "time": ("started_at", "finished_at", "gather_duration_s", "duration_s", "timings_s"),
    "run": ("status", "actor", "process", "fingerprint"),
    "result": ("chosen_k", "chosen_by"),
}
METRICS = (
    "objective",
    "iterations",
    "converged",
    "empty_clusters",
    "silhouette",
    "stability_ari_mean",
    "stability_ari_std",
    "dispersion",
    "coverage",
    "acc",
    "nmi",
    "ari",
    "homogeneity",
    "completeness",
    "v_measure",
    "silhouette_euclidean",
    "calinski_harabasz",
    "davies_bouldin",
    "noise",
    "gap",
    "gap_s",
    "prediction_strength",
    "prediction_strength_std",
    "bic",
    "labels_sha256",
)


def compare_sweeps(first: Json, second: Json, agreement: Mapping[tuple[int, int], float] | None) -> Json:
    """What differed, and what was equal.

    first, second: sweeps as queries answer them, with their steps
    agreement: the adjusted Rand index of labels, by the K of each; None if the two don't label the same rows
    Returns {first, second, differences: [{about, field, first, second}], equal: [field …], steps, agreement}.
    """
    differences: list[Json] = []
    equal: list[str] = []
    for about, members in HEADINGS.items():
        left, right = (_flat({name: sweep.get(name) for name in members}) for sweep in (first, second))
        for field in dict.fromkeys((*left, *right)):
            if left.get(field) == right.get(field):
                equal.append(field)
            else:
                difference = {"about": about, "field": field, "first": left.get(field), "second": right.get(field)}
                differences.append(difference)
    steps = list(_steps(first, second, agreement))
    chosen: tuple[Any, Any] = (first.get("chosen_k"), second.get("chosen_k"))
    return {
        "first": _named(first),
        "second": _named(second),
        "differences": differences,
        "equal": equal,
        "steps": steps,
        "same_rows": agreement is not None,
        "chosen_ari": (agreement or {}).get(chosen),
    }


def same_rows(first: Json, second: Json) -> bool:
    """Whether two sweeps label the same texts or vectors in the same order."""
    one, other = first["source"], second["source"]
    if one["n_samples"] != other["n_samples"]:
        return False
    return any(one.get(name) is not None and one.get(name) == other.get(name) for name in ROWS)


ROWS = ("vectors_sha256", "texts_sha256", "dataset_id")


def _named(sweep: Json) -> Json:
    return {name: sweep.get(name) for name in ("sweep_id", "dataset_name", "method", "status", "chosen_k", "position")}


def _flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Members of members by their path, `config.seed`."""
    found: dict[str, Any] = {}
    for name, value in document.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def _steps(first: Json, second: Json, agreement: Mapping[tuple[int, int], float] | None) -> Iterator[Json]:
    left, right = ({step["k"]: step for step in sweep["steps"]} for sweep in (first, second))
    for k in sorted({*left, *right}):
        one, other = left.get(k, {}), right.get(k, {})
        differ = [name for name in METRICS if one.get(name) != other.get(name)]
        yield {
            "k": k,
            "in_first": k in left,
            "in_second": k in right,
            "same_labels": bool(one) and one.get("labels_sha256") == other.get("labels_sha256"),
            "ari": (agreement or {}).get((k, k)),
            "differ": {name: {"first": one.get(name), "second": other.get(name)} for name in differ},
        }
