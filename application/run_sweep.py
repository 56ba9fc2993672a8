"""Sweep the number of clusters: every finished step is recorded, and a sweep that died goes on where it stopped."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from functools import partial
from uuid import UUID

from application.call_provider import Stopping
from application.compute import LOCAL, Compute, Computes
from application.k_llm_means import KLlmMeans, StepInRounds
from application.keep_sweep import REPRESENTATIVES, STEP_CLUSTERS, KeepSweep, SweepUnderRecord
from application.name_clusters import NameClusters
from application.notebook import Context
from application.ports import AppendConflict
from application.summarise_texts import Summary
from application.sweep_progress import Progress, StepsProgress, untold
from application.sweep_request import SweepRequest, asks_in_rounds, check_paraphraser, check_request
from application.sweep_turns import (
    SweepTurns,
    SweepUnderWay,
    SweepWasCancelled,
    failure_of,
    first_of,
    was_cancelled,
    while_looking,
)
from domain.clustering.choosing import choose_step
from domain.clustering.llm_means import parameters_of
from domain.clustering.methods import METHODS, Method
from domain.clustering.step import Prepared, StepResult, prepare, run_step
from domain.clustering.umap_view import umap_view
from domain.clustering.vectors import Vectors
from domain.errors import Conflict, StudyError
from domain.events import Fact
from domain.identity import sha256_hex
from domain.sweeps import (
    Cluster,
    SweepCancelled,
    SweepFinished,
    SweepInterrupted,
    SweepRequested,
    SweepResumed,
    SweepRoundFinished,
    SweepStarted,
    SweepState,
    SweepStepFinished,
    fingerprint_of,
    sweep_id_of,
)

FOUND_BY_THE_METHOD = (0,)  # one step, whose K comes out


class RunSweep:
    """Runs sweeps, finds finished ones again, goes on with unfinished ones."""

    def __init__(
        self,
        turns: SweepTurns,
        keep: KeepSweep,
        name_clusters: NameClusters,
        rounds: KLlmMeans,
        computes: Computes,
        software: Callable[[], dict[str, str]],
        stopping: Stopping,
        *,
        methods: Mapping[str, Method] = METHODS,
    ) -> None:
        self.rounds = rounds
        self.turns = turns
        self.keep = keep
        self.name_clusters = name_clusters
        self.computes = computes
        self.software = software
        self.stopping = stopping
        self.methods = methods

    async def __call__(
        self,
        request: SweepRequest,
        context: Context,
        *,
        compute: str = LOCAL,
        progress: Progress | None = None,
    ) -> tuple[UUID, SweepState]:
        """Run a sweep to its end. The same fingerprint gives the finished sweep, without any new work.

        Raises Rejected for a configuration that can't be run, SweepUnderWay while another process runs the same sweep,
        SweepWasCancelled, Conflict when the sweep began with other vectors, Unavailable.
        """
        check_request(request, self.methods)
        sweep_id = sweep_id_of(fingerprint_of(request.config, request.source), request.salt)
        state = await self.turns.load(sweep_id)
        if state.status != "finished":
            async with self.turns.turn(sweep_id) as left:
                state = await self.go_on(sweep_id, left, request, context, compute=compute, progress=progress)
        _check_vectors(sweep_id, state, request)
        return sweep_id, state

    async def go_on(
        self,
        sweep_id: UUID,
        state: SweepState,
        request: SweepRequest,
        context: Context,
        *,
        compute: str = LOCAL,
        progress: Progress | None = None,
    ) -> SweepState:
        """Do what is still to be done of a sweep, within a turn at it that began with this state; see __call__."""
        if state.status == "finished":
            return state
        _check_vectors(sweep_id, state, request)
        async with AsyncExitStack() as stack:
            try:
                check_paraphraser(request)
                place = await stack.enter_async_context(self.computes.at(compute))
            except StudyError as error:
                await self.turns.failed(sweep_id, error, context)
                raise
            sweep = SweepUnderRecord(sweep_id, request, context)
            await _Run(self, sweep, state, place, progress or untold).to_the_end()
        return await self.turns.load(sweep_id)


class _Run:
    """One sweep under way in this process, whose turn it is."""

    def __init__(
        self, parts: RunSweep, sweep: SweepUnderRecord, state: SweepState, compute: Compute, progress: Progress
    ) -> None:
        self.parts = parts
        self.sweep = sweep
        self.config = sweep.request.config
        self.method = parts.methods[self.config.method]
        self.steps = dict(state.steps)
        self.rounds = {k: dict(rounds) for k, rounds in state.rounds.items()}
        self.is_begun = state.started is not None
        self.version = state.version
        self.compute = compute
        self.progress = progress
        self.notebook = parts.turns.notebook
        self.clock = self.notebook.clock
        self.began = self.clock.monotonic()
        self.writing = asyncio.Lock()
        self.to_be_told = False  # that it runs, since what is recorded last says otherwise
        self.timings_s: dict[str, float] = {}

    async def to_the_end(self) -> None:
        """Do all that is missing, and record how it ended."""
        await self._begin()
        try:
            await while_looking(self.notebook, self._look, self._work())
        except BaseExceptionGroup as failures:
            error = first_of(failures)
            if not isinstance(error, (SweepWasCancelled, SweepUnderWay)):
                await self._write(failure_of(error))
            raise error from None
        except asyncio.CancelledError:
            with suppress(StudyError):  # others have ended it before us, or are told by our death
                await asyncio.shield(self._write(SweepInterrupted(reason=self.parts.stopping.reason)))
            raise

    async def _begin(self) -> None:
        """Keep what goes in, then say that the sweep starts, or goes on."""
        input_artifact_ids = await self.parts.keep.inputs(self.sweep)
        if self.is_begun:
            await self._write(SweepResumed(finished_steps=len(self.steps)))
            return
        request = self.sweep.request
        started = SweepStarted(
            fingerprint=fingerprint_of(request.config, request.source),
            config=request.config,
            source=request.source,
            run_group_id=self.sweep.run_place.group_id,
            software=self.parts.software() | self.method.software(),
            salt=request.salt,
            gather_duration_s=request.gather_duration_s,
            input_artifact_ids=input_artifact_ids,
        )
        await self._write(started)

    async def _work(self) -> None:
        with self._timed("preparing"):
            # Always here: what is prepared is far smaller than the vectors, and travels in their place.
            async with self.parts.computes.at(LOCAL) as here:
                prepared = await here.run(prepare, self.sweep.request.vectors, self.config)
        with self._timed("steps"):
            await self._run_missing_steps(prepared)
        await self._finish(prepared)

    async def _look(self) -> None:
        async with self.writing:
            await self._catch_up()

    async def _run_missing_steps(self, prepared: Prepared) -> None:
        wanted = self.config.k_values or tuple(self.steps) or FOUND_BY_THE_METHOD
        missing = [k for k in wanted if k not in self.steps]
        told = StepsProgress(self.progress, wanted, at_once=self.compute.at_once, monotonic=self.clock.monotonic)
        told.tell(list(self.steps))
        if not missing:
            return
        await self.parts.rounds.check(self.sweep.request, self.sweep.context)
        shared, labels = await self.compute.share(prepared), await self.compute.share(self.sweep.request.labels)
        # No more at a time than can be computed: another sweep's steps then wait for one of ours, not for all.
        places = asyncio.Semaphore(self.compute.at_once)

        async def step(k: int) -> None:
            async with places:
                began = self.clock.monotonic()
                if self.method.in_rounds:
                    result = await self.parts.rounds(self._in_rounds(shared, labels, k))
                else:
                    result = await self.compute.run(run_step, shared, k, self.config, labels, self.method)
                duration_s = self.clock.monotonic() - began
            await self._record_step(prepared, result, duration_s)
            told.finished(k, duration_s)
            told.tell(list(self.steps) if self.config.k_values else [k])

        async with asyncio.TaskGroup() as tasks:
            # The longest first, so that none is computed alone at the end.
            for k in sorted(missing, reverse=True):
                tasks.create_task(step(k))

    def _in_rounds(self, prepared: Prepared, labels: Sequence[str] | None, k: int) -> StepInRounds:
        async def record(fact: SweepRoundFinished) -> None:
            await self._write(fact)
            self.rounds.setdefault(k, {})[fact.round] = fact

        def told() -> None:
            total = len(self.config.k_values) * parameters_of(self.config).rounds
            self.progress("rounds", sum(map(len, self.rounds.values())), total)

        finished = dict(self.rounds.get(k, {}))
        return StepInRounds(self.sweep, self.compute, prepared, labels, k, finished, record, told)

    async def _record_step(self, prepared: Prepared, result: StepResult, duration_s: float) -> None:
        k = result.metrics.k
        clusters = await self._step_clusters(prepared, result) if self.config.name_every_k else None
        fact = SweepStepFinished(
            metrics=result.metrics,
            labels_sha256=sha256_hex(result.labels.astype("<i4").tobytes()),
            centroids_sha256=sha256_hex(result.centroids.astype("<f4").tobytes()),
            best_restart=result.best_restart,
            step_group_id=self.sweep.step_place(k).group_id,
            artifact_ids=await self.parts.keep.step(self.sweep, result, clusters),
            duration_s=round(duration_s, 6),
        )
        await self._write(fact)
        self.steps[k] = fact

    async def _finish(self, prepared: Prepared) -> None:
        metrics = [self.steps[k].metrics for k in self.config.k_values or self.steps]
        choice = choose_step(metrics, self.config, self.method)
        chosen = self.steps[choice.k].artifact_ids
        with self._timed("naming"):
            if STEP_CLUSTERS in chosen:
                clusters = await self.parts.keep.document(chosen[STEP_CLUSTERS], list[Cluster])
            else:
                clusters = await self.parts.name_clusters(
                    self.sweep,
                    prepared,
                    await self.parts.keep.array(chosen["sweep_labels"]),
                    await self.parts.keep.array(chosen["sweep_centroids"]),
                    # Of a step from before they were kept, they are those nearest to the centroids.
                    stand_for=await self.parts.keep.array(chosen[REPRESENTATIVES])
                    if REPRESENTATIVES in chosen
                    else None,
                    progress=partial(self.progress, "naming"),
                    said=await self._said(choice.k),
                )
        view = await self._view(prepared)
        hashes = self.sweep.request.request_hashes
        finished = SweepFinished(
            chosen_k=choice.k,
            chosen_by=choice.rule,
            explanation=choice.explanation,
            clusters=tuple(clusters),
            artifact_ids=await self.parts.keep.whole(self.sweep, prepared, metrics, choice.k, clusters, view),
            duration_s=round(self.clock.monotonic() - self.began, 6),
            representative_hashes=()
            if hashes is None
            else tuple(tuple(hashes[row] for row in cluster.representative_rows) for cluster in clusters),
            timings_s=self.timings_s,
        )
        await self._write(finished)

    async def _view(self, prepared: Prepared) -> Vectors | None:
        """The second look at the rows, if one was asked for."""
        if not self.config.view:
            return None
        with self._timed("view"):
            async with self.parts.computes.at(LOCAL) as here:
                view: Vectors = await here.run(umap_view, prepared.vectors, self.config.seed)
        return view

    async def _step_clusters(self, prepared: Prepared, result: StepResult) -> list[Cluster]:
        """Name the clusters of a step that was not chosen yet, and may never be."""
        k = result.metrics.k
        await self.parts.keep.step_group(self.sweep, k)
        return await self.parts.name_clusters(
            self.sweep,
            prepared,
            result.labels,
            result.centroids,
            progress=partial(self.progress, f"naming K = {k}"),
            said=await self._said(k),
            step_only=True,
        )

    async def _said(self, k: int) -> dict[int, Summary] | None:
        """What the rounds have said of the clusters, unless somebody else is to name them."""
        rounds = self.rounds.get(k)
        if not rounds or self.sweep.request.texts is None:
            return None
        if not asks_in_rounds(self.config) and self.config.summarise is not None:
            return None
        return await self.parts.rounds.names(rounds)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        began = self.clock.monotonic()
        yield
        self.timings_s[stage] = round(self.clock.monotonic() - began, 6)

    async def _write(self, fact: Fact) -> None:
        """Append to the sweep's stream, behind what others may have written there meanwhile."""
        async with self.writing:
            while True:
                try:
                    await self._append(fact)
                except AppendConflict:
                    await self._catch_up()
                else:
                    return

    async def _append(self, fact: Fact) -> None:
        sweep = self.sweep
        await self.notebook.write(self.notebook.entry(sweep.context, sweep.sweep_id, self.version + 1, fact))
        self.version += 1

    async def _catch_up(self) -> None:
        """Look at what others wrote. Raises SweepWasCancelled, SweepUnderWay when another process goes on with it."""
        sweep_id, notebook = self.sweep.sweep_id, self.notebook
        for event in await notebook.store.read_stream(sweep_id, after_version=self.version):
            match event.fact:
                case SweepCancelled() as cancelled:
                    raise was_cancelled(sweep_id, event.envelope.actor, cancelled)
                case SweepInterrupted() | SweepRequested():
                    self.to_be_told = True  # it was thought dead, or asked for once more
                case SweepStepFinished(metrics=metrics) if event.envelope.process == notebook.process:
                    self.steps[metrics.k] = event.fact  # ours: it landed though we were cancelled meanwhile
                case SweepRoundFinished(k=k, round=number) if event.envelope.process == notebook.process:
                    self.rounds.setdefault(k, {})[number] = event.fact
                case _ if event.envelope.process != notebook.process:
                    raise SweepUnderWay(
                        f"Process {event.envelope.process} goes on with sweep {sweep_id}: this one was thought dead",
                        existing_id=str(sweep_id),
                    )
            self.version = event.version
        if self.to_be_told:
            with suppress(AppendConflict):  # then at the next look
                await self._append(SweepResumed(finished_steps=len(self.steps)))
                self.to_be_told = False


def _check_vectors(sweep_id: UUID, state: SweepState, request: SweepRequest) -> None:
    began_with = None if state.started is None else state.started.source.vectors_sha256
    if began_with not in (None, request.source.vectors_sha256):
        raise Conflict(
            f"Sweep {sweep_id} began with other vectors (SHA-256 {began_with}) than these "
            f"({request.source.vectors_sha256}), though their texts were embedded alike; run it with --force",
            existing_id=str(sweep_id),
        )
