"""Artifacts on a folder: each file under its SHA-256, durable before anybody hears of it."""

import asyncio
import os
import re
import secrets
from pathlib import Path

from domain.errors import NotFound, Unavailable
from domain.identity import sha256_hex

SHA256 = re.compile(r"[0-9a-f]{64}")


class FolderArtifacts:
    """Implements the port ArtifactFiles. Files lie at sha256/ab/abcd…; writing is temp file, fsync, rename."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def keep(self, content: bytes) -> str:
        """Make the bytes durable and return their SHA-256."""
        return await asyncio.to_thread(self._keep, content)

    async def read(self, sha256: str) -> bytes:
        """The bytes, checked against their hash. Raises NotFound, or Unavailable when they were altered."""
        return await asyncio.to_thread(self._read, sha256)

    def path_of(self, sha256: str) -> Path:
        """Where the file lies. Raises NotFound for what is no hash, so that no path leaves the folder."""
        if not SHA256.fullmatch(sha256):
            raise NotFound(f"{sha256[:80]!r} is not the hash of an artifact")
        return self._folder / "sha256" / sha256[:2] / sha256

    def _keep(self, content: bytes) -> str:
        sha256 = sha256_hex(content)
        target = self.path_of(sha256)
        if target.exists() and target.stat().st_size == len(content):
            return sha256
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(f".{sha256}.{secrets.token_hex(4)}")
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
            _fsync_folder(target.parent)
        except OSError as error:
            raise Unavailable(f"The artifact folder {self._folder} can't be written: {error.strerror}") from error
        return sha256

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


def _fsync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
