"""Keep what a sweep makes: its groups and their links, and its results as artifacts in them."""

from collections.abc import Sequence
from typing import Any, TypeVar
from uuid import UUID

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from application.group_calls import GroupCalls, GroupPlace
from application.import_dataset import TableFiles
from application.keep_artifact import FileToKeep, KeepArtifact
from application.notebook import Context
from application.sweep_request import SweepRequest
from domain.clustering.clusterings import Clustering
from domain.clustering.step import Prepared, StepResult
from domain.clustering.vectors import Vectors
from domain.events import Metadata
from domain.groups import GroupLinked, LinkType
from domain.sweeps import Cluster, StepMetrics

REPRESENTATIVES = "sweep_representatives"  # (k, 8) int32 rows, nearest to their cluster first, −1 for none
VIEW = "view"  # (n_samples, 2) float32
REQUEST_HASHES = "request_hashes"  # (n_samples, 32) uint8, what each row's text was embedded under
TRUE_LABELS = "true_labels"
STEP_CLUSTERS = "step_clusters"  # with their names, where every K's are named

T = TypeVar("T")


class SweepUnderRecord(Struct, frozen=True):
    """Which sweep is kept, and on whose behalf."""

    sweep_id: UUID
    request: SweepRequest
    context: Context

    @property
    def run_place(self) -> GroupPlace:
        """The group of the whole sweep."""
        return GroupPlace(group_type="run", name=str(self.sweep_id))

    def step_place(self, k: int) -> GroupPlace:
        """The group of one step."""
        return GroupPlace(group_type="step", name=f"{self.sweep_id}/k={k}")

    def account(self) -> Metadata:
        """What run and steps say of how they came about."""
        config = self.request.config
        return {
            "sweep_id": str(self.sweep_id),
            "algorithm": config.method,
            "config": msgspec.to_builtins(config),
            "embedding_model": self.request.source.embedding_model,
        }


class KeepSweep:
    """Keeps; the same results kept again are the same artifacts, in the same groups."""

    def __init__(self, groups: GroupCalls, keep: KeepArtifact, files: TableFiles) -> None:
        self._groups = groups
        self._keep = keep
        self._files = files

    async def inputs(self, sweep: SweepUnderRecord) -> dict[str, UUID]:
        """The sweep's group, linked to the groups of what goes into it, and in it what of that lies nowhere else.

        Returns the artifacts' ids by their type: with them, nobody who goes on with the sweep need be told anything.
        """
        run_id, request = sweep.run_place.group_id, sweep.request
        await self._groups.ensure(sweep.run_place, sweep.context, metadata=sweep.account())
        links = []
        if request.source.embedding_group_id is not None:
            links.append(link(run_id, request.source.embedding_group_id, "depends_on"))
            if request.dataset_group_id is not None:
                links.append(link(request.source.embedding_group_id, request.dataset_group_id, "depends_on"))
        elif request.dataset_group_id is not None:
            links.append(link(run_id, request.dataset_group_id, "depends_on"))
        await self._groups.link(links, sweep.context)
        return await self._inputs(sweep)

    async def _inputs(self, sweep: SweepUnderRecord) -> dict[str, UUID]:
        request, folder, group_id = sweep.request, f"{sweep.sweep_id}/sweep", sweep.run_place.group_id
        artifact_ids = {}
        if request.request_hashes is not None:
            block = np.frombuffer(bytes.fromhex("".join(request.request_hashes)), dtype=np.uint8)
            artifact_ids[REQUEST_HASHES] = await self._array(
                f"{folder}/{REQUEST_HASHES}.npy",
                block.reshape(len(request.request_hashes), -1),
                group_id,
                sweep.context,
            )
        if request.labels is not None and request.source.dataset_name is None:
            artifact_ids[TRUE_LABELS] = await self._json(
                f"{folder}/{TRUE_LABELS}.json", request.labels, group_id, sweep.context
            )
        return artifact_ids

    async def step_group(self, sweep: SweepUnderRecord, k: int) -> GroupPlace:
        """A step's group, linked to the sweep's."""
        place = sweep.step_place(k)
        metadata = {**sweep.account(), "parent_run_id": str(sweep.run_place.group_id), "k": k}
        await self._groups.ensure(place, sweep.context, metadata=metadata)
        await self._groups.link([link(sweep.run_place.group_id, place.group_id, "step", k)], sweep.context)
        return place

    async def round(
        self, sweep: SweepUnderRecord, k: int, round_number: int, clustering: Clustering, summaries: Sequence[Any]
    ) -> dict[str, UUID]:
        """What came out of a round of a step, in the step's group; returns the artifacts' ids by their type."""
        folder, group_id = f"{sweep.sweep_id}/k={k},round={round_number}", sweep.step_place(k).group_id
        context = sweep.context
        return {
            "round_labels": await self._array(f"{folder}/round_labels.npy", clustering.labels, group_id, context),
            "round_centroids": await self._array(
                f"{folder}/round_centroids.npy", clustering.centroids, group_id, context
            ),
            "round_summaries": await self._json(f"{folder}/round_summaries.json", summaries, group_id, context),
        }

    async def generated(self, sweep: SweepUnderRecord, k: int, *groups: UUID | None) -> None:
        """Link the groups of calls that a step made to it."""
        step_id = sweep.step_place(k).group_id
        links = [link(step_id, group_id, "generates") for group_id in groups if group_id is not None]
        await self._groups.link(links, sweep.context)

    async def step(
        self, sweep: SweepUnderRecord, result: StepResult, clusters: Sequence[Cluster] | None = None
    ) -> dict[str, UUID]:
        """A step's group and what came out of it; returns the artifacts' ids by their type.

        clusters: of a step whose clusters were named by themselves
        """
        k = result.metrics.k
        # Before the step counts as finished: whoever takes the sweep up again does not look at finished steps.
        place = await self.step_group(sweep, k)
        folder, group_id, context = f"{sweep.sweep_id}/k={k}", place.group_id, sweep.context
        named = {}
        if clusters is not None:
            named[STEP_CLUSTERS] = await self._json(f"{folder}/{STEP_CLUSTERS}.json", clusters, group_id, context)
        return {
            **named,
            "sweep_labels": await self._array(f"{folder}/sweep_labels.npy", result.labels, group_id, context),
            "sweep_centroids": await self._array(f"{folder}/sweep_centroids.npy", result.centroids, group_id, context),
            REPRESENTATIVES: await self._array(
                f"{folder}/{REPRESENTATIVES}.npy", result.representatives, group_id, context
            ),
            "sweep_metrics": await self._json(f"{folder}/sweep_metrics.json", result.metrics.flat(), group_id, context),
        }

    async def whole(
        self,
        sweep: SweepUnderRecord,
        prepared: Prepared,
        steps: Sequence[StepMetrics],
        chosen_k: int,
        clusters: Sequence[Cluster],
        view: Vectors | None = None,
    ) -> dict[str, UUID]:
        """What belongs to the sweep as a whole; returns the artifacts' ids by their type."""
        folder, group_id, context = f"{sweep.sweep_id}/sweep", sweep.run_place.group_id, sweep.context
        results = {"steps": [step.flat() for step in steps], "chosen_k": chosen_k, "clusters": clusters}
        artifact_ids = {
            **await self._inputs(sweep),
            "scatter": await self._array(f"{folder}/scatter.npy", prepared.scatter, group_id, context),
            "pca_components": await self._array(f"{folder}/pca_components.npy", prepared.components, group_id, context),
            "sweep_results": await self._json(f"{folder}/sweep_results.json", results, group_id, context),
        }
        if view is not None:
            artifact_ids[VIEW] = await self._array(f"{folder}/{VIEW}.npy", view, group_id, context)
        return artifact_ids

    async def array(self, artifact_id: UUID) -> NDArray[Any]:
        """An array that was kept. Raises NotFound, Unavailable."""
        return self._files.from_npy(await self._keep.content(artifact_id))

    async def document(self, artifact_id: UUID, kind: type[T]) -> T:
        """A JSON document that was kept. Raises NotFound, Unavailable."""
        return msgspec.json.decode(await self._keep.content(artifact_id), type=kind)

    async def _array(self, name: str, array: NDArray[np.generic], group_id: UUID, context: Context) -> UUID:
        file = FileToKeep(
            name=name,
            content=self._files.to_npy(array),
            content_type="application/x-npy",
            artifact_type=name.rsplit("/", 1)[1].removesuffix(".npy"),
            group_id=group_id,
            shape=tuple(array.shape),
            metadata={"dtype": str(array.dtype)},
        )
        return await self._keep(file, context)

    async def _json(self, name: str, value: Any, group_id: UUID, context: Context) -> UUID:
        file = FileToKeep(
            name=name,
            content=msgspec.json.encode(value),
            content_type="application/json",
            artifact_type=name.rsplit("/", 1)[1].removesuffix(".json"),
            group_id=group_id,
        )
        return await self._keep(file, context)


def link(parent: UUID, child: UUID, link_type: LinkType, position: int | None = None) -> GroupLinked:
    """One group of a sweep linked to another."""
    return GroupLinked(parent_group_id=parent, child_group_id=child, link_type=link_type, position=position)
