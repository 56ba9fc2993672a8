"""A sweep that could be, as a report is made of it, and a report as a browser reads it."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np

from interfaces.report import ReportData

NASTY = """</script><script>alert(1)</script><img src=x onerror="alert(1)"> & 'quotes' <!-- {{ 7*7 }}"""


def report_data(n: int = 60, k: int = 3, **changes: Any) -> ReportData:
    labels = (np.arange(n) % k).astype(np.int32)
    sweep = {
        "sweep_id": "5d1c3f52-6d0a-5a0e-9a53-0c6b7d9b41aa",
        "fingerprint": "f" * 64,
        "status": "finished",
        "method": "k-means",
        "chosen_k": k,
        "chosen_by": "silhouette",
        "explanation": f"K={k} has the highest mean silhouette.",
        "steps": [step(2), step(k), step(k + 1)],
        "clusters": [
            {
                "cluster": cluster,
                "size": int((labels == cluster).sum()),
                "name": f"topic {cluster}",
                "representatives": [f"text {row}" for row in range(cluster, 8 * k, k)],
                "fell_back": cluster == 1,
            }
            for cluster in range(k)
        ],
        "config": {"k_values": [2, k, k + 1], "restarts": 5, "seed": 7, "pca_dim": 64, "parameters": {}},
        "source": {"dataset_name": "intents", "embedding_provider": "local", "embedding_model": "local-ngrams"},
        "software": {"numpy": "2.4.6"},
        "duration_s": 1.25,
    }
    data = ReportData(
        sweep=sweep,
        labels=labels,
        scatter=np.random.default_rng(0).normal(size=(n, 2)).astype(np.float32),
        command="study sweep run intents --seed 7",
        texts=tuple(f"text {row}" for row in range(n)),
        true_labels=tuple(f"label {row % 2}" for row in range(n)),
    )
    return replace(data, **changes)


def step(k: int, **changes: Any) -> dict[str, Any]:
    return {
        "k": k,
        "objective": 100.0 / k,
        "iterations": 9,
        "silhouette": 0.123456,
        "stability_ari_mean": 0.75,
        "stability_ari_std": 0.05,
        "dispersion": 0.4,
        "coverage": 0.2,
        "acc": 0.51,
        "nmi": 0.62,
        "ari": 0.43,
        "labels_sha256": "a" * 64,
        **changes,
    }


FURTHER = {
    "silhouette_euclidean": 0.2,
    "calinski_harabasz": 1234.5,
    "davies_bouldin": 1.75,
    "gap": 0.9,
    "gap_s": 0.04,
    "log_w": 3.1,
    "log_w_expected": 4.0,
    "prediction_strength": 0.85,
    "prediction_strength_std": 0.06,
    "bic": -55.5,
    "v_measure": 0.58,
    "homogeneity": 0.57,
    "completeness": 0.59,
}


def chosen_by(rule: str, **changes: Any) -> ReportData:
    data = report_data()
    steps = [step(k, **FURTHER) for k in (2, 3, 4)]
    config = {
        **data.sweep["config"],
        "choose_by": rule,
        "choosing": {"parameters": {"references": 20}, "also_measure": ["prediction-strength"]},
        "preparation": {"unit_norm": False, "unit_norm_after": True},
    }
    return replace(data, sweep={**data.sweep, "steps": steps, "chosen_by": rule, "config": config}, **changes)


class Page(HTMLParser):
    """Elements and the texts between them, as a browser reads them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self._inside = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)

    def documents(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.scripts[0])
        return found


def columns(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The columns of every data source in a Bokeh document."""
    found: list[dict[str, Any]] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if value.get("name") == "ColumnDataSource" and value.get("type") == "object":
                found.append(dict(value["attributes"]["data"]["entries"]))
            for member in value.values():
                walk(member)
        elif isinstance(value, list):
            for member in value:
                walk(member)

    walk(document["doc"])
    return found
