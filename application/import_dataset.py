"""Bring texts, or vectors made elsewhere, into the notebook. The same content is the same thing."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol
from uuid import UUID

import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

from application.group_calls import GroupCalls, GroupPlace
from application.keep_artifact import FileToKeep, KeepArtifact
from application.notebook import Context, Notebook
from application.ports import AppendConflict
from domain.artifacts import content_type_of
from domain.datasets import (
    DATASET_GROUP,
    NAMES_ITS_DATASET,
    DatasetImported,
    Sampling,
    VectorsImported,
    dataset_id_of,
    vectors_id_of,
)
from domain.errors import Conflict, NotFound, Rejected
from domain.groups import GroupCreated
from domain.identity import canonical_json, sha256_hex

NOT_KEPT_YET = UUID(int=0)  # in the place of an artifact's id until there is one


class Table(Struct, frozen=True, kw_only=True):
    """Rows of text by column; every column has the same length."""

    columns: dict[str, list[str | None]]

    @property
    def row_count(self) -> int:
        """How many rows there are."""
        return len(next(iter(self.columns.values()), []))

    def only(self, rows: Sequence[int]) -> "Table":
        """Some of the rows, in the order in which they are named."""
        return Table(columns={name: [values[row] for row in rows] for name, values in self.columns.items()})


class TableFiles(Protocol):
    """How tables and vectors become files and come back."""

    def to_parquet(self, table: Table) -> bytes:
        """A table as Parquet."""

    def from_parquet(self, content: bytes) -> Table:
        """The table back again."""

    def to_npy(self, array: NDArray[np.generic]) -> bytes:
        """An array as NPY."""

    def from_npy(self, content: bytes) -> NDArray[np.generic]:
        """The array back again; never unpickles."""


class Dataset(Struct, frozen=True, kw_only=True):
    """A dataset with its rows."""

    dataset_id: UUID
    group_id: UUID
    name: str
    texts: tuple[str, ...]
    labels: tuple[str, ...] | None
    content_sha256: str
    imported: bool = False  # True when this command brought it in
    skipped_rows: int = 0
    parent_dataset_id: UUID | None = None  # of a sample
    sampling: Sampling | None = None

    @property
    def texts_sha256(self) -> str:
        """The identity of the texts alone."""
        return hash_of_texts(self.texts)

    @property
    def labels_sha256(self) -> str | None:
        """The identity of the labels alone."""
        return None if self.labels is None else hash_of_texts(self.labels)


class ImportDataset:
    """Imports datasets and vectors, and reads them back."""

    def __init__(self, notebook: Notebook, groups: GroupCalls, keep: KeepArtifact, files: TableFiles) -> None:
        self._notebook = notebook
        self._groups = groups
        self._keep = keep
        self._files = files

    async def __call__(
        self,
        table: Table,
        context: Context,
        *,
        name: str,
        text_column: str,
        label_column: str | None = None,
        source_name: str = "",
    ) -> Dataset:
        """Import a table under a name. Rows with an empty text are left out and counted.

        Raises Rejected for a missing column or no text at all, Conflict when the name means another content.
        """
        rows = _usable_rows(table, text_column, label_column)
        fact = DatasetImported(
            content_sha256=hash_of_rows(rows, text_column, label_column),
            row_count=rows.row_count,
            columns=tuple(rows.columns),
            text_column=text_column,
            artifact_id=NOT_KEPT_YET,
            label_column=label_column,
            source_name=source_name,
            skipped_rows=table.row_count - rows.row_count,
        )
        return await self.record(dataset_id_of(fact.content_sha256), fact, rows, context, name=name)

    async def record(
        self, dataset_id: UUID, fact: DatasetImported, rows: Table, context: Context, *, name: str
    ) -> Dataset:
        """Keep the rows, record the fact with the artifact that they lie in, and give the dataset its name.

        A dataset that was recorded before stays as it is, and only gets one more name. Raises Conflict.
        """
        place = GroupPlace(group_type=DATASET_GROUP, name=name)
        await self._check_name(place, dataset_id)
        standing = await self._fact(dataset_id)
        imported = standing is None
        if standing is None:
            fact = structs.replace(fact, artifact_id=await self._keep_rows(dataset_id, rows, place, context))
            try:
                await self._notebook.write(self._notebook.entry(context, dataset_id, 1, fact))
            except AppendConflict:
                imported = False  # somebody else was faster
        else:
            fact, rows = standing, await self._rows(standing)
        await self._groups.ensure(place, context, metadata={NAMES_ITS_DATASET: str(dataset_id)})
        return _dataset(dataset_id, rows, fact, place, imported=imported)

    async def load(self, name: str) -> Dataset:
        """A dataset by name, with its texts and labels. Raises NotFound."""
        return (await self.open(name))[0]

    async def open(self, name: str) -> tuple[Dataset, DatasetImported, Table]:
        """A dataset by name, what is recorded of it, and all its columns. Raises NotFound."""
        place = GroupPlace(group_type=DATASET_GROUP, name=name)
        dataset_id = await self._dataset_id(place)
        fact = None if dataset_id is None else await self._fact(dataset_id)
        if dataset_id is None or fact is None:
            raise NotFound(f"There is no dataset named {name!r}; `study dataset list` shows the ones there are")
        rows = await self._rows(fact)
        return _dataset(dataset_id, rows, fact, place), fact, rows

    async def import_vectors(
        self, vectors: NDArray[np.float32], context: Context, *, source_name: str = ""
    ) -> tuple[UUID, str]:
        """Keep vectors that were made elsewhere; returns their id and the SHA-256 of their float32 bytes."""
        content_sha256 = hash_of_vectors(vectors)
        vectors_id = vectors_id_of(content_sha256)
        artifact_id = await self._keep(
            FileToKeep(
                name=f"{vectors_id}/vectors.npy",
                content=self._files.to_npy(vectors),
                content_type="application/x-npy",
                artifact_type="vectors",
                shape=tuple(vectors.shape),
            ),
            context,
        )
        fact = VectorsImported(
            content_sha256=content_sha256,
            row_count=vectors.shape[0],
            dimension=vectors.shape[1],
            artifact_id=artifact_id,
            source_name=source_name,
        )
        with suppress(AppendConflict):
            await self._notebook.write(self._notebook.entry(context, vectors_id, 1, fact))
        return vectors_id, content_sha256

    async def vectors(self, vectors_id: UUID) -> NDArray[np.float32]:
        """Vectors that were imported, (n, d) float32. Raises NotFound."""
        events = await self._notebook.store.read_stream(vectors_id)
        fact = events[0].fact if events else None
        if not isinstance(fact, VectorsImported):
            raise NotFound(f"There are no imported vectors {vectors_id}")
        return self._files.from_npy(await self._keep.content(fact.artifact_id)).astype(np.float32, copy=False)

    async def _dataset_id(self, place: GroupPlace) -> UUID | None:
        events = await self._notebook.store.read_stream(place.group_id)
        if not events or not isinstance(events[0].fact, GroupCreated):
            return None
        named = events[0].fact.metadata.get(NAMES_ITS_DATASET)
        return UUID(named) if named else None

    async def _fact(self, dataset_id: UUID) -> DatasetImported | None:
        events = await self._notebook.store.read_stream(dataset_id)
        fact = events[0].fact if events else None
        return fact if isinstance(fact, DatasetImported) else None

    async def _rows(self, fact: DatasetImported) -> Table:
        return self._files.from_parquet(await self._keep.content(fact.artifact_id))

    async def _keep_rows(self, dataset_id: UUID, rows: Table, place: GroupPlace, context: Context) -> UUID:
        return await self._keep(
            FileToKeep(
                name=f"{dataset_id}/dataset.parquet",
                content=self._files.to_parquet(rows),
                content_type=content_type_of("parquet"),
                artifact_type="dataset",
                group_id=place.group_id,
                shape=(rows.row_count, len(rows.columns)),
            ),
            context,
        )

    async def _check_name(self, place: GroupPlace, dataset_id: UUID) -> None:
        standing = await self._dataset_id(place)
        if standing is not None and standing != dataset_id:
            raise Conflict(
                f"The name {place.name!r} stands for a dataset with other content; choose another name",
                existing_id=str(standing),
            )


def hash_of_vectors(vectors: NDArray[np.float32]) -> str:
    """The identity of a matrix: its shape and its little-endian float32 bytes."""
    rows, columns = vectors.shape
    return sha256_hex(f"{rows}x{columns}:".encode() + np.ascontiguousarray(vectors, dtype="<f4").tobytes())


def hash_of_rows(rows: Table, text_column: str, label_column: str | None) -> str:
    """The identity of a dataset's content: its columns, and which of them hold texts and labels."""
    return sha256_hex(canonical_json({"v": 1, "text": text_column, "label": label_column, "columns": rows.columns}))


def hash_of_texts(texts: tuple[str, ...]) -> str:
    """The identity of a list of texts."""
    return sha256_hex(canonical_json(list(texts)))


def _usable_rows(table: Table, text_column: str, label_column: str | None) -> Table:
    for column in (text_column, label_column):
        if column is not None and column not in table.columns:
            raise Rejected(
                f"There is no column {column!r}; the columns are {', '.join(table.columns) or 'none'}",
                fields=("text_column" if column == text_column else "label_column",),
            )
    used = [row for row, text in enumerate(table.columns[text_column]) if text and text.strip()]
    if not used:
        raise Rejected(f"Column {text_column!r} holds no text", fields=("text_column",))
    return table.only(used)


def _dataset(
    dataset_id: UUID, rows: Table, fact: DatasetImported, place: GroupPlace, *, imported: bool = False
) -> Dataset:
    labels = None if fact.label_column is None else rows.columns[fact.label_column]
    return Dataset(
        dataset_id=dataset_id,
        group_id=place.group_id,
        name=place.name,
        texts=tuple(text or "" for text in rows.columns[fact.text_column]),
        labels=None if labels is None else tuple(label or "" for label in labels),
        content_sha256=fact.content_sha256,
        imported=imported,
        skipped_rows=fact.skipped_rows,
        parent_dataset_id=fact.parent_dataset_id,
        sampling=fact.sampling,
    )
