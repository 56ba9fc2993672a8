"""Gather what a sweep needs: vectors with their texts and labels, and the account of where they came from."""

from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from application.embed_texts import Embedded, EmbedTexts, Progress, TextsToEmbed
from application.group_calls import GroupCalls, GroupPlace
from application.import_dataset import Dataset, ImportDataset, Table, hash_of_texts, hash_of_vectors
from application.notebook import Context
from application.sweep_request import SweepRequest
from domain.clustering.vectors import check_vectors
from domain.errors import Rejected
from domain.groups import Member
from domain.identity import sha256_hex
from domain.sweeps import SweepConfig, SweepSource, hash_of_request_hashes

Texts = tuple[str, ...] | None


class GatherSweep:
    """Gathers: from a dataset's name, from what was embedded, from vectors made elsewhere."""

    def __init__(self, embed_texts: EmbedTexts, datasets: ImportDataset, groups: GroupCalls) -> None:
        self._embed_texts = embed_texts
        self._datasets = datasets
        self._groups = groups
        self._clock = groups.notebook.clock

    async def embedded_dataset(
        self,
        name: str,
        context: Context,
        *,
        provider: str | None = None,
        model: str | None = None,
        dimensions: int | None = None,
        progress: Progress | None = None,
    ) -> tuple[Dataset, Embedded]:
        """Embed a dataset's texts; its calls form a group of type embedding_batch. Raises NotFound, ProviderFailed."""
        dataset = await self._datasets.load(name)
        wanted = TextsToEmbed(
            texts=dataset.texts,
            provider=provider,
            model=model,
            dimensions=dimensions,
            group=_batch(dataset, provider, model, dimensions),
            metadata={"dataset_id": str(dataset.dataset_id)},
        )
        return dataset, await self._embed_texts(wanted, context, progress=progress)

    async def from_dataset(
        self,
        name: str,
        config: SweepConfig,
        context: Context,
        *,
        provider: str | None = None,
        model: str | None = None,
        dimensions: int | None = None,
        salt: str | None = None,
        progress: Progress | None = None,
    ) -> SweepRequest:
        """A dataset, embedded."""
        began = self._clock.monotonic()
        dataset, embedded = await self.embedded_dataset(
            name, context, provider=provider, model=model, dimensions=dimensions, progress=progress
        )
        return _request(
            embedded.vectors,
            config,
            dataset,
            (dataset.texts, dataset.labels),
            salt,
            self._clock.monotonic() - began,
            embedded,
            embedding_group_id=_batch(dataset, provider, model, dimensions).group_id,
        )

    async def from_embedded(
        self,
        embedded: Embedded,
        config: SweepConfig,
        context: Context,
        *,
        texts: Texts = None,
        labels: Texts = None,
        salt: str | None = None,
    ) -> SweepRequest:
        """What was embedded before: its calls form an embedding_batch, its texts, if they are given, a dataset."""
        began = self._clock.monotonic()
        dataset = await self._dataset_beside(hash_of_vectors(embedded.vectors), texts, labels, context)
        return _request(
            embedded.vectors,
            config,
            dataset,
            (texts, labels),
            salt,
            self._clock.monotonic() - began,
            embedded,
            embedding_group_id=await self._batch_of(embedded, context),
        )

    async def from_vectors(
        self,
        vectors: NDArray[np.float32],
        config: SweepConfig,
        context: Context,
        *,
        texts: Texts = None,
        labels: Texts = None,
        source_name: str = "",
        salt: str | None = None,
    ) -> SweepRequest:
        """Vectors made elsewhere, (n_samples, n_features) float32; they are kept, and so are their texts."""
        began = self._clock.monotonic()
        vectors_id, dataset = await self.keep_vectors(
            vectors, context, texts=texts, labels=labels, source_name=source_name
        )
        taken = self._clock.monotonic() - began
        return _request(vectors, config, dataset, (texts, labels), salt, taken, vectors_id=vectors_id)

    def of_kept_vectors(
        self,
        vectors: NDArray[np.float32],
        config: SweepConfig,
        vectors_id: UUID | None,
        dataset: Dataset | None,
        *,
        salt: str | None = None,
    ) -> SweepRequest:
        """Vectors that were kept before, with the dataset of their texts."""
        rows = (None, None) if dataset is None else (dataset.texts, dataset.labels)
        return _request(vectors, config, dataset, rows, salt, 0.0, vectors_id=vectors_id)

    async def keep_vectors(
        self,
        vectors: NDArray[np.float32],
        context: Context,
        *,
        texts: Texts = None,
        labels: Texts = None,
        source_name: str = "",
    ) -> tuple[UUID, Dataset | None]:
        """Record who brought vectors in, and from where; their texts are kept as a dataset.

        Raises Rejected for what is no matrix of finite numbers, and for another number of texts or labels than rows.
        """
        rows = check_vectors(vectors)
        for name, values in (("texts", texts), ("labels", labels)):
            if values is not None and len(values) != len(rows):
                raise Rejected(
                    f"There are {len(values)} {name} for {len(rows)} vectors; give one for each", fields=(name,)
                )
        vectors_id, vectors_sha256 = await self._datasets.import_vectors(rows, context, source_name=source_name)
        return vectors_id, await self._dataset_beside(vectors_sha256, texts, labels, context)

    async def dataset_of(self, source: SweepSource) -> Dataset | None:
        """The texts and labels that a sweep was made of, if there were any."""
        return None if source.dataset_name is None else await self._datasets.load(source.dataset_name)

    async def _batch_of(self, embedded: Embedded, context: Context) -> UUID:
        """The group of the calls that paid for vectors: one for each set of calls."""
        call_ids = tuple(dict.fromkeys(embedded.call_ids))
        digest = sha256_hex(b"".join(call_id.bytes for call_id in call_ids))
        place = GroupPlace(group_type="embedding_batch", name=f"{len(call_ids)} calls {digest[:16]}")
        await self._groups.ensure(place, context)
        members = [Member(call_id=call_id, role="output", position=at) for at, call_id in enumerate(call_ids)]
        await self._groups.add_once(place.group_id, members, context)
        return place.group_id

    async def _dataset_beside(
        self, vectors_sha256: str, texts: Texts, labels: Texts, context: Context
    ) -> Dataset | None:
        """Keep the texts of vectors, row by row, so that a report can show them."""
        if texts is None:
            return None
        for row, text in enumerate(texts):
            if not text.strip():
                raise Rejected(f"Text {row} is empty; each vector needs its text", fields=(f"texts[{row}]",))
        columns: dict[str, list[str | None]] = {"text": list(texts)}
        if labels is not None:
            columns["label"] = list(labels)
        return await self._datasets(
            Table(columns=columns),
            context,
            name=f"texts of vectors {vectors_sha256[:12]} {hash_of_texts(texts + (labels or ()))[:8]}",
            text_column="text",
            label_column=None if labels is None else "label",
        )


def _request(
    vectors: NDArray[np.float32],
    config: SweepConfig,
    dataset: Dataset | None,
    rows: tuple[Texts, Texts],
    salt: str | None,
    gather_duration_s: float,
    embedded: Embedded | None = None,
    **origin: Any,
) -> SweepRequest:
    texts, labels = rows
    request_hashes = None if embedded is None else embedded.request_hashes
    if embedded is not None:
        origin |= {
            "embedding_provider": embedded.provider,
            "embedding_model": embedded.model,
            "embedding_dimensions": embedded.dimensions,
        }
    source = SweepSource(
        vectors_sha256=hash_of_vectors(vectors),
        n_samples=vectors.shape[0],
        n_features=vectors.shape[1],
        dataset_id=None if dataset is None else dataset.dataset_id,
        dataset_name=None if dataset is None else dataset.name,
        texts_sha256=None if texts is None else hash_of_texts(texts),
        labels_sha256=None if labels is None else hash_of_texts(labels),
        request_hashes_sha256=None if request_hashes is None else hash_of_request_hashes(request_hashes),
        **origin,
    )
    return SweepRequest(
        vectors=vectors,
        config=config,
        source=source,
        texts=texts,
        labels=labels,
        salt=salt,
        dataset_group_id=None if dataset is None else dataset.group_id,
        request_hashes=request_hashes,
        gather_duration_s=round(gather_duration_s, 6),
    )


def _batch(dataset: Dataset, provider: str | None, model: str | None, dimensions: int | None) -> GroupPlace:
    """The group of a dataset's embeddings: one for each way to embed it."""
    parts = (str(dataset.dataset_id), provider or "default", model or "default", str(dimensions or "native"))
    name = f"{dataset.name[:200]} {sha256_hex('/'.join(parts).encode())[:12]}"
    return GroupPlace(group_type="embedding_batch", name=name)
