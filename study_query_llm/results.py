"""What comes back: lists that become data frames, and sweeps."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from domain.errors import Rejected
from interfaces.study import Json

if TYPE_CHECKING:
    from pandas import DataFrame


class Sweep:
    """A finished sweep: its steps, its clusters, and the labels of any K."""

    def __init__(self, document: Json, labels: Mapping[int, NDArray[np.int32]]) -> None:
        self.document = document
        self._labels = labels

    @property
    def sweep_id(self) -> str:
        """The id, made of the sweep's fingerprint."""
        return str(self.document["sweep_id"])

    @property
    def chosen_k(self) -> int:
        """The number of clusters that the rule `document["chosen_by"]` chose."""
        return int(self.document["chosen_k"])

    def labels(self, k: int | None = None) -> NDArray[np.int32]:
        """(n_samples,) int32, each sample's cluster for K = `k`, or for the chosen K. Raises Rejected."""
        wanted = self.chosen_k if k is None else k
        if wanted not in self._labels:
            raise Rejected(f"K = {wanted} was not swept; there are {', '.join(map(str, self._labels))}", fields=("k",))
        return self._labels[wanted]

    def to_frame(self) -> "DataFrame":
        """One row a K with its metrics."""
        return _frame(self.document["steps"])

    def __repr__(self) -> str:
        return f"<Sweep {self.sweep_id}: K = {self.chosen_k} by {self.document['chosen_by']}>"


class Rows(list[Json]):
    """A list of rows that becomes a data frame."""

    def to_frame(self) -> "DataFrame":
        """The rows as a pandas data frame."""
        return _frame(self)


def _frame(rows: Sequence[Json]) -> "DataFrame":
    import pandas as pd

    return pd.DataFrame(list(rows))
