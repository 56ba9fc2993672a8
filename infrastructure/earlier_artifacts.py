"""Artifacts that lie where earlier versions kept them: for all stores of a home in one folder, artifacts/sha256."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import BinaryIO

from application.ports import ArtifactFiles, StoredFile
from domain.errors import NotFound
from infrastructure.artifact_files import FolderArtifacts


def with_earlier(files: ArtifactFiles, folder: Path) -> ArtifactFiles:
    """The same files, and behind them those that an earlier version left in a folder, if it did."""
    return WithEarlierArtifacts(files, FolderArtifacts(folder)) if (folder / "sha256").is_dir() else files


class WithEarlierArtifacts:
    """Implements the port ArtifactFiles. Earlier files are read, under the same checks; nothing writes or removes them.

    Of an earlier file nobody knows which store it belongs to, so that none may take it for an orphan: they are not
    listed by `all`, and what is kept again is kept anew.
    """

    def __init__(self, files: ArtifactFiles, earlier: ArtifactFiles) -> None:
        self._files = files
        self._earlier = earlier

    async def keep(self, content: bytes | BinaryIO) -> str:
        """Make the bytes durable and return their SHA-256."""
        return await self._files.keep(content)

    async def holds(self, sha256: str) -> bool:
        """Whether the file is there, or was left by an earlier version."""
        return await self._files.holds(sha256) or await self._earlier.holds(sha256)

    async def read(self, sha256: str) -> bytes:
        """The bytes, checked against their hash. Raises NotFound, or Unavailable when they were altered."""
        try:
            return await self._files.read(sha256)
        except NotFound:
            if not await self._earlier.holds(sha256):
                raise
            return await self._earlier.read(sha256)

    async def read_range(self, sha256: str, start: int, stop: int) -> bytes:
        """The bytes from `start` up to `stop`. Raises NotFound, Unavailable."""
        try:
            return await self._files.read_range(sha256, start, stop)
        except NotFound:
            if not await self._earlier.holds(sha256):
                raise
            return await self._earlier.read_range(sha256, start, stop)

    def all(self) -> AsyncIterator[Sequence[StoredFile]]:
        """Every file there is, but the earlier ones."""
        return self._files.all()

    async def set_aside(self, file: StoredFile) -> StoredFile | None:
        """Take a file out of everybody's sight; None when it is gone, or newer than it was."""
        return await self._files.set_aside(file)

    async def put_back(self, aside: StoredFile) -> None:
        """Undo `set_aside`."""
        await self._files.put_back(aside)

    async def remove(self, aside: StoredFile) -> None:
        """Remove a file that was set aside."""
        await self._files.remove(aside)
