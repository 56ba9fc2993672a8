"""How the clusters agree with labels that were there before."""

from collections import Counter
from typing import Any

from interfaces.report.data import ReportData
from interfaces.report.wording import clipped

MOST_LABELS = 50
LABEL_CHARACTERS = 80


def labels_found_in(data: ReportData) -> list[dict[str, Any]]:
    """Where the rows of each label went: the cluster that holds most of them, and what share; the commonest first."""
    if data.true_labels is None:
        return []
    pairs = Counter(zip(data.true_labels, data.labels.tolist(), strict=True))
    sizes = Counter(data.true_labels)
    by_label: dict[str, list[tuple[int, int]]] = {}
    for (label, cluster), count in pairs.items():
        by_label.setdefault(label, []).append((-count, cluster))
    return [
        {
            "label": clipped(label, LABEL_CHARACTERS),
            "size": size,
            "cluster": "none" if cluster < 0 else str(cluster),
            "share": -count / size,
            "spread_over": len(by_label[label]),
        }
        for label, size in sorted(sizes.items(), key=lambda each: (-each[1], each[0]))[:MOST_LABELS]
        for count, cluster in [min(by_label[label])]
    ]
