"""Read an artifact, whole or in part. What fits into memory is checked before anybody sees a byte of it."""

import hashlib
from collections.abc import AsyncIterator

from application.ports import ArtifactFiles
from domain.errors import Unavailable

CHECKED_FIRST_BYTES = 8 * 1024 * 1024
BLOCK_BYTES = 1024 * 1024


class ReadArtifact:
    """Reads files of artifacts in blocks."""

    def __init__(self, files: ArtifactFiles) -> None:
        self._files = files

    async def blocks(self, sha256: str, size: int, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `stop`, a block at a time. Raises NotFound, Unavailable.

        A file of up to 8 MiB is checked against its hash first. A larger one is checked while it is read whole, and its
        last block is given only if it fits; of a part of it, nothing can be checked but that it is there.
        """
        end = size if stop is None else min(stop, size)
        if size <= CHECKED_FIRST_BYTES:
            content = await self._files.read(sha256)
            yield content[start:end]
            return
        digest, held = hashlib.sha256(), b""
        for place in range(start, end, BLOCK_BYTES):
            block = await self._files.read_range(sha256, place, min(place + BLOCK_BYTES, end))
            if len(block) < min(BLOCK_BYTES, end - place):
                raise Unavailable(f"The file of artifact {sha256} is shorter than it was")
            digest.update(block)
            if held:
                yield held
            held = block
        if (start, end) == (0, size) and digest.hexdigest() != sha256:
            raise Unavailable(f"The file of artifact {sha256} was altered: its SHA-256 is not its name")
        yield held
