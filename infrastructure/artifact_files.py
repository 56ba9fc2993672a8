"""Artifacts in a folder: each file under its SHA-256, durable before anybody hears of it."""

import asyncio
import hashlib
import io
import os
import re
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from msgspec.structs import replace

from application.ports import StoredFile
from domain.errors import NotFound, Unavailable
from domain.identity import sha256_hex

SHA256 = re.compile(r"[0-9a-f]{64}")
LEFTOVER = re.compile(r"\.([0-9a-f]{8,64})\.(?:new|aside)")
ASIDE = ".aside"
BLOCK_BYTES = 1024 * 1024
FILES_AT_ONCE = 1000
LONG_AGO = datetime.fromtimestamp(0, UTC)  # when a file that was set aside counts as made: whoever did it, died


def place_of(sha256: str) -> str:
    """Where a file lies below the place of all. Raises NotFound for what is no hash, so that no path leaves it."""
    if not SHA256.fullmatch(sha256):
        raise NotFound(f"{sha256[:80]!r} is not the hash of an artifact")
    return f"sha256/{sha256[:2]}/{sha256}"


def hash_of(content: bytes | BinaryIO) -> str:
    """The SHA-256 of bytes, or of an open file from its beginning, a block at a time."""
    digest = hashlib.sha256()
    for block in blocks_of(content):
        digest.update(block)
    return digest.hexdigest()


def blocks_of(content: bytes | BinaryIO) -> Iterator[bytes]:
    """Bytes, or an open file from its beginning, in blocks."""
    file = io.BytesIO(content) if isinstance(content, bytes) else content
    file.seek(0)
    while block := file.read(BLOCK_BYTES):
        yield block


class FolderArtifacts:
    """Implements the port ArtifactFiles. Files lie at sha256/ab/abcd…; writing is temp file, fsync, rename."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def keep(self, content: bytes | BinaryIO) -> str:
        """Make the bytes durable and return their SHA-256."""
        return await asyncio.to_thread(self._keep, content)

    async def holds(self, sha256: str) -> bool:
        """Whether the file is there."""
        return await asyncio.to_thread(self.path_of(sha256).exists)

    async def read(self, sha256: str) -> bytes:
        """The bytes, checked against their hash. Raises NotFound, or Unavailable when they were altered."""
        return await asyncio.to_thread(self._read, sha256)

    async def read_range(self, sha256: str, start: int, stop: int) -> bytes:
        """The bytes from `start` up to `stop`. Raises NotFound, Unavailable."""
        return await asyncio.to_thread(self._read_range, sha256, start, stop)

    async def all(self) -> AsyncIterator[Sequence[StoredFile]]:
        """Every file there is, leftovers too. Raises Unavailable."""
        files = self._files()
        while page := await asyncio.to_thread(lambda: tuple(islice(files, FILES_AT_ONCE))):
            yield page

    async def set_aside(self, file: StoredFile) -> StoredFile | None:
        """Take a file out of everybody's sight; None when it is gone, or newer than it was."""
        return await asyncio.to_thread(self._set_aside, file)

    async def put_back(self, aside: StoredFile) -> None:
        """Undo `set_aside`."""
        with suppress(FileNotFoundError):  # somebody who mends too was faster
            await asyncio.to_thread(Path(aside.place).replace, self.path_of(aside.sha256))

    async def remove(self, aside: StoredFile) -> None:
        """Remove a file that was set aside."""
        await asyncio.to_thread(Path(aside.place).unlink, missing_ok=True)

    def path_of(self, sha256: str) -> Path:
        """Where the file lies. Raises NotFound for what is no hash, so that no path leaves the folder."""
        return self._folder / place_of(sha256)

    def _keep(self, content: bytes | BinaryIO) -> str:
        sha256 = hash_of(content)
        target = self.path_of(sha256)
        try:
            # It is younger from here on, so that nobody takes it for an orphan before its event is there.
            os.utime(target)
            if target.stat().st_size == _size_of(content):
                return sha256
        except OSError:
            pass  # it isn't there yet, or can't be touched: then writing says why
        try:
            self._write(content, target)
        except OSError as error:
            raise Unavailable(f"The artifact folder {self._folder} can't be written: {error.strerror}") from error
        return sha256

    def _write(self, content: bytes | BinaryIO, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{secrets.token_hex(4)}.new")
        try:
            with temporary.open("xb") as file:
                for block in blocks_of(content):
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        except OSError:
            with suppress(OSError):
                temporary.unlink()
            raise
        _fsync_folder(target.parent)

    def _read(self, sha256: str) -> bytes:
        path = self.path_of(sha256)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise NotFound(f"The file of artifact {sha256} is gone from {self._folder}") from None
        except OSError as error:
            raise Unavailable(f"The file of artifact {sha256} can't be read: {error.strerror}") from error
        if sha256_hex(content) != sha256:
            raise Unavailable(f"The file {path} was altered: its SHA-256 is not its name")
        return content

    def _read_range(self, sha256: str, start: int, stop: int) -> bytes:
        try:
            with self.path_of(sha256).open("rb") as file:
                file.seek(start)
                return file.read(max(0, stop - start))
        except FileNotFoundError:
            raise NotFound(f"The file of artifact {sha256} is gone from {self._folder}") from None
        except OSError as error:
            raise Unavailable(f"The file of artifact {sha256} can't be read: {error.strerror}") from error

    def _files(self) -> Iterator[StoredFile]:
        root = self._folder / "sha256"
        try:
            folders = sorted(root.iterdir()) if root.is_dir() else []
            for folder in folders:
                for path in sorted(folder.iterdir()):
                    if (found := _stored(path)) is not None:
                        yield found
        except OSError as error:
            raise Unavailable(f"The artifact folder {self._folder} can't be read: {error.strerror}") from error

    def _set_aside(self, file: StoredFile) -> StoredFile | None:
        path = Path(file.place)
        standing = _stored(path)
        if standing is None or standing.modified_at > file.modified_at:
            return None
        if file.is_leftover:
            return file
        aside = path.with_name(f".{file.sha256}{ASIDE}")
        try:
            path.replace(aside)
        except OSError as error:
            raise Unavailable(f"The artifact folder {self._folder} can't be written: {error.strerror}") from error
        return replace(file, place=str(aside))


def _stored(path: Path) -> StoredFile | None:
    """A file of an artifact, or a leftover; None for what is neither, or gone meanwhile."""
    leftover = LEFTOVER.fullmatch(path.name)
    if leftover is None and not SHA256.fullmatch(path.name):
        return None
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return StoredFile(
        sha256=leftover[1] if leftover else path.name,
        size=found.st_size,
        modified_at=LONG_AGO if path.suffix == ASIDE else datetime.fromtimestamp(found.st_mtime, UTC),
        place=str(path),
        is_leftover=leftover is not None,
    )


def _size_of(content: bytes | BinaryIO) -> int:
    return len(content) if isinstance(content, bytes) else content.seek(0, io.SEEK_END)


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
