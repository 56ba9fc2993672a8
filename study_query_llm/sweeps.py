"""Sweeps as objects: their steps, their clusters, the labels of any K, and their reports."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from anyio.from_thread import BlockingPortal
from numpy.typing import NDArray

from domain.errors import Rejected
from interfaces.as_of import AsOf, Moment
from interfaces.study import Json
from interfaces.study import Study as Wired
from study_query_llm.notebook.pages import sweep_page
from study_query_llm.results import frame_of

if TYPE_CHECKING:
    from pandas import DataFrame


class Swept:
    """A sweep, finished or as far as it has come: its steps, its clusters, and the labels of any K."""

    def __init__(self, document: Json, labels: Mapping[int, NDArray[np.int32]]) -> None:
        self.document = document
        self._labels = labels

    @property
    def sweep_id(self) -> str:
        """The id, made of the sweep's fingerprint."""
        return str(self.document["sweep_id"])

    @property
    def status(self) -> str:
        """How it stands: requested, running, finished, failed, cancelled or interrupted."""
        return str(self.document["status"])

    @property
    def chosen_k(self) -> int:
        """The number of clusters that the rule `document["chosen_by"]` chose. Raises Rejected before it has."""
        if self.document["chosen_k"] is None:
            raise Rejected(
                f"Sweep {self.sweep_id} is {self.status}, so that no K is chosen yet; say k, or resume_sweep",
                fields=("k",),
            )
        return int(self.document["chosen_k"])

    def labels(self, k: int | None = None) -> NDArray[np.int32]:
        """(n_samples,) int32, each sample's cluster for K = `k`, or for the chosen K. Raises Rejected."""
        wanted = self.chosen_k if k is None else k
        if wanted not in self._labels:
            raise Rejected(f"K = {wanted} was not swept; there are {', '.join(map(str, self._labels))}", fields=("k",))
        return self._labels[wanted]

    def to_frame(self) -> "DataFrame":
        """One row a K with its metrics."""
        return frame_of(self.document["steps"])

    def __repr__(self) -> str:
        if self.document["chosen_k"] is None:
            return f"<Sweep {self.sweep_id}: {self.status}, {len(self.document['steps'])} steps finished>"
        return f"<Sweep {self.sweep_id}: K = {self.chosen_k} by {self.document['chosen_by']}>"

    def _repr_html_(self) -> str:
        return sweep_page(self.document)


class AsyncSweep(Swept):
    """A sweep, for code that runs in an event loop."""

    def __init__(self, wired: Wired, document: Json, labels: Mapping[int, NDArray[np.int32]]) -> None:
        super().__init__(document, labels)
        self._wired = wired

    async def report(self, out: str | Path, *, as_of: AsOf | None = None) -> Path:
        """Write the report: HTML that needs nothing but a browser, or Markdown for a name in .md. Raises Rejected."""
        return await self._wired.reports.write(self.sweep_id, Path(out), Moment(as_of))


class Sweep(Swept):
    """A sweep, for ordinary code."""

    def __init__(self, portal: BlockingPortal, sweep: AsyncSweep) -> None:
        super().__init__(sweep.document, sweep._labels)
        self._portal = portal
        self._sweep = sweep

    def report(self, out: str | Path, **options: Any) -> Path:
        """See AsyncSweep.report."""
        return self._portal.call(partial(self._sweep.report, out, **options))
