"""The rows as points in the plane."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interfaces.report.charts import Points, scatter_chart
from interfaces.report.data import ReportData
from interfaces.report.wording import clipped

MOST_POINTS = 5_000
HOVER_CHARACTERS = 160


def map_of(
    data: ReportData,
    clusters: Sequence[Mapping[str, Any]],
    places: NDArray[np.float32],
    *,
    axes: tuple[str, str] = ("First principal component", "Second principal component"),
) -> dict[str, Any]:
    """A scatter of the rows, (n_texts, 2) places, of a random sample of them where they are many."""
    count = len(data.labels)
    rows = list(range(count))
    if count > MOST_POINTS:
        # Drawn by a fixed seed, so that the page stays the same, and not by stride, which would follow any order.
        rows = sorted(np.random.default_rng(0).choice(count, MOST_POINTS, replace=False).tolist())
    names = {cluster["number"]: clipped(cluster["name"], 60) for cluster in clusters}
    labels = data.labels[rows]
    points = Points(
        x=places[rows, 0].astype(np.float64),
        y=places[rows, 1].astype(np.float64),
        cluster=labels,
        text=[f"row {row}" if data.texts is None else clipped(data.texts[row], HOVER_CHARACTERS) for row in rows],
        cluster_name=[names.get(int(cluster), "") for cluster in labels],
        true_label=None if data.true_labels is None else [clipped(data.true_labels[row], 60) for row in rows],
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
