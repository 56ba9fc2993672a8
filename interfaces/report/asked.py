"""What was asked, what came out at a glance, and where it all comes from."""

from collections.abc import Mapping
from typing import Any

from interfaces.report.data import ReportData, chosen_step
from interfaces.report.wording import number


def title(data: ReportData) -> str:
    """What the report is called."""
    name = data.sweep.get("source", {}).get("dataset_name") or data.facts.get("source_name") or "vectors"
    return f"The clusters of {name}"


def lead(data: ReportData) -> str:
    """What came out, in a sentence."""
    sweep = data.sweep
    what = "texts" if data.texts is not None else "vectors"
    return f"{len(data.labels):,} {what} fall into {sweep['chosen_k']} clusters ({sweep['method']})."


def key_figures(data: ReportData) -> list[tuple[str, str, str]]:
    """The numbers to see first: (name, value, what it says)."""
    step = chosen_step(data.sweep)
    figures = [
        ("Silhouette", number(step, "silhouette"), "−1 to 1; how much closer to the own cluster than to the next"),
        ("Stability", number(step, "stability_ari_mean"), "mean ARI between restarts; 1 when all agree"),
        ("ACC", number(step, "acc"), "share of texts whose cluster, matched one to one, is their label's"),
        ("NMI", number(step, "nmi"), "information shared with the labels, 0 to 1"),
        ("ARI", number(step, "ari"), "pairs treated alike by clusters and labels; 0 is chance"),
        ("Noise", number(step, "noise") if step.get("noise") else "", "rows that belong to no cluster"),
    ]
    return [figure for figure in figures if figure[1]]


def asked(data: ReportData) -> list[tuple[str, str]]:
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


def provenance(sweep: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Ids and hashes of what went in and of what came out, and the software: (name, value)."""
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
        ("Chosen step's clusters, SHA-256", chosen_step(sweep).get("labels_sha256")),
        ("Seed", sweep.get("config", {}).get("seed")),
        ("Software", ", ".join(f"{name} {version}" for name, version in sorted(sweep.get("software", {}).items()))),
        ("Duration", None if sweep.get("duration_s") is None else f"{sweep['duration_s']:.1f} s"),
    ]
    return [(name, str(value)) for name, value in lines if value not in (None, "")]
