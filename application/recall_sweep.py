"""Gather what a sweep needs from the record alone, so that anybody can go on with it who knows its id."""

from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from application.find_vectors import EmbeddingCache
from application.gather_sweep import GatherSweep
from application.import_dataset import Dataset, ImportDataset, hash_of_vectors
from application.keep_sweep import REQUEST_HASHES, TRUE_LABELS, KeepSweep
from application.notebook import Context
from application.sweep_progress import Progress
from application.sweep_request import SweepRequest
from domain.errors import Conflict, NotFound
from domain.sweeps import SweepRequested, SweepStarted, SweepState

Texts = tuple[str, ...] | None


class RecallSweep:
    """Recalls: vectors from where they were imported or from the calls that paid for them, texts from their dataset."""

    def __init__(self, gather: GatherSweep, datasets: ImportDataset, keep: KeepSweep, cache: EmbeddingCache) -> None:
        self._gather = gather
        self._datasets = datasets
        self._keep = keep
        self._cache = cache

    async def __call__(
        self, sweep_id: UUID, state: SweepState, context: Context, *, progress: Progress | None = None
    ) -> SweepRequest:
        """What is to be swept. Texts of one that was asked for and never began are embedded now.

        Raises NotFound for a sweep that isn't there, Conflict for vectors that are no longer what they were.
        """
        if state.started is not None:
            return await self._of_started(sweep_id, state.started, context, progress)
        if state.requested is not None:
            return await self._of_requested(state.requested, context, progress)
        raise NotFound(f"There is no sweep {sweep_id}; `study sweep list` shows the ones there are")

    async def _of_requested(self, asked: SweepRequested, context: Context, progress: Progress | None) -> SweepRequest:
        if asked.vectors_id is None and asked.dataset_name is not None:
            return await self._gather.from_dataset(
                asked.dataset_name,
                asked.config,
                context,
                provider=asked.provider,
                model=asked.model,
                dimensions=asked.dimensions,
                salt=asked.salt,
                progress=_embedding(progress),
            )
        vectors = await self._datasets.vectors(asked.vectors_id or UUID(int=0))
        dataset = await self._dataset(asked.dataset_name)
        return self._gather.of_kept_vectors(vectors, asked.config, asked.vectors_id, dataset, salt=asked.salt)

    async def _of_started(
        self, sweep_id: UUID, started: SweepStarted, context: Context, progress: Progress | None
    ) -> SweepRequest:
        source, inputs = started.source, started.input_artifact_ids
        dataset = await self._dataset(source.dataset_name)
        hashes = await self._request_hashes(inputs.get(REQUEST_HASHES))
        if source.vectors_id is not None:
            vectors = await self._datasets.vectors(source.vectors_id)
        elif hashes is not None:
            vectors = await self._embedded(sweep_id, hashes)
        else:
            vectors, hashes = await self._embedded_again(sweep_id, started, context, progress)
        _check(sweep_id, hash_of_vectors(vectors), source.vectors_sha256)
        labels = None if dataset is None else dataset.labels
        if TRUE_LABELS in inputs:
            labels = await self._keep.document(inputs[TRUE_LABELS], tuple[str, ...])
        return SweepRequest(
            vectors=vectors,
            config=started.config,
            source=source,
            texts=None if dataset is None else dataset.texts,
            labels=labels,
            salt=started.salt,
            dataset_group_id=None if dataset is None else dataset.group_id,
            request_hashes=hashes,
            gather_duration_s=started.gather_duration_s,
        )

    async def _dataset(self, name: str | None) -> Dataset | None:
        return None if name is None else await self._datasets.load(name)

    async def _request_hashes(self, artifact_id: UUID | None) -> Texts:
        if artifact_id is None:
            return None
        return tuple(row.tobytes().hex() for row in await self._keep.array(artifact_id))

    async def _embedded(self, sweep_id: UUID, hashes: tuple[str, ...]) -> NDArray[np.float32]:
        found = await self._cache.lookup(hashes)
        if len(found.places) < len(hashes):
            raise NotFound(
                f"The vectors of {len(hashes) - len(found.places)} of the {len(hashes)} texts of sweep {sweep_id} are "
                "not shown; `study projections status` says whether a read model has stopped"
            )
        vectors = np.empty((len(hashes), found.dimension()), dtype=np.float32)
        await self._cache.read_into(found, vectors)
        return vectors

    async def _embedded_again(
        self, sweep_id: UUID, started: SweepStarted, context: Context, progress: Progress | None
    ) -> tuple[NDArray[np.float32], Texts]:
        """A sweep from before its rows' hashes were kept at its start: only its dataset leads to its vectors."""
        if started.source.dataset_name is None:
            raise NotFound(
                f"Where the vectors of sweep {sweep_id} are is not in its record; run the same command or code again, "
                "which goes on from here"
            )
        again = await self._gather.from_dataset(
            started.source.dataset_name,
            started.config,
            context,
            provider=started.source.embedding_provider,
            model=started.source.embedding_model,
            progress=_embedding(progress),
        )
        return again.vectors, again.request_hashes


def _embedding(progress: Progress | None) -> "_Stage | None":
    return None if progress is None else _Stage(progress)


class _Stage:
    """The progress of embedding, as that tells it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __call__(self, done: int, total: int) -> None:
        self._progress("embedding", done, total)


def _check(sweep_id: UUID, found_sha256: str, began_with_sha256: str) -> None:
    if found_sha256 != began_with_sha256:
        raise Conflict(
            f"The vectors of sweep {sweep_id} have the SHA-256 {found_sha256}, and began as {began_with_sha256}; it "
            "can't go on with others. Sweep them anew with --force",
            existing_id=str(sweep_id),
        )
