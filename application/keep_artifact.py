"""Keep a file: durable under its hash first, then the event that tells of it."""

from contextlib import suppress
from uuid import UUID

from msgspec import Struct

from application.notebook import Context, Notebook
from application.ports import AppendConflict, ArtifactFiles
from domain.artifacts import ArtifactKept, artifact_id_of
from domain.errors import NotFound, Rejected
from domain.events import Metadata


class FileToKeep(Struct, frozen=True, kw_only=True):
    """Bytes to keep and what to call them."""

    name: str  # {run}/{step}/{type}.{ext}
    content: bytes
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
        if any(part in ("", ".", "..") for part in file.name.split("/")) or "\\" in file.name or "\0" in file.name:
            raise Rejected(f"{file.name!r} is no artifact name; write it as run/step/type.ext", fields=("name",))
        sha256 = await self._files.keep(file.content)
        artifact_id = artifact_id_of(file.name, sha256)
        kept = ArtifactKept(
            sha256=sha256,
            byte_size=len(file.content),
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
        return artifact_id

    async def content(self, artifact_id: UUID) -> bytes:
        """An artifact's bytes, checked against their hash. Raises NotFound, Unavailable."""
        events = await self._notebook.store.read_stream(artifact_id)
        fact = events[0].fact if events else None
        if not isinstance(fact, ArtifactKept):
            raise NotFound(f"There is no artifact {artifact_id}")
        return await self._files.read(fact.sha256)
