"""Keep a file: durable under its hash first, then the event that tells of it."""

import asyncio
from contextlib import suppress
from typing import BinaryIO
from uuid import UUID

from msgspec import Struct

from application.notebook import Context, Notebook
from application.ports import AppendConflict, ArtifactFiles
from domain.artifacts import ArtifactKept, artifact_id_of, checked_name
from domain.errors import NotFound
from domain.events import Metadata


class FileToKeep(Struct, frozen=True, kw_only=True):
    """Bytes to keep, or an open file of them, and what to call them."""

    name: str  # {run}/{step}/{type}.{ext}
    content: bytes | BinaryIO
    content_type: str
    artifact_type: str
    group_id: UUID | None = None
    call_id: UUID | None = None
    shape: tuple[int, ...] | None = None
    metadata: Metadata = {}


class KeepArtifact:
    """Keeps files; the same bytes under the same name are one artifact."""

    def __init__(self, notebook: Notebook, files: ArtifactFiles) -> None:
        self._notebook = notebook
        self._files = files

    async def __call__(self, file: FileToKeep, context: Context) -> UUID:
        """Keep a file and return the artifact's id. Raises Rejected for a name that leaves its folder."""
        checked_name(file.name)
        sha256 = await self._files.keep(file.content)
        artifact_id = artifact_id_of(file.name, sha256)
        kept = ArtifactKept(
            sha256=sha256,
            byte_size=await asyncio.to_thread(_size_of, file.content),
            content_type=file.content_type,
            artifact_type=file.artifact_type,
            name=file.name,
            group_id=file.group_id,
            call_id=file.call_id,
            shape=file.shape,
            metadata=file.metadata,
        )
        with suppress(AppendConflict):  # it is kept already
            await self._notebook.write(self._notebook.entry(context, artifact_id, 1, kept))
        if not await self._files.holds(sha256):
            # It had lain there for a day with no event, and was taken for an orphan just before ours was written.
            await self._files.keep(file.content)
        return artifact_id

    async def fact(self, artifact_id: UUID) -> ArtifactKept:
        """What is recorded of an artifact. Raises NotFound."""
        events = await self._notebook.store.read_stream(artifact_id)
        fact = events[0].fact if events else None
        if not isinstance(fact, ArtifactKept):
            raise NotFound(f"There is no artifact {artifact_id}")
        return fact

    async def content(self, artifact_id: UUID) -> bytes:
        """An artifact's bytes, checked against their hash. Raises NotFound, Unavailable."""
        return await self._files.read((await self.fact(artifact_id)).sha256)


def _size_of(content: bytes | BinaryIO) -> int:
    return len(content) if isinstance(content, bytes) else content.seek(0, 2)
