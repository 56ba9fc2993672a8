"""Name the clusters of the chosen step: by texts that stand for them, or by what a model makes of these."""

import asyncio
from collections.abc import Callable, Mapping

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from application.group_calls import GroupCalls, GroupPlace
from application.keep_sweep import SweepUnderRecord, link
from application.paraphrase import PYTHON, summariser_of
from application.summarise_texts import GROUP_TYPE, NAME_THE_TOPIC, SummariseTexts, Summary, short_name
from domain.clustering.keywords import keywords
from domain.clustering.representatives import representatives
from domain.clustering.step import Prepared
from domain.sweeps import Cluster

REPRESENTATIVES_PER_CLUSTER = 8


class NameClusters:
    """Names; a name that fails falls back to the first representative and says so."""

    def __init__(self, groups: GroupCalls, summarise: SummariseTexts) -> None:
        self._groups = groups
        self._summarise = summarise

    async def __call__(
        self,
        sweep: SweepUnderRecord,
        prepared: Prepared,
        labels: NDArray[np.int32],
        centroids: NDArray[np.float32],
        *,
        progress: Callable[[int, int], None],
        stand_for: NDArray[np.int32] | None = None,
        said: Mapping[int, Summary] | None = None,
        step_only: bool = False,
    ) -> list[Cluster]:
        """One cluster a centroid, in their order. labels: (n_samples,), −1 for noise; centroids: (k, n_components).

        stand_for: (k, m) the rows that are nearest to each cluster by its method, −1 for none
        said: what the method itself has said of the clusters, so that nobody need be asked
        step_only: the calls belong to the step of this K, and not to the sweep as a whole
        """
        rows_of = (
            representatives(prepared.vectors, labels, centroids, per_cluster=REPRESENTATIVES_PER_CLUSTER)
            if stand_for is None
            else [rows[rows >= 0] for rows in stand_for]
        )
        texts = sweep.request.texts
        shown = [
            tuple(texts[row] for row in rows) if texts else tuple(f"row {row}" for row in rows) for rows in rows_of
        ]
        if said is not None:
            summaries = dict(said)
        else:
            wanted = bool(texts and sweep.request.config.summarise)
            k = len(centroids) if step_only else None
            summaries = await self._summaries(sweep, shown, progress, k) if wanted else {}
        sizes = np.bincount(labels[labels >= 0], minlength=len(centroids))
        words = await asyncio.to_thread(keywords, texts, labels, len(centroids)) if texts else None
        return [
            Cluster(
                cluster=cluster,
                size=int(sizes[cluster]),
                name=_name(cluster, shown[cluster], summaries.get(cluster)),
                representatives=shown[cluster],
                representative_rows=tuple(int(row) for row in rows_of[cluster]),
                named_by_call_id=summaries[cluster].call_id if cluster in summaries else None,
                fell_back=summaries[cluster].fell_back if cluster in summaries else False,
                keywords=UNSET if words is None else words[cluster],
            )
            for cluster in range(len(centroids))
        ]

    async def _summaries(
        self, sweep: SweepUnderRecord, shown: list[tuple[str, ...]], progress: Callable[[int, int], None], k: int | None
    ) -> dict[int, Summary]:
        """Name every cluster that has members, through captured calls in a group of their own."""
        request, named = sweep.request, sweep.request.config.summarise or ""
        summarise = summariser_of(named, request.paraphraser, self._summarise, sweep.context)
        of, parent = (str(sweep.sweep_id), sweep.run_place)
        if k is not None:
            of, parent = f"{of}/k={k}", sweep.step_place(k)
        place = GroupPlace(group_type=GROUP_TYPE, name=of)
        filled = [cluster for cluster, texts in enumerate(shown) if texts]
        lists = [shown[cluster] for cluster in filled]
        summaries = await summarise(lists, template=NAME_THE_TOPIC, place=place, progress=progress)
        if not named.startswith(PYTHON):
            await self._groups.link([link(parent.group_id, place.group_id, "generates")], sweep.context)
        return dict(zip(filled, summaries, strict=True))


def _name(cluster: int, shown: tuple[str, ...], summary: Summary | None) -> str:
    if summary is not None and shown:
        return short_name(shown[0] if summary.fell_back else summary.text)
    return f"cluster {cluster}" if shown else f"cluster {cluster} (empty)"
