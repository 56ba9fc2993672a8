"""Artifacts at an fsspec URL: object stores, servers, memory. Which ones there are depends on what is installed."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import unquote, urlsplit

from msgspec.structs import replace

from application.ports import ArtifactFiles, StoredFile
from domain.errors import NotFound, Rejected, Unavailable
from domain.identity import sha256_hex
from infrastructure.artifact_files import (
    ASIDE,
    LEFTOVER,
    LONG_AGO,
    SHA256,
    FolderArtifacts,
    blocks_of,
    hash_of,
    place_of,
)

PUT_AGAIN_AFTER_SECONDS = 3600
LOGIN = re.compile(r"//[^/]*@")

T = TypeVar("T")


def artifact_files(place: str, part: str) -> ArtifactFiles:
    """Where artifacts lie, at a folder or a URL, in a part of its own. Raises Rejected for what can't be used."""
    parts = urlsplit(place)
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise Rejected(
                "STUDY_ARTIFACTS: a file URL names no machine; write file:///folder", fields=("STUDY_ARTIFACTS",)
            )
        return FolderArtifacts(Path(unquote(parts.path)) / part)
    if "://" not in place:
        return FolderArtifacts(Path(place).expanduser() / part)
    return UrlArtifacts(place, part)


class UrlArtifacts:
    """Implements the port ArtifactFiles by fsspec. What is put under a name of its own is moved to its place whole."""

    def __init__(self, url: str, part: str) -> None:
        self.shown = _without_login(url)
        self._files, root = _opened(url, self.shown)
        self._root = f"{root.rstrip('/')}/{part}"

    async def keep(self, content: bytes | BinaryIO) -> str:
        """Make the bytes durable and return their SHA-256."""
        return await self._in_thread(lambda: self._keep(content))

    async def holds(self, sha256: str) -> bool:
        """Whether the file is there."""
        return await self._in_thread(lambda: bool(self._files.exists(self._path(sha256))))

    async def read(self, sha256: str) -> bytes:
        """The bytes, checked against their hash. Raises NotFound, or Unavailable when they were altered."""
        content: bytes = await self._in_thread(lambda: self._files.cat_file(self._path(sha256)), sha256)
        if sha256_hex(content) != sha256:
            raise Unavailable(f"The file of artifact {sha256} at {self.shown} was altered: its SHA-256 is not its name")
        return content

    async def read_range(self, sha256: str, start: int, stop: int) -> bytes:
        """The bytes from `start` up to `stop`. Raises NotFound, Unavailable."""
        if stop <= start:
            return b""
        content: bytes = await self._in_thread(
            lambda: self._files.cat_file(self._path(sha256), start=start, end=stop), sha256
        )
        return content

    async def all(self) -> AsyncIterator[Sequence[StoredFile]]:
        """Every file there is, a folder at a time, leftovers too. Raises Unavailable."""
        for folder in await self._in_thread(lambda: self._listed(f"{self._root}/sha256")):
            yield await self._in_thread(lambda place=folder["name"]: [*map(self._stored, self._ours(place))])  # type: ignore[misc]

    async def set_aside(self, file: StoredFile) -> StoredFile | None:
        """Take a file out of everybody's sight; None when it is gone, or newer than it was."""
        return await self._in_thread(lambda: self._set_aside(file))

    async def put_back(self, aside: StoredFile) -> None:
        """Undo `set_aside`."""
        with suppress(NotFound):  # somebody who mends too was faster
            await self._in_thread(lambda: self._files.mv(aside.place, self._path(aside.sha256)))

    async def remove(self, aside: StoredFile) -> None:
        """Remove a file that was set aside."""
        with suppress(NotFound):
            await self._in_thread(lambda: self._files.rm_file(aside.place))

    def _path(self, sha256: str) -> str:
        return f"{self._root}/{place_of(sha256)}"

    def _keep(self, content: bytes | BinaryIO) -> str:
        sha256 = hash_of(content)
        target = self._path(sha256)
        size = len(content) if isinstance(content, bytes) else content.seek(0, 2)
        standing = self._standing(target)
        # Most places have no way to make a file younger, and an old one without an event is taken for an orphan.
        if standing is not None and standing.size == size and _age_seconds(standing) < PUT_AGAIN_AFTER_SECONDS:
            return sha256
        temporary = f"{target.rpartition('/')[0]}/.{secrets.token_hex(4)}.new"
        self._files.makedirs(target.rpartition("/")[0], exist_ok=True)
        try:
            with self._files.open(temporary, "wb") as file:
                for block in blocks_of(content):
                    file.write(block)
            self._files.mv(temporary, target)
        except Exception:
            with suppress(Exception):
                self._files.rm_file(temporary)
            raise
        return sha256

    def _standing(self, place: str) -> StoredFile | None:
        self._files.invalidate_cache()
        try:
            return self._stored(self._files.info(place))
        except FileNotFoundError:
            return None

    def _listed(self, place: str) -> list[dict[str, Any]]:
        self._files.invalidate_cache()
        try:
            return sorted(self._files.ls(place, detail=True), key=lambda found: str(found["name"]))
        except FileNotFoundError:
            return []

    def _ours(self, place: str) -> Iterator[dict[str, Any]]:
        for found in self._listed(place):
            name = str(found["name"]).rpartition("/")[2]
            if SHA256.fullmatch(name) or LEFTOVER.fullmatch(name):
                yield found

    def _stored(self, found: dict[str, Any]) -> StoredFile:
        place = str(found["name"])
        name = place.rpartition("/")[2]
        leftover = LEFTOVER.fullmatch(name)
        return StoredFile(
            sha256=leftover[1] if leftover else name,
            size=int(found["size"] or 0),
            modified_at=LONG_AGO if name.endswith(ASIDE) else self._modified_at(place),
            place=place,
            is_leftover=leftover is not None,
        )

    def _modified_at(self, place: str) -> datetime:
        """A place that doesn't tell has no orphans: all its files count as new."""
        try:
            at: datetime = self._files.modified(place)
        except (NotImplementedError, KeyError):
            return datetime.now(UTC)
        return at if at.tzinfo else at.replace(tzinfo=UTC)

    def _set_aside(self, file: StoredFile) -> StoredFile | None:
        standing = self._standing(file.place)
        if standing is None or standing.modified_at > file.modified_at:
            return None
        if file.is_leftover:
            return file
        aside = f"{file.place.rpartition('/')[0]}/.{file.sha256}{ASIDE}"
        self._files.mv(file.place, aside)
        return replace(file, place=aside)

    async def _in_thread(self, work: Callable[[], T], sha256: str | None = None) -> T:
        def told() -> T:
            with self._in_words(sha256):
                return work()

        return await asyncio.to_thread(told)

    @contextmanager
    def _in_words(self, sha256: str | None) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise NotFound(f"The file of artifact {sha256} is gone from {self.shown}") from None
        except (NotFound, Unavailable):
            raise
        except Exception as error:  # noqa: BLE001
            # Each kind of place has errors of its own, and their texts may hold a key: the name of the error must do.
            raise Unavailable(f"The artifacts at {self.shown} can't be reached: {type(error).__name__}") from None


def _opened(url: str, shown: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError:
        raise Rejected(
            f"STUDY_ARTIFACTS is {shown}, which needs fsspec: pip install 'study-query-llm[artifacts]'",
            fields=("STUDY_ARTIFACTS",),
        ) from None
    try:
        return fsspec.core.url_to_fs(url)  # type: ignore[no-any-return]
    except ImportError as error:
        raise Rejected(f"STUDY_ARTIFACTS is {shown}: {error}", fields=("STUDY_ARTIFACTS",)) from None
    except Exception as error:  # noqa: BLE001 - as below
        raise Rejected(
            f"STUDY_ARTIFACTS is {shown}, which fsspec can't open: {type(error).__name__}", fields=("STUDY_ARTIFACTS",)
        ) from None


def _age_seconds(file: StoredFile) -> float:
    return (datetime.now(UTC) - file.modified_at).total_seconds()


def _without_login(url: str) -> str:
    """A URL as it may be shown: without logins, of which a chain of URLs may have several, and without parameters."""
    return LOGIN.sub("//", url.partition("?")[0])
