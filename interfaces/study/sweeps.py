"""Sweeping the number of clusters, and looking at what came of it."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from application.ask_for_sweep import AskForSweep, SweepAsked
from application.cancel_sweep import CancelSweep
from application.compute import LOCAL
from application.embed_texts import Embedded
from application.gather_sweep import GatherSweep
from application.keep_artifact import KeepArtifact
from application.notebook import Context
from application.paraphrase import Paraphraser
from application.resume_sweep import ResumeSweep
from application.run_sweep import RunSweep
from application.sweep_progress import Progress
from application.sweep_request import SweepRequest
from domain.clustering.selection import RULES
from domain.clustering.stability import adjusted_rand_index
from domain.errors import NotFound
from domain.events import RecordedEvent
from domain.sweep_comparison import compare_sweeps, same_rows
from domain.sweeps import SweepConfig
from infrastructure.compute import check_place
from infrastructure.method_plug_ins import InstalledMethods
from infrastructure.table_files import ColumnarFiles
from interfaces.as_of import NOW, Moment
from interfaces.study.moments import Moments
from interfaces.study.words import Json, id_of, stage
from projections.paging import FIRST_PAGE, Paging
from projections.queries import Queries
from projections.sweep_queries import LeftSweep
from projections.sweeps import SWEEP_RUNS

SWEEPS = (SWEEP_RUNS.name,)
Documents = list[Json]


class Sweeps:
    """Sweeps of datasets, of what was embedded, and of vectors made elsewhere."""

    def __init__(
        self,
        gather_sweep: GatherSweep,
        run_sweep: RunSweep,
        resume_sweep: ResumeSweep,
        cancel_sweep: CancelSweep,
        ask_for_sweep: AskForSweep,
        keep_artifact: KeepArtifact,
        files: ColumnarFiles,
        queries: Queries,
        moments: Moments,
        methods: InstalledMethods,
    ) -> None:
        self._gather_sweep = gather_sweep
        self._run_sweep = run_sweep
        self._resume_sweep = resume_sweep
        self._cancel_sweep = cancel_sweep
        self._ask_for_sweep = ask_for_sweep
        self._keep_artifact = keep_artifact
        self._files = files
        self._queries = queries
        self._moments = moments
        self.methods = methods

    def method_documents(self) -> Documents:
        """The methods there are, ours and those of other distributions, with their parameters as JSON schemas."""
        return self.methods.documents()

    def rule_documents(self) -> Documents:
        """The rules by which K is chosen, with their parameters as JSON schemas."""
        return [rule.document() for rule in RULES.values()]

    async def of_dataset(
        self,
        name: str,
        context: Context,
        *,
        config: SweepConfig,
        provider: str | None = None,
        model: str | None = None,
        dimensions: int | None = None,
        paraphraser: Paraphraser | None = None,
        force: bool = False,
        compute: str = LOCAL,
        progress: Progress | None = None,
    ) -> UUID:
        """Embed a dataset and sweep it; the same data and configuration find the finished sweep again."""
        request = await self._gather_sweep.from_dataset(
            name,
            config,
            context,
            provider=provider,
            model=model,
            dimensions=dimensions,
            salt=_salt(force),
            progress=stage(progress, "embedding"),
        )
        request = structs.replace(request, paraphraser=paraphraser)
        return await self._sweep(request, context, compute, progress)

    async def of_vectors(
        self,
        vectors: NDArray[np.float32],
        context: Context,
        *,
        config: SweepConfig,
        texts: tuple[str, ...] | None = None,
        labels: tuple[str, ...] | None = None,
        source_name: str = "",
        paraphraser: Paraphraser | None = None,
        force: bool = False,
        compute: str = LOCAL,
        progress: Progress | None = None,
    ) -> UUID:
        """Sweep vectors that were made elsewhere, (n_samples, n_features) float32."""
        request = await self._gather_sweep.from_vectors(
            vectors, config, context, texts=texts, labels=labels, source_name=source_name, salt=_salt(force)
        )
        request = structs.replace(request, paraphraser=paraphraser)
        return await self._sweep(request, context, compute, progress)

    async def of_embedded(
        self,
        embedded: Embedded,
        context: Context,
        *,
        config: SweepConfig,
        texts: tuple[str, ...] | None = None,
        labels: tuple[str, ...] | None = None,
        paraphraser: Paraphraser | None = None,
        force: bool = False,
        compute: str = LOCAL,
        progress: Progress | None = None,
    ) -> UUID:
        """Sweep what `embed` returned."""
        request = await self._gather_sweep.from_embedded(
            embedded, config, context, texts=texts, labels=labels, salt=_salt(force)
        )
        request = structs.replace(request, paraphraser=paraphraser)
        return await self._sweep(request, context, compute, progress)

    async def resume(
        self,
        sweep_id: UUID | str,
        context: Context,
        *,
        compute: str | None = None,
        unasked: bool = False,
        progress: Progress | None = None,
    ) -> UUID:
        """Go on with a sweep that somebody has left, with what its record holds; a finished one stays as it is.

        unasked: only if it is to go on by itself
        Raises NotFound, SweepUnderWay while a live process runs it, SweepWasCancelled.
        """
        check_place(compute or LOCAL)
        await self._resume_sweep(id_of(sweep_id), context, compute=compute, unasked=unasked, progress=progress)
        await self._moments.all_shown()
        return id_of(sweep_id)

    async def ask(
        self,
        context: Context,
        *,
        config: SweepConfig,
        dataset: str | None = None,
        provider: str | None = None,
        model: str | None = None,
        dimensions: int | None = None,
        vectors: NDArray[np.float32] | None = None,
        texts: tuple[str, ...] | None = None,
        labels: tuple[str, ...] | None = None,
        force: bool = False,
        compute: str = LOCAL,
    ) -> SweepAsked:
        """Ask for a sweep of a dataset, or of vectors made elsewhere, and leave it to a server.

        Its id is known before anything is embedded. Raises NotFound, Rejected.
        """
        salt = _salt(force)
        if vectors is not None:
            return await self._ask_for_sweep.of_vectors(
                vectors, config, context, texts=texts, labels=labels, salt=salt, compute=compute
            )
        return await self._ask_for_sweep.of_dataset(
            dataset or "",
            config,
            context,
            provider=provider,
            model=model,
            dimensions=dimensions,
            salt=salt,
            compute=compute,
        )

    async def ask_again(self, sweep_id: UUID | str, context: Context, *, compute: str = LOCAL) -> SweepAsked:
        """Leave it to a server to go on with a sweep. Raises NotFound."""
        return await self._ask_for_sweep.again(id_of(sweep_id), context, compute=compute)

    async def events_of(self, sweep_id: UUID, *, after_version: int = 0) -> Sequence[RecordedEvent]:
        """The events of a sweep, as they are stored; none after the last. Raises NotFound for a sweep without any."""
        events = await self._run_sweep.turns.notebook.store.read_stream(sweep_id, after_version=after_version)
        if not events and not after_version:
            raise NotFound(f"There is no sweep {sweep_id}; `study sweep list` shows the ones there are")
        return events

    async def get_as_stored(self, sweep_id: UUID) -> Json:
        """A sweep once the read models show all that is stored of it. Raises NotFound, Unavailable."""
        last = (await self.events_of(sweep_id))[-1].position
        return await self.get(sweep_id, Moment(at_least=last))

    async def left_to_servers(self) -> Sequence[LeftSweep]:
        """Sweeps that were asked for and left, which a server is to run."""
        return await self._queries.sweeps.left_to_servers()

    async def cancel(self, sweep_id: UUID | str, context: Context) -> Json:
        """End a sweep, whoever runs it; what is finished stays. Raises NotFound, Conflict for a finished one."""
        position = await self._cancel_sweep(id_of(sweep_id), context)
        return {"sweep_id": str(id_of(sweep_id)), "status": "cancelled", "position": position}

    async def labels(self, sweep_id: UUID | str) -> dict[int, NDArray[np.int32]]:
        """The labels of every finished step, by K: (n_samples,) int32. Raises NotFound."""
        state = await self._run_sweep.turns.known(id_of(sweep_id))
        return {k: await self._array(step.artifact_ids["sweep_labels"]) for k, step in sorted(state.steps.items())}

    async def get(self, sweep_id: UUID | str, moment: Moment = NOW) -> Json:
        """A sweep with its steps and clusters. Raises NotFound."""
        position = await self._moments.shown(moment, reads=SWEEPS)
        return await self._queries.sweeps.sweep(id_of(sweep_id), as_of=position)

    async def list(self, moment: Moment = NOW, page: Paging = FIRST_PAGE) -> Json:
        """The sweeps, newest first."""
        position = await self._moments.shown(moment, page, reads=SWEEPS)
        return await self._queries.sweeps.sweeps(as_of=position, page=page)

    async def compare(self, first: UUID | str, second: UUID | str, moment: Moment = NOW) -> Json:
        """What differed between two sweeps, and how far their labels agree if they are of the same rows."""
        position = await self._moments.shown(moment, reads=SWEEPS)
        one = await self._queries.sweeps.sweep(id_of(first), as_of=position)
        other = await self._queries.sweeps.sweep(id_of(second), as_of=position)
        agreement = await self._agreement(one, other) if same_rows(one, other) else None
        return compare_sweeps(one, other, agreement)

    async def _sweep(self, request: SweepRequest, context: Context, compute: str, progress: Progress | None) -> UUID:
        check_place(compute)
        sweep_id, _ = await self._run_sweep(request, context, compute=compute, progress=progress)
        await self._moments.all_shown()
        return sweep_id

    async def _agreement(self, one: Json, other: Json) -> dict[tuple[int, int], float]:
        """The adjusted Rand index of the labels of every K that both have, and of the two that were chosen."""
        left, right = [
            {step["k"]: await self._array(UUID(step["artifact_ids"]["sweep_labels"])) for step in sweep["steps"]}
            for sweep in (one, other)
        ]
        pairs = {(k, k) for k in left if k in right}
        if one["chosen_k"] in left and other["chosen_k"] in right:
            pairs.add((one["chosen_k"], other["chosen_k"]))
        return await asyncio.to_thread(
            lambda: {(a, b): adjusted_rand_index(left[a], right[b]) for a, b in sorted(pairs)}
        )

    async def _array(self, artifact_id: UUID) -> NDArray[Any]:
        return self._files.from_npy(await self._keep_artifact.content(artifact_id))


def _salt(force: bool) -> str | None:
    """What makes a sweep another one than the finished one."""
    return str(uuid4()) if force else None
