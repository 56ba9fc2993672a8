"""Sweeps of the number of clusters, and their reports."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from application.embed_texts import Embedded
from domain.sweeps import SweepConfig
from interfaces.as_of import AsOf, Moment
from interfaces.study import Json
from projections.paging import Paging
from study_query_llm.asynchronous.opened import Opened
from study_query_llm.results import Rows, Sweep


class Sweeping(Opened):
    """Sweeps of the number of clusters, and their reports."""

    async def sweep(
        self,
        data: "Embedded | NDArray[np.float32] | str",
        *,
        texts: Sequence[str] | None = None,
        labels: Sequence[str] | None = None,
        method: str = "k-means",
        k: Iterable[int] = range(2, 21),
        restarts: int = 10,
        max_iterations: int = 200,
        pca_dim: int | None = 64,
        seed: int = 0,
        coverage_threshold: float = 0.2,
        parameters: Mapping[str, Any] | None = None,
        paraphraser: str | None = None,
        force: bool = False,
    ) -> Sweep:
        """Cluster for every K and choose one. The same data and configuration find the finished sweep again.

        data: what `embed` returned, (n_samples, n_features) vectors made elsewhere, or the name of a dataset
        paraphraser: "provider/model" that names the clusters from their texts
        """
        config = SweepConfig(
            method=method,
            k_values=tuple(k),
            restarts=restarts,
            max_iterations=max_iterations,
            pca_dim=pca_dim,
            seed=seed,
            coverage_threshold=coverage_threshold,
            parameters=dict(parameters or {}),
            summarise=paraphraser,
        )
        context = self._wired.context()
        given_texts = None if texts is None else tuple(texts)
        given_labels = None if labels is None else tuple(labels)
        if isinstance(data, str):
            sweep_id = await self._wired.sweeps.of_dataset(data, context, config=config, force=force)
        elif isinstance(data, Embedded):
            sweep_id = await self._wired.sweeps.of_embedded(
                data, context, config=config, texts=given_texts, labels=given_labels, force=force
            )
        else:
            vectors = np.ascontiguousarray(data, dtype=np.float32)
            sweep_id = await self._wired.sweeps.of_vectors(
                vectors, context, config=config, texts=given_texts, labels=given_labels, force=force
            )
        return await self.find_sweep(sweep_id)

    async def find_sweep(self, sweep_id: UUID | str) -> Sweep:
        """A finished sweep by its id. Raises NotFound, Rejected."""
        return Sweep(await self._wired.sweeps.get(sweep_id), await self._wired.sweeps.labels(sweep_id))

    async def sweeps(self, *, as_of: AsOf | None = None, limit: int = 50) -> Rows:
        """Sweeps with their steps and clusters, finished or not, newest first, as of a time or position."""
        return Rows((await self._wired.sweeps.list(Moment(as_of), Paging(limit)))["items"])

    async def compare(self, first: "Sweep | UUID | str", second: "Sweep | UUID | str") -> Json:
        """What differed between two sweeps, what was equal, and how far their labels agree."""
        one, other = (each.sweep_id if isinstance(each, Sweep) else each for each in (first, second))
        return await self._wired.sweeps.compare(one, other)

    async def report(self, sweep_id: UUID | str, out: str | Path) -> Path:
        """Write a finished sweep's report, a page of HTML that needs nothing but a browser."""
        from interfaces.report import render

        path = Path(out)
        path.write_text(render(await self._wired.sweeps.report(sweep_id)), encoding="utf-8")  # noqa: ASYNC240 - one short write
        return path
