"""What is kept together: datasets, groups and artifacts."""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from application.group_calls import GroupPlace, group_place
from application.import_dataset import Dataset
from application.keep_file import FileOfGroup
from domain.datasets import sampling_of
from domain.errors import Conflict
from infrastructure.table_files import read_table, table_of_frame
from interfaces.as_of import AsOf, Moment
from interfaces.study.groups import group_id_in
from projections.paging import Paging
from study_query_llm.artifacts import AsyncArtifact, file_of
from study_query_llm.asynchronous.opened import Opened
from study_query_llm.groups import AsyncGroup
from study_query_llm.questions import moment_and_page
from study_query_llm.results import Rows


class Collecting(Opened):
    """What is kept together: datasets, groups and artifacts."""

    async def import_dataset(
        self,
        data: Any,
        *,
        name: str,
        text_column: str = "text",
        label_column: str | None = None,
        encoding: str | None = None,
    ) -> Dataset:
        """Import a CSV, TSV, JSON Lines, Parquet or plain text file, or a data frame, under a name.

        data: a path, a pandas or polars data frame, an Arrow table, or a list of rows
        """
        is_file = isinstance(data, str | PathLike)
        return await self._wired.datasets.add(
            read_table(Path(data), encoding=encoding) if is_file else table_of_frame(data),
            self._wired.context(),
            name=name,
            text_column=text_column,
            label_column=label_column,
            source_name=Path(data).name if is_file else "",
        )

    async def sample_dataset(
        self,
        parent: str,
        *,
        name: str,
        rows: int | None = None,
        seed: int | None = None,
        where: Mapping[str, str] | None = None,
    ) -> Dataset:
        """Draw a sample from the dataset of this name: a dataset that knows its parent, rows in their order.

        where: only rows whose columns hold these values. rows: of those, so many by chance.
        """
        sampling = sampling_of(rows, seed, where or {})
        return await self._wired.datasets.sample(parent, sampling, self._wired.context(), name=name)

    async def datasets(self, *, as_of: AsOf | None = None, limit: int = 50) -> Rows:
        """Datasets, newest first, as of a time or position."""
        return Rows((await self._wired.datasets.list(Moment(as_of), Paging(limit)))["items"])

    async def group(
        self,
        group_type: str,
        name: str | None = None,
        *,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> AsyncGroup:
        """The group with this type and name, also written "TYPE/NAME"; it is created if it isn't there.

        A description or metadata that is given holds from now on; other keys of the metadata stay. Raises Rejected.
        """
        place = (
            cast("GroupPlace", group_place(group_type))
            if name is None
            else GroupPlace(group_type=group_type, name=name)
        )
        context, changes = self._wired.context(), None if metadata is None else dict(metadata)
        try:
            await self._wired.groups.create(
                place.group_type, place.name, context, description=description or "", metadata=changes
            )
        except Conflict:
            if description is not None or changes is not None:
                await self._wired.groups.describe(place.group_id, context, description=description, metadata=changes)
        return AsyncGroup(self._wired, place.group_id, place.group_type, place.name)

    async def groups(self, *, group_type: str | None = None, as_of: AsOf | None = None, limit: int = 50) -> Rows:
        """Groups, newest first, of one type or of all, as of a time or position."""
        return Rows((await self._wired.groups.list(Moment(as_of), Paging(limit), group_type=group_type))["items"])

    async def artifact(
        self,
        value: Any,
        *,
        group: "AsyncGroup | UUID | str",
        artifact_type: str,
        step: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> AsyncArtifact:
        """Keep a file, or a value as a file, as {run}/{step}/{type}.{ext}. Raises NotFound, Rejected.

        value: a path; an array (NPY), a data frame (Parquet), or what JSON can hold
        """
        file, extension = file_of(value)
        with file:
            wanted = FileOfGroup(
                file=file,
                extension=extension,
                group_id=group.group_id if isinstance(group, AsyncGroup) else group_id_in(group),
                artifact_type=artifact_type,
                step=step,
                metadata=dict(metadata or {}),
            )
            return AsyncArtifact(self._wired, await self._wired.artifacts.keep(wanted, self._wired.context()))

    async def find_artifact(self, artifact: UUID | str, *, as_of: AsOf | None = None) -> AsyncArtifact:
        """An artifact by its id, or the newest of a name, {run}/{step}/{type}.{ext}. Raises NotFound, Rejected."""
        return AsyncArtifact(self._wired, await self._wired.artifacts.get(artifact, Moment(as_of)))

    async def artifacts(self, **filters: Any) -> Rows:
        """Artifacts, newest first; filters are group, artifact_type, as_of and limit."""
        return Rows((await self._wired.artifacts.list(*moment_and_page(filters), **filters))["items"])
