"""Name the clusters of the chosen step: by texts that stand for them, or by what a model makes of these."""

import asyncio
from collections.abc import Callable

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from application.group_calls import GroupCalls, GroupPlace
from application.keep_sweep import SweepUnderRecord, link
from application.summarise_texts import SummariseTexts, Summary
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
    ) -> list[Cluster]:
        """One cluster a centroid, in their order. labels: (n_samples,), −1 for noise; centroids: (k, n_components).

        stand_for: (k, m) the rows that are nearest to each cluster by its method, −1 for none
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
        wanted = bool(texts and sweep.request.config.summarise)
        summaries = await self._summaries(sweep, shown, progress) if wanted else {}
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
        self, sweep: SweepUnderRecord, shown: list[tuple[str, ...]], progress: Callable[[int, int], None]
    ) -> dict[int, Summary]:
        """Name every cluster that has members, through captured calls in a group of their own."""
        provider, _, model = (sweep.request.config.summarise or "").partition("/")
        place = GroupPlace(group_type="summarization_batch", name=str(sweep.sweep_id))
        filled = [cluster for cluster, texts in enumerate(shown) if texts]
        summaries = await self._summarise(
            [shown[cluster] for cluster in filled],
            sweep.context,
            provider=provider or None,
            model=model or None,
            group=place,
            progress=progress,
        )
        await self._groups.link([link(sweep.run_place.group_id, place.group_id, "generates")], sweep.context)
        return dict(zip(filled, summaries, strict=True))


def _name(cluster: int, shown: tuple[str, ...], summary: Summary | None) -> str:
    if summary is not None:
        return summary.text
    return f"cluster {cluster}" if shown else f"cluster {cluster} (empty)"
