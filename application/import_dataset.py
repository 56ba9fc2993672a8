"""Bring texts, or vectors made elsewhere, into the notebook. The same content is the same thing."""

from contextlib import suppress
from typing import Protocol
from uuid import UUID

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from application.group_calls import GroupCalls, GroupPlace
from application.keep_artifact import FileToKeep, KeepArtifact
from application.notebook import Context, Notebook
from application.ports import AppendConflict
from domain.datasets import DatasetImported, VectorsImported, dataset_id_of, vectors_id_of
from domain.errors import Conflict, NotFound, Rejected
from domain.groups import GroupCreated
from domain.identity import canonical_json, sha256_hex

GROUP_TYPE = "dataset"


class Table(Struct, frozen=True, kw_only=True):
    """Rows of text by column; every column has the same length."""

    columns: dict[str, list[str | None]]

    @property
    def row_count(self) -> int:
        """How many rows there are."""
        return len(next(iter(self.columns.values()), []))


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
        content_sha256 = sha256_hex(
            canonical_json({"v": 1, "text": text_column, "label": label_column, "columns": rows.columns})
        )
        dataset_id = dataset_id_of(content_sha256)
        place = GroupPlace(group_type=GROUP_TYPE, name=name)
        await self._check_name(place, dataset_id)
        artifact_id = await self._keep(
            FileToKeep(
                name=f"{dataset_id}/dataset.parquet",
                content=self._files.to_parquet(rows),
                content_type="application/vnd.apache.parquet",
                artifact_type="dataset",
                group_id=place.group_id,
                shape=(rows.row_count, len(rows.columns)),
            ),
            context,
        )
        fact = DatasetImported(
            content_sha256=content_sha256,
            row_count=rows.row_count,
            columns=tuple(rows.columns),
            text_column=text_column,
            artifact_id=artifact_id,
            label_column=label_column,
            source_name=source_name,
            skipped_rows=table.row_count - rows.row_count,
        )
        imported = True
        try:
            await self._notebook.write(self._notebook.entry(context, dataset_id, 1, fact))
        except AppendConflict:
            imported = False
        await self._groups.ensure(place, context, metadata={"dataset_id": str(dataset_id)})
        return _dataset(rows, fact, place, imported=imported)

    async def load(self, name: str) -> Dataset:
        """A dataset by name, with its rows. Raises NotFound."""
        place = GroupPlace(group_type=GROUP_TYPE, name=name)
        dataset_id = await self._dataset_id(place)
        events = await self._notebook.store.read_stream(dataset_id) if dataset_id else []
        fact = events[0].fact if events else None
        if not isinstance(fact, DatasetImported):
            raise NotFound(f"There is no dataset named {name!r}; `study dataset list` shows the ones there are")
        return _dataset(self._files.from_parquet(await self._keep.content(fact.artifact_id)), fact, place)

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

    async def _dataset_id(self, place: GroupPlace) -> UUID | None:
        events = await self._notebook.store.read_stream(place.group_id)
        if not events or not isinstance(events[0].fact, GroupCreated):
            return None
        named = events[0].fact.metadata.get("dataset_id")
        return UUID(named) if named else None

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
    return Table(columns={column: [values[row] for row in used] for column, values in table.columns.items()})


def _dataset(rows: Table, fact: DatasetImported, place: GroupPlace, *, imported: bool = False) -> Dataset:
    labels = None if fact.label_column is None else rows.columns[fact.label_column]
    return Dataset(
        dataset_id=dataset_id_of(fact.content_sha256),
        group_id=place.group_id,
        name=place.name,
        texts=tuple(text or "" for text in rows.columns[fact.text_column]),
        labels=None if labels is None else tuple(label or "" for label in labels),
        content_sha256=fact.content_sha256,
        imported=imported,
        skipped_rows=fact.skipped_rows,
    )
