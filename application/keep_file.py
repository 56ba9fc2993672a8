"""Keep a file of somebody's own as an artifact of a group, under a name that people can read."""

import asyncio
from typing import BinaryIO, Protocol
from uuid import UUID

from msgspec import Struct

from application.group_calls import GroupCalls
from application.keep_artifact import FileToKeep, KeepArtifact
from application.notebook import Context
from domain.artifacts import checked_artifact_type, checked_extension, content_type_of, name_part
from domain.calls import CallRequested
from domain.errors import NotFound, Rejected
from domain.events import Metadata
from domain.groups import GroupCreated, checked_metadata

STEP = "step"


class Described(Struct, frozen=True, kw_only=True):
    """What a file says of itself: the shape of what it holds, and what else is worth knowing."""

    shape: tuple[int, ...] | None = None
    metadata: Metadata = {}


class FileKinds(Protocol):
    """Looks into files of the kinds that are kept."""

    def describe(self, file: BinaryIO, extension: str) -> Described:
        """The shape of an array or a table, without unpickling. Raises Rejected when the file is not what it says."""


class FileOfGroup(Struct, frozen=True, kw_only=True):
    """An open file, the group that it belongs to and what it is.

    step: the second part of the name; without it, a step group's own, else the group's type
    """

    file: BinaryIO
    extension: str
    group_id: UUID
    artifact_type: str
    step: str | None = None
    call_id: UUID | None = None
    metadata: Metadata = {}


class KeepFile:
    """Keeps files of groups."""

    def __init__(self, groups: GroupCalls, keep: KeepArtifact, kinds: FileKinds) -> None:
        self._groups = groups
        self._keep = keep
        self._kinds = kinds

    async def __call__(self, wanted: FileOfGroup, context: Context) -> UUID:
        """Keep a file and return the artifact's id. Raises NotFound for an unknown group, Rejected, Unavailable."""
        artifact_type = checked_artifact_type(wanted.artifact_type)
        extension = checked_extension(wanted.extension)
        checked_metadata(wanted.metadata)
        folder = await self._folder(wanted)
        if wanted.call_id is not None and not await self._groups.notebook.store.begun_by(
            [wanted.call_id], CallRequested
        ):
            raise NotFound(f"There is no call {wanted.call_id}")
        described = await asyncio.to_thread(self._kinds.describe, wanted.file, extension)
        return await self._keep(
            FileToKeep(
                name=f"{folder}/{artifact_type}.{extension}",
                content=wanted.file,
                content_type=content_type_of(extension),
                artifact_type=artifact_type,
                group_id=wanted.group_id,
                call_id=wanted.call_id,
                shape=described.shape,
                metadata={**described.metadata, **wanted.metadata},
            ),
            context,
        )

    async def _folder(self, wanted: FileOfGroup) -> str:
        """{run}/{step}: of a step, the run that it is part of and the last part of its name."""
        events = await self._groups.notebook.store.read_stream(wanted.group_id)
        group = events[0].fact if events else None
        if not isinstance(group, GroupCreated):
            raise NotFound(f"There is no group {wanted.group_id}; `study group list` shows the ones there are")
        if wanted.step is not None and not wanted.step.strip():
            raise Rejected("A step has a name", fields=("step",))
        run, step = str(wanted.group_id), group.group_type
        if group.group_type == STEP:
            run = str(group.metadata.get("parent_run_id") or wanted.group_id)
            step = group.name.rsplit("/", 1)[-1]
        return f"{name_part(run)}/{name_part(wanted.step or step)}"
