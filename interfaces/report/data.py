"""What a report is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.errors import Rejected


@dataclass(frozen=True, eq=False)
class ReportData:
    """Everything on the page; nothing is looked up while it is rendered.

    sweep: the finished sweep in the shape of the interfaces' JSON
    labels: (n_texts,) int32, the cluster of each row for the chosen K, −1 for none; scatter: (n_texts, 2) float32
    view: (n_texts, 2) float32, a second map, if one was asked for
    texts, true_labels: one a row, where there are some
    command: what reproduces the sweep; unsaid: what it can't say; facts: further lines under "Data", by name
    troubles: what went wrong on the way, as (when or where, what)
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
    troubles: Sequence[tuple[str, str]] = ()
    unsaid: Sequence[str] = ()


def chosen_step(sweep: Mapping[str, Any]) -> Mapping[str, Any]:
    """The step of the K that was chosen."""
    return next(step for step in sweep["steps"] if step["k"] == sweep["chosen_k"])


def check_finished(data: ReportData) -> None:
    """Raise Rejected for a sweep that isn't finished."""
    if data.sweep.get("chosen_k") is None:
        raise Rejected(f"Sweep {data.sweep.get('sweep_id')} isn't finished, so there is no K to report", fields=("id",))
