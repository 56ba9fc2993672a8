"""Sweep the number of clusters: every finished step is recorded, and a sweep that died goes on where it stopped."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial, reduce
from typing import Any, Protocol
from uuid import UUID

from application.group_calls import GroupCalls
from application.import_dataset import TableFiles
from application.keep_artifact import KeepArtifact
from application.keep_sweep import REPRESENTATIVES, KeepSweep, SweepUnderRecord
from application.name_clusters import NameClusters
from application.notebook import Context, Notebook
from application.ports import Claim
from application.summarise_texts import SummariseTexts
from application.sweep_request import SweepRequest, check_request
from domain.clustering.choosing import choose_step
from domain.clustering.methods import METHODS, Method
from domain.clustering.step import Prepared, StepResult, prepare, run_step
from domain.clustering.umap_view import umap_view
from domain.clustering.vectors import Vectors
from domain.events import Fact
from domain.identity import sha256_hex
from domain.sweeps import (
    SweepFailed,
    SweepFinished,
    SweepResumed,
    SweepStarted,
    SweepState,
    SweepStepFinished,
    evolve,
    fingerprint_of,
    sweep_id_of,
)

FOUND_BY_THE_METHOD = (0,)  # one step, whose K comes out

Progress = Callable[[str, int, int], None]


class Compute(Protocol):
    """Where steps are computed."""

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a pure function and return its result."""


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
        *,
        methods: Mapping[str, Method] = METHODS,
    ) -> None:
        self.notebook = notebook
        self.keep = KeepSweep(groups, keep, files)
        self.name_clusters = NameClusters(groups, summarise)
        self.compute = compute
        self.software = software
        self.methods = methods

    async def __call__(
        self, request: SweepRequest, context: Context, *, progress: Progress | None = None
    ) -> tuple[UUID, SweepState]:
        """Run a sweep to its end. The same fingerprint gives the finished sweep, without any new work.

        Raises Rejected for a configuration that can't be run, ClaimHeld while another process runs the same sweep.
        """
        check_request(request, self.methods)
        fingerprint = fingerprint_of(request.config, request.source)
        sweep_id = sweep_id_of(fingerprint, request.salt)
        state = await self.load(sweep_id)
        if state.status == "finished":
            return sweep_id, state
        sweep = SweepUnderRecord(sweep_id, request, context)
        run = _Run(self, sweep, state, progress or (lambda _what, _done, _total: None))
        return sweep_id, await run.to_the_end(fingerprint)

    async def load(self, sweep_id: UUID) -> SweepState:
        """A sweep's state; the empty state if there is none of this id."""
        return reduce(evolve, await self.notebook.store.read_stream(sweep_id), SweepState())


class _Run:
    """One sweep under way in this process, which holds the claim to it."""

    def __init__(self, parts: RunSweep, sweep: SweepUnderRecord, state: SweepState, progress: Progress) -> None:
        self.parts = parts
        self.sweep = sweep
        self.config = sweep.request.config
        self.method = parts.methods[self.config.method]
        self.steps = dict(state.steps)
        self.started = state.started
        self.version = state.version
        self.progress = progress
        self.claim = Claim(key=f"sweep:{sweep.sweep_id}", holder=sweep.sweep_id)
        self.began = parts.notebook.clock.monotonic()
        self.writing = asyncio.Lock()
        self.timings_s: dict[str, float] = {}

    async def to_the_end(self, fingerprint: str) -> SweepState:
        await self._begin(fingerprint)
        try:
            await self.parts.keep.inputs(self.sweep)
            with self._timed("preparing"):
                prepared = await self.parts.compute.run(prepare, self.sweep.request.vectors, self.config)
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
        return await self.parts.load(self.sweep.sweep_id)

    async def _begin(self, fingerprint: str) -> None:
        """Take the claim, and say in the same breath that the sweep starts or goes on."""
        request = self.sweep.request
        if self.started is None:
            fact: Fact = SweepStarted(
                fingerprint=fingerprint,
                config=request.config,
                source=request.source,
                run_group_id=self.sweep.run_place.group_id,
                software=self.parts.software() | self.method.software(),
                salt=request.salt,
                gather_duration_s=request.gather_duration_s,
            )
        else:
            fact = SweepResumed(finished_steps=len(self.steps))
        await self._write(fact, take=True)

    async def _run_missing_steps(self, prepared: Prepared) -> None:
        wanted = self.config.k_values or FOUND_BY_THE_METHOD
        self.progress("clustering", len(self.steps), len(wanted))

        async def step(k: int) -> None:
            began = self.parts.notebook.clock.monotonic()
            result = await self.parts.compute.run(
                run_step, prepared, k, self.config, self.sweep.request.labels, self.method
            )
            await self._record_step(result, self.parts.notebook.clock.monotonic() - began)
            self.progress("clustering", len(self.steps), len(wanted))

        try:
            async with asyncio.TaskGroup() as tasks:
                for k in wanted:
                    if k not in self.steps and not (self.method.finds_k and self.steps):
                        tasks.create_task(step(k))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _record_step(self, result: StepResult, duration_s: float) -> None:
        k = result.metrics.k
        fact = SweepStepFinished(
            metrics=result.metrics,
            labels_sha256=sha256_hex(result.labels.astype("<i4").tobytes()),
            centroids_sha256=sha256_hex(result.centroids.astype("<f4").tobytes()),
            best_restart=result.best_restart,
            step_group_id=self.sweep.step_place(k).group_id,
            artifact_ids=await self.parts.keep.step(self.sweep, result),
            duration_s=round(duration_s, 6),
        )
        await self._write(fact)
        self.steps[k] = fact

    async def _finish(self, prepared: Prepared) -> None:
        metrics = [self.steps[k].metrics for k in self.config.k_values or self.steps]
        choice = choose_step(metrics, self.config, self.method)
        chosen = self.steps[choice.k].artifact_ids
        with self._timed("naming"):
            clusters = await self.parts.name_clusters(
                self.sweep,
                prepared,
                await self.parts.keep.array(chosen["sweep_labels"]),
                await self.parts.keep.array(chosen["sweep_centroids"]),
                # Of a step from before they were kept, they are those nearest to the centroids.
                stand_for=await self.parts.keep.array(chosen[REPRESENTATIVES]) if REPRESENTATIVES in chosen else None,
                progress=partial(self.progress, "naming"),
            )
        view = await self._view(prepared)
        hashes = self.sweep.request.request_hashes
        finished = SweepFinished(
            chosen_k=choice.k,
            chosen_by=choice.rule,
            explanation=choice.explanation,
            clusters=tuple(clusters),
            artifact_ids=await self.parts.keep.whole(self.sweep, prepared, metrics, choice.k, clusters, view),
            duration_s=round(self.parts.notebook.clock.monotonic() - self.began, 6),
            representative_hashes=()
            if hashes is None
            else tuple(tuple(hashes[row] for row in cluster.representative_rows) for cluster in clusters),
            timings_s=self.timings_s,
        )
        await self._write(finished, free=True)

    async def _view(self, prepared: Prepared) -> Vectors | None:
        """The second look at the rows, if one was asked for."""
        if not self.config.view:
            return None
        with self._timed("view"):
            view: Vectors = await self.parts.compute.run(umap_view, prepared.vectors, self.config.seed)
        return view

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        began = self.parts.notebook.clock.monotonic()
        yield
        self.timings_s[stage] = round(self.parts.notebook.clock.monotonic() - began, 6)

    async def _write(self, fact: Fact, *, take: bool = False, free: bool = False) -> None:
        async with self.writing:
            entry = self.parts.notebook.entry(self.sweep.context, self.sweep.sweep_id, self.version + 1, fact)
            await self.parts.notebook.write(
                entry, take=(self.claim,) if take else (), free=(self.claim,) if free else ()
            )
            self.version += 1
