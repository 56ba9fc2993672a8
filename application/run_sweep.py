"""Sweep the number of clusters: every finished step is recorded, and a sweep that died goes on where it stopped."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from typing import Any, Protocol
from uuid import UUID

import msgspec
import numpy as np
import structlog
from msgspec import Struct
from numpy.typing import NDArray

from application.group_calls import GroupCalls, GroupPlace
from application.import_dataset import TableFiles
from application.keep_artifact import FileToKeep, KeepArtifact
from application.notebook import Context, Notebook
from application.ports import Claim
from application.summarise_texts import SummariseTexts, Summary
from domain.clustering.methods import method
from domain.clustering.representatives import representatives
from domain.clustering.selection import choose_k
from domain.clustering.step import Prepared, StepResult, prepare, run_step
from domain.errors import Rejected
from domain.events import Fact, Metadata
from domain.groups import GroupLinked
from domain.identity import sha256_hex
from domain.sweeps import (
    Cluster,
    SweepConfig,
    SweepFailed,
    SweepFinished,
    SweepResumed,
    SweepSource,
    SweepStarted,
    SweepState,
    SweepStepFinished,
    evolve,
    fingerprint_of,
    sweep_id_of,
)

REPRESENTATIVES_PER_CLUSTER = 8
LARGEST_K = 10_000

Progress = Callable[[str, int, int], None]
log = structlog.get_logger(__name__)


class Compute(Protocol):
    """Where steps are computed."""

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a pure function and return its result."""


class SweepRequest(Struct, frozen=True, kw_only=True):
    """What to sweep: vectors (n_samples, n_features) float32 with, where there are some, their texts and labels."""

    vectors: NDArray[np.float32]
    config: SweepConfig
    source: SweepSource
    texts: tuple[str, ...] | None = None
    labels: tuple[str, ...] | None = None
    salt: str | None = None
    dataset_group_id: UUID | None = None
    request_hashes: tuple[str, ...] | None = None  # a row's: what its text was embedded under
    gather_duration_s: float | None = None


class RunSweep:
    """Runs sweeps, finds finished ones again, resumes unfinished ones."""

    def __init__(
        self,
        notebook: Notebook,
        groups: GroupCalls,
        keep: KeepArtifact,
        files: TableFiles,
        summarise: SummariseTexts,
        compute: Compute,
        software: Callable[[], dict[str, str]],
    ) -> None:
        self.notebook = notebook
        self.groups = groups
        self.keep = keep
        self.files = files
        self.summarise = summarise
        self.compute = compute
        self.software = software

    async def __call__(
        self, request: SweepRequest, context: Context, *, progress: Progress | None = None
    ) -> tuple[UUID, SweepState]:
        """Run a sweep to its end. The same fingerprint gives the finished sweep, without any new work.

        Raises Rejected for a configuration that can't be run, ClaimHeld while another process runs the same sweep.
        """
        _check(request)
        fingerprint = fingerprint_of(request.config, request.source)
        sweep_id = sweep_id_of(fingerprint, request.salt)
        state = await self.load(sweep_id)
        if state.status == "finished":
            return sweep_id, state
        run = _Run(self, request, context, sweep_id, state, progress or (lambda _what, _done, _total: None))
        return sweep_id, await run.to_the_end(fingerprint)

    async def load(self, sweep_id: UUID) -> SweepState:
        """A sweep's state; the empty state if there is none of this id."""
        return reduce(evolve, await self.notebook.store.read_stream(sweep_id), SweepState())


class _Run:
    """One sweep under way in this process, which holds the claim to it."""

    def __init__(
        self,
        parts: RunSweep,
        request: SweepRequest,
        context: Context,
        sweep_id: UUID,
        state: SweepState,
        progress: Progress,
    ) -> None:
        self.parts = parts
        self.request = request
        self.context = context
        self.sweep_id = sweep_id
        self.steps = dict(state.steps)
        self.started = state.started
        self.version = state.version
        self.progress = progress
        self.claim = Claim(key=f"sweep:{sweep_id}", holder=sweep_id)
        self.run_place = GroupPlace(group_type="run", name=str(sweep_id))
        self.began = parts.notebook.clock.monotonic()
        self.writing = asyncio.Lock()
        self.timings_s: dict[str, float] = {}

    async def to_the_end(self, fingerprint: str) -> SweepState:
        await self._begin(fingerprint)
        try:
            await self._link_inputs()
            with self._timed("preparing"):
                prepared = await self.parts.compute.run(prepare, self.request.vectors, self.request.config)
            with self._timed("steps"):
                await self._run_missing_steps(prepared)
            await self._finish(prepared)
        except (Exception, asyncio.CancelledError) as error:
            reason = (
                "it was stopped" if isinstance(error, asyncio.CancelledError) else f"{type(error).__name__}: {error}"
            )
            await asyncio.shield(
                self._write(SweepFailed(reason=f"{reason}; the same command goes on from here"), free=True)
            )
            raise
        return await self.parts.load(self.sweep_id)

    async def _begin(self, fingerprint: str) -> None:
        """Take the claim, and say in the same breath that the sweep starts or goes on."""
        if self.started is None:
            fact: Fact = SweepStarted(
                fingerprint=fingerprint,
                config=self.request.config,
                source=self.request.source,
                run_group_id=self.run_place.group_id,
                software=self.parts.software(),
                salt=self.request.salt,
                gather_duration_s=self.request.gather_duration_s,
            )
        else:
            fact = SweepResumed(finished_steps=len(self.steps))
        await self._write(fact, take=True)

    async def _link_inputs(self) -> None:
        source = self.request.source
        await self.parts.groups.ensure(self.run_place, self.context, metadata=self._account())
        links = []
        if source.embedding_group_id is not None:
            links.append(_link(self.run_place.group_id, source.embedding_group_id, "depends_on"))
            if self.request.dataset_group_id is not None:
                links.append(_link(source.embedding_group_id, self.request.dataset_group_id, "depends_on"))
        elif self.request.dataset_group_id is not None:
            links.append(_link(self.run_place.group_id, self.request.dataset_group_id, "depends_on"))
        await self.parts.groups.link(links, self.context)

    def _account(self) -> Metadata:
        """What run and steps say of how they came about."""
        config = self.request.config
        return {
            "sweep_id": str(self.sweep_id),
            "algorithm": config.method,
            "config": msgspec.to_builtins(config),
            "embedding_model": self.request.source.embedding_model,
        }

    async def _run_missing_steps(self, prepared: Prepared) -> None:
        wanted = self.request.config.k_values
        self.progress("clustering", len(self.steps), len(wanted))

        async def step(k: int) -> None:
            began = self.parts.notebook.clock.monotonic()
            result = await self.parts.compute.run(run_step, prepared, k, self.request.config, self.request.labels)
            await self._record_step(result, self.parts.notebook.clock.monotonic() - began)
            self.progress("clustering", len(self.steps), len(wanted))

        try:
            async with asyncio.TaskGroup() as tasks:
                for k in wanted:
                    if k not in self.steps:
                        tasks.create_task(step(k))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _record_step(self, result: StepResult, duration_s: float) -> None:
        k = result.metrics.k
        place = GroupPlace(group_type="step", name=f"{self.sweep_id}/k={k}")
        metadata = {**self._account(), "parent_run_id": str(self.run_place.group_id), "k": k}
        await self.parts.groups.ensure(place, self.context, metadata=metadata)
        folder = f"{self.sweep_id}/k={k}"
        artifact_ids = {
            "sweep_labels": await self._keep_array(f"{folder}/sweep_labels.npy", result.labels, place.group_id),
            "sweep_centroids": await self._keep_array(
                f"{folder}/sweep_centroids.npy", result.centroids, place.group_id
            ),
            "sweep_metrics": await self._keep_json(f"{folder}/sweep_metrics.json", result.metrics, place.group_id),
        }
        fact = SweepStepFinished(
            metrics=result.metrics,
            labels_sha256=sha256_hex(result.labels.astype("<i4").tobytes()),
            centroids_sha256=sha256_hex(result.centroids.astype("<f4").tobytes()),
            best_restart=result.best_restart,
            step_group_id=place.group_id,
            artifact_ids=artifact_ids,
            duration_s=round(duration_s, 6),
        )
        await self._write(fact)
        await self.parts.groups.link([_link(self.run_place.group_id, place.group_id, "step", k)], self.context)
        self.steps[k] = fact

    async def _finish(self, prepared: Prepared) -> None:
        config = self.request.config
        metrics = [self.steps[k].metrics for k in config.k_values]
        choice = choose_k(metrics, config.choose_by)
        labels = await self._array(self.steps[choice.k].artifact_ids["sweep_labels"])
        centroids = await self._array(self.steps[choice.k].artifact_ids["sweep_centroids"])
        with self._timed("naming"):
            clusters = await self._name_clusters(prepared, labels, centroids, choice.k)
        run_id = self.run_place.group_id
        folder = f"{self.sweep_id}/sweep"
        artifact_ids = {
            "scatter": await self._keep_array(f"{folder}/scatter.npy", prepared.scatter, run_id),
            "pca_components": await self._keep_array(f"{folder}/pca_components.npy", prepared.components, run_id),
            "sweep_results": await self._keep_json(
                f"{folder}/sweep_results.json", {"steps": metrics, "chosen_k": choice.k, "clusters": clusters}, run_id
            ),
        }
        hashes = self.request.request_hashes
        if hashes is not None:
            block = np.frombuffer(bytes.fromhex("".join(hashes)), dtype=np.uint8).reshape(len(hashes), -1)
            artifact_ids["request_hashes"] = await self._keep_array(f"{folder}/request_hashes.npy", block, run_id)
        finished = SweepFinished(
            chosen_k=choice.k,
            chosen_by=choice.rule,
            explanation=choice.explanation,
            clusters=tuple(clusters),
            artifact_ids=artifact_ids,
            duration_s=round(self.parts.notebook.clock.monotonic() - self.began, 6),
            representative_hashes=()
            if hashes is None
            else tuple(tuple(hashes[row] for row in cluster.representative_rows) for cluster in clusters),
            timings_s=self.timings_s,
        )
        await self._write(finished, free=True)

    async def _name_clusters(
        self, prepared: Prepared, labels: NDArray[np.int32], centroids: NDArray[np.float32], k: int
    ) -> list[Cluster]:
        rows_of = representatives(prepared.vectors, labels, centroids, per_cluster=REPRESENTATIVES_PER_CLUSTER)
        texts = self.request.texts
        shown = [
            tuple(texts[row] for row in rows) if texts else tuple(f"row {row}" for row in rows) for rows in rows_of
        ]
        summaries = await self._summaries(shown) if texts and self.request.config.summarise else None
        sizes = np.bincount(labels, minlength=k)
        return [
            Cluster(
                cluster=cluster,
                size=int(sizes[cluster]),
                name=_name(cluster, shown[cluster], None if summaries is None else summaries.get(cluster)),
                representatives=shown[cluster],
                representative_rows=tuple(int(row) for row in rows_of[cluster]),
                named_by_call_id=summaries[cluster].call_id if summaries and cluster in summaries else None,
                fell_back=summaries[cluster].fell_back if summaries and cluster in summaries else False,
            )
            for cluster in range(k)
        ]

    async def _summaries(self, shown: list[tuple[str, ...]]) -> dict[int, Summary]:
        """Name every cluster that has members, through captured calls in a group of their own."""
        provider, _, model = (self.request.config.summarise or "").partition("/")
        place = GroupPlace(group_type="summarization_batch", name=str(self.sweep_id))
        filled = [cluster for cluster, texts in enumerate(shown) if texts]
        summaries = await self.parts.summarise(
            [shown[cluster] for cluster in filled],
            self.context,
            provider=provider or None,
            model=model or None,
            group=place,
            progress=lambda done, total: self.progress("naming", done, total),
        )
        link = _link(self.run_place.group_id, place.group_id, "generates")
        await self.parts.groups.link([link], self.context)
        return dict(zip(filled, summaries, strict=True))

    async def _keep_array(self, name: str, array: NDArray[np.generic], group_id: UUID) -> UUID:
        content = self.parts.files.to_npy(array)
        return await self.parts.keep(
            FileToKeep(
                name=name,
                content=content,
                content_type="application/x-npy",
                artifact_type=name.rsplit("/", 1)[1].removesuffix(".npy"),
                group_id=group_id,
                shape=tuple(array.shape),
                metadata={"dtype": str(array.dtype)},
            ),
            self.context,
        )

    async def _keep_json(self, name: str, value: Any, group_id: UUID) -> UUID:
        return await self.parts.keep(
            FileToKeep(
                name=name,
                content=msgspec.json.encode(value),
                content_type="application/json",
                artifact_type=name.rsplit("/", 1)[1].removesuffix(".json"),
                group_id=group_id,
            ),
            self.context,
        )

    async def _array(self, artifact_id: UUID) -> NDArray[Any]:
        return self.parts.files.from_npy(await self.parts.keep.content(artifact_id))

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        began = self.parts.notebook.clock.monotonic()
        yield
        self.timings_s[stage] = round(self.parts.notebook.clock.monotonic() - began, 6)

    async def _write(self, fact: Fact, *, take: bool = False, free: bool = False) -> None:
        async with self.writing:
            entry = self.parts.notebook.entry(self.context, self.sweep_id, self.version + 1, fact)
            await self.parts.notebook.write(
                entry, take=(self.claim,) if take else (), free=(self.claim,) if free else ()
            )
            self.version += 1


def _check(request: SweepRequest) -> None:
    config = request.config
    count = request.vectors.shape[0]
    method(config.method).check(config.parameters)  # what is unknown is rejected before anything is written
    if not config.k_values or min(config.k_values) < 1:
        raise Rejected("K must be at least 1, and the smallest K no larger than the largest", fields=("k_min", "k_max"))
    if max(config.k_values) > min(count, LARGEST_K):
        raise Rejected(
            f"K = {max(config.k_values)} is more than the {count} texts there are; lower --k-max", fields=("k_max",)
        )
    if config.restarts < 1 or config.max_iterations < 1:
        raise Rejected("restarts and max-iter must be at least 1", fields=("restarts", "max_iter"))
    for name, values in (("texts", request.texts), ("labels", request.labels), ("hashes", request.request_hashes)):
        if values is not None and len(values) != count:
            raise Rejected(f"There are {len(values)} {name} for {count} vectors; each vector needs one", fields=(name,))


def _link(parent: UUID, child: UUID, link_type: Any, position: int | None = None) -> GroupLinked:
    return GroupLinked(parent_group_id=parent, child_group_id=child, link_type=link_type, position=position)


def _name(cluster: int, shown: tuple[str, ...], summary: Summary | None) -> str:
    if summary is not None:
        return summary.text
    return f"cluster {cluster}" if shown else f"cluster {cluster} (empty)"
