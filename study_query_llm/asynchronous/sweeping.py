"""Sweeps of the number of clusters, and their reports."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from application.compute import LOCAL
from application.embed_texts import Embedded
from application.paraphrase import Paraphraser, recorded_name
from domain.clustering.methods import method as method_of
from domain.sweeps import Choosing, Preparation, SweepConfig, View
from interfaces.as_of import AsOf, Moment
from interfaces.study import Json
from interfaces.sweep_options import k_values_of
from projections.paging import Paging
from study_query_llm.asynchronous.opened import Opened
from study_query_llm.results import Rows
from study_query_llm.sweeps import AsyncSweep, Swept
from study_query_llm.telling import Told, told


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
        paraphraser: "str | Paraphraser | None" = None,
        name_every_k: bool = False,
        force: bool = False,
        compute: str = LOCAL,
        progress: Told = None,
    ) -> AsyncSweep:
        """Cluster for every K and choose one. The same data and configuration find the finished sweep again.

        data: what `embed` returned, (n_samples, n_features) vectors made elsewhere, or the name of a dataset
        method, parameters: see `methods()`; k: 2 to 20 if not given, nothing for a method that finds it
        choose_by, choose_parameters, also_measure: see `rules()`; a rule may be measured without choosing
        pca_dim: principal components kept, None for all features
        unit_norm, centre, unit_norm_after: scale rows to length 1 first, subtract their mean (None: where they are
            projected), scale them to length 1 again at last
        view: "umap" for a second map in the report
        paraphraser: who names the clusters from the texts that stand for them: "provider/model", or a function of a
            list of texts, of which the sweep records the qualified name and a hash of its source
        name_every_k: name the clusters of every K, and not only those of the one that is chosen
        compute: where steps are computed: here, or at a Dask scheduler such as "tcp://127.0.0.1:8786"
        progress: True for bars on stderr, or what is called as progress(stage, done, total, remaining_s=…)
        Raises Conflict while another process runs the same sweep, and when somebody cancels it.
        """
        function = paraphraser if paraphraser is not None and not isinstance(paraphraser, str) else None
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
            summarise=recorded_name(function) if function is not None else cast("str | None", paraphraser),
            preparation=Preparation(unit_norm=unit_norm, centre=centre, unit_norm_after=unit_norm_after),
            choosing=Choosing(parameters=dict(choose_parameters or {}), also_measure=tuple(also_measure)),
            view=view or UNSET,
            name_every_k=True if name_every_k else UNSET,
        )
        context = self._wired.context()
        given_texts = None if texts is None else tuple(texts)
        given_labels = None if labels is None else tuple(labels)
        with told(progress) as telling:
            how: dict[str, Any] = {
                "config": config,
                "paraphraser": function,
                "force": force,
                "compute": compute,
                "progress": telling,
            }
            if isinstance(data, str):
                sweep_id = await self._wired.sweeps.of_dataset(data, context, **how)
            elif isinstance(data, Embedded):
                sweep_id = await self._wired.sweeps.of_embedded(
                    data, context, texts=given_texts, labels=given_labels, **how
                )
            else:
                vectors = np.ascontiguousarray(data, dtype=np.float32)
                sweep_id = await self._wired.sweeps.of_vectors(
                    vectors, context, texts=given_texts, labels=given_labels, **how
                )
        return await self.find_sweep(sweep_id)

    async def resume_sweep(
        self, sweep: "Swept | UUID | str", *, compute: str | None = None, progress: Told = None
    ) -> AsyncSweep:
        """Go on with a sweep that was left, failed or was cancelled: all it needs comes from the record.

        compute, progress: as those of `sweep`
        Raises NotFound, and Conflict while another process runs it.
        """
        with told(progress) as telling:
            found = await self._wired.sweeps.resume(
                id_in(sweep), self._wired.context(), compute=compute, progress=telling
            )
        return await self.find_sweep(found)

    async def cancel_sweep(self, sweep: "Swept | UUID | str") -> Json:
        """End a sweep, whichever process runs it; finished steps stay. Raises NotFound, Conflict for a finished one."""
        return await self._wired.sweeps.cancel(id_in(sweep), self._wired.context())

    async def methods(self) -> Rows:
        """The clustering methods there are, ours and those of other distributions, with parameters as JSON schemas."""
        return Rows(self._wired.sweeps.method_documents())

    async def rules(self) -> Rows:
        """The rules by which K is chosen, with parameters as JSON schemas."""
        return Rows(self._wired.sweeps.rule_documents())

    def _k_values(self, name: str, k: Iterable[int] | None) -> tuple[int, ...]:
        chosen = method_of(name, self._wired.sweeps.methods)
        return k_values_of(chosen, None, None) if k is None else tuple(k)

    async def find_sweep(self, sweep_id: UUID | str) -> AsyncSweep:
        """A sweep by its id, finished or as far as it has come. Raises NotFound."""
        return AsyncSweep(
            self._wired, await self._wired.sweeps.get(sweep_id), await self._wired.sweeps.labels(sweep_id)
        )

    async def sweeps(self, *, as_of: AsOf | None = None, limit: int = 50) -> Rows:
        """Sweeps with their steps and clusters, finished or not, newest first, as of a time or position."""
        return Rows((await self._wired.sweeps.list(Moment(as_of), Paging(limit)))["items"])

    async def compare(self, first: "Swept | UUID | str", second: "Swept | UUID | str") -> Json:
        """What differed between two sweeps, what was equal, and how far their labels agree."""
        return await self._wired.sweeps.compare(id_in(first), id_in(second))

    async def report(self, sweep: "Swept | UUID | str", out: str | Path, *, as_of: AsOf | None = None) -> Path:
        """Write a finished sweep's report: HTML that needs nothing but a browser, or Markdown for a name in .md.

        Raises NotFound, Rejected for one that isn't finished, and for a file that can't be written.
        """
        return await self._wired.reports.write(id_in(sweep), Path(out), Moment(as_of))


def id_in(sweep: "Swept | UUID | str") -> UUID | str:
    """The id of a sweep, or the id that was given in its place."""
    return sweep.sweep_id if isinstance(sweep, Swept) else sweep
