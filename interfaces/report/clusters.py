"""The clusters, one by one."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from interfaces.report.data import ReportData
from interfaces.report.looks import look_of
from interfaces.report.wording import SHOWN_CHARACTERS, clipped

REPRESENTATIVES_AT_ONCE = 3


def cluster_rows(data: ReportData) -> list[dict[str, Any]]:
    """Each cluster with its look, its share of the rows and the texts that stand for it."""
    return [
        {
            "number": cluster["cluster"],
            "name": clipped(cluster["name"], SHOWN_CHARACTERS),
            "size": cluster["size"],
            "share": cluster["size"] / max(1, len(data.labels)),
            "look": look_of(cluster["cluster"]),
            "first": [clipped(text, SHOWN_CHARACTERS) for text in cluster["representatives"][:REPRESENTATIVES_AT_ONCE]],
            "more": [clipped(text, SHOWN_CHARACTERS) for text in cluster["representatives"][REPRESENTATIVES_AT_ONCE:]],
            "common": _most_common_label(data, cluster["cluster"]),
            "fell_back": bool(cluster.get("fell_back")),
            "keywords": [clipped(word, 60) for word in cluster.get("keywords") or ()],
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
    return clipped(label, 80), count / counts.total()


def rounds_told(sweep: Mapping[str, Any]) -> dict[str, int] | None:
    """How often the chosen K's centroids were to be replaced by summaries, and how often that failed."""
    rounds = [done for done in sweep.get("rounds") or () if done["k"] == sweep["chosen_k"]]
    if not rounds:
        return None
    counts = {"count": len(rounds), "summaries": sum(len(done["summaries"]) for done in rounds)}
    return {**counts, "fell_back": sum(done["fell_back"] for done in rounds)}
