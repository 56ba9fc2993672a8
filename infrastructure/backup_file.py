"""A backup's file: a zip of the log's two tables as Postgres copies them, the artifacts' files, and what it all is.

The list of contents is written last, and a zip without its end is no zip: a backup that was cut off is never taken
for a whole one. Any unzip shows what is in it.
"""

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO, BinaryIO, cast
from uuid import UUID
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import msgspec
from msgspec import Struct

from domain.errors import NotFound, Rejected, Unavailable

FORMAT = "study-query-llm backup 1"
CONTENTS = "backup.json"
FAST = 1  # of zlib: on the store of `study quickstart`, bodies to a fifth and events to two fifths, at 100 MB/s or more
BLOCK_BYTES = 1024 * 1024
BEGINNING = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip knows; when the backup was made is in its contents


class CopiedTable(Struct, frozen=True, kw_only=True):
    """A table of the log: its rows in Postgres's binary COPY format, and the SHA-256 of those bytes."""

    rows: int
    sha256: str


class CopiedFile(Struct, frozen=True, kw_only=True):
    """A file of artifacts."""

    sha256: str
    byte_size: int


class Contents(Struct, frozen=True, kw_only=True):
    """What is in a backup, and of which store it is."""

    format: str
    made_at: datetime
    made_by: str  # the version of study-query-llm
    store_id: UUID
    schema_version: int
    position: int
    stored_names: dict[str, int]  # how many events of each
    tables: dict[str, CopiedTable]
    artifacts: tuple[CopiedFile, ...]
    missing: tuple[str, ...]  # names of artifacts whose files were gone or altered
    without_artifacts: bool


class BackupWriter:
    """Puts one part after another into a backup."""

    def __init__(self, file: ZipFile) -> None:
        self._file = file

    @contextmanager
    def part(self, name: str, *, shrink: bool) -> Iterator["Digested"]:
        """A part to write into. shrink: whether its bytes are worth the time of compressing them."""
        info = ZipInfo(name, BEGINNING)
        info.compress_type = ZIP_DEFLATED if shrink else ZIP_STORED
        with self._file.open(info, "w", force_zip64=True) as opened:
            yield Digested(opened)

    def end(self, contents: Contents) -> None:
        """Write what is in it."""
        with self.part(CONTENTS, shrink=False) as part:
            part.write(msgspec.json.format(msgspec.json.encode(contents)) + b"\n")


class Digested:
    """A part that is being written, with the SHA-256 of what was."""

    def __init__(self, opened: IO[bytes]) -> None:
        self._opened = opened
        self._digest = hashlib.sha256()
        self.written_bytes = 0

    @property
    def sha256(self) -> str:
        """Of all that was written."""
        return self._digest.hexdigest()

    def write(self, block: bytes | bytearray | memoryview) -> None:
        """Write on."""
        self._digest.update(block)
        self._opened.write(block)
        self.written_bytes += len(block)


class BackupReader:
    """Reads the parts of a backup."""

    def __init__(self, path: Path, file: ZipFile) -> None:
        self._path = path
        self._file = file
        self.contents = self._read_contents()

    def blocks(self, name: str, sha256: str) -> Iterator[bytes]:
        """A part's bytes, checked against their hash once they were all read. Raises Rejected."""
        digest = hashlib.sha256()
        with self.opened(name) as part:
            while block := part.read(BLOCK_BYTES):
                digest.update(block)
                yield block
        if digest.hexdigest() != sha256:
            raise Rejected(f"{self._path} was altered: its part {name} is not what was written", fields=("file",))

    @contextmanager
    def opened(self, name: str) -> Iterator[BinaryIO]:
        """A part as an open file. Raises Rejected for one that is not there, or not whole."""
        try:
            with self._file.open(name) as part:
                yield cast(BinaryIO, part)
        except KeyError:
            raise Rejected(f"{self._path} was altered: its part {name} is not there", fields=("file",)) from None
        except (BadZipFile, EOFError) as error:
            raise Rejected(f"{self._path} was damaged: {error}", fields=("file",)) from None

    def size_of(self, name: str) -> int:
        """How many bytes a part has; 0 if it is not there."""
        return self._file.NameToInfo[name].file_size if name in self._file.NameToInfo else 0

    def _read_contents(self) -> Contents:
        with self.opened(CONTENTS) as part:
            found = part.read()
        try:
            said = msgspec.json.decode(found, type=dict[str, object]).get("format")
            if said != FORMAT:
                raise Rejected(
                    f"{self._path} has the format {said!r}, and this version reads {FORMAT!r}; restore it with the "
                    "version that made it, or a later one",
                    fields=("file",),
                )
            return msgspec.json.decode(found, type=Contents)
        except msgspec.MsgspecError as error:
            raise Rejected(f"{self._path} was altered: {CONTENTS}: {error}", fields=("file",)) from None


@contextmanager
def new_backup(path: Path) -> Iterator[BackupWriter]:
    """A backup that is at its path once it is whole and durable, and nowhere before. Raises Rejected, Unavailable."""
    making = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        if path.exists():
            raise Rejected(
                f"{path} is there already, and a backup replaces nothing; give another name", fields=("file",)
            )
        # It holds all that was asked and answered: it is its owner's alone.
        with os.fdopen(os.open(making, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as opened:
            with ZipFile(opened, "w", compresslevel=FAST) as file:
                yield BackupWriter(file)
            opened.flush()
            os.fsync(opened.fileno())
        making.rename(path)
    except OSError as error:
        raise Unavailable(f"{path} can't be written: {error.strerror}") from error
    finally:
        with suppress(OSError):
            making.unlink()


@contextmanager
def existing_backup(path: Path) -> Iterator[BackupReader]:
    """A backup to read. Raises NotFound, Rejected for what is none, or not whole."""
    try:
        with ZipFile(path) as file:
            yield BackupReader(path, file)
    except BadZipFile:
        raise Rejected(f"{path} is no backup, or only a part of one", fields=("file",)) from None
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}") from None
    except OSError as error:
        raise Rejected(f"{path} can't be read: {error.strerror}", fields=("file",)) from None
