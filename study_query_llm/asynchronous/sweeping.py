"""Sweeps of the number of clusters, and their reports."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from application.embed_texts import Embedded
from domain.clustering.methods import method as method_of
from domain.sweeps import Choosing, Preparation, SweepConfig, View
from interfaces.as_of import AsOf, Moment
from interfaces.study import Json
from interfaces.sweep_options import k_values_of
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
        k: Iterable[int] | None = None,
        restarts: int = 10,
        max_iterations: int = 200,
        pca_dim: int | None = 64,
        seed: int = 0,
        coverage_threshold: float = 0.2,
        parameters: Mapping[str, Any] | None = None,
        choose_by: str = "silhouette",
        choose_parameters: Mapping[str, Any] | None = None,
        also_measure: Sequence[str] = (),
        unit_norm: bool = True,
        centre: bool | None = None,
        unit_norm_after: bool = False,
        view: View | None = None,
        paraphraser: str | None = None,
        force: bool = False,
    ) -> Sweep:
        """Cluster for every K and choose one. The same data and configuration find the finished sweep again.

        data: what `embed` returned, (n_samples, n_features) vectors made elsewhere, or the name of a dataset
        method, parameters: see `methods()`; k: 2 to 20 if not given, nothing for a method that finds it
        choose_by, choose_parameters, also_measure: see `rules()`; a rule may be measured without choosing
        pca_dim: principal components kept, None for all features
        unit_norm, centre, unit_norm_after: scale rows to length 1 first, subtract their mean (None: where they are
            projected), scale them to length 1 again at last
        view: "umap" for a second map in the report
        paraphraser: "provider/model" that names the clusters from their texts
        """
        config = SweepConfig(
            method=method,
            k_values=self._k_values(method, k),
            restarts=restarts,
            max_iterations=max_iterations,
            pca_dim=pca_dim,
            seed=seed,
            coverage_threshold=coverage_threshold,
            choose_by=choose_by,
            parameters=dict(parameters or {}),
            summarise=paraphraser,
            preparation=Preparation(unit_norm=unit_norm, centre=centre, unit_norm_after=unit_norm_after),
            choosing=Choosing(parameters=dict(choose_parameters or {}), also_measure=tuple(also_measure)),
            view=view or UNSET,
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

    async def methods(self) -> Rows:
        """The clustering methods there are, ours and those of other distributions, with parameters as JSON schemas."""
        return Rows(self._wired.sweeps.method_documents())

    async def rules(self) -> Rows:
        """The rules by which K is chosen, with parameters as JSON schemas."""
        return Rows(self._wired.sweeps.rule_documents())

    def _k_values(self, name: str, k: Iterable[int] | None) -> tuple[int, ...]:
        chosen = method_of(name, self._wired.sweeps.methods)
        return k_values_of(chosen, None, None) if k is None else tuple(k)

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
