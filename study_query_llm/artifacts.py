"""Artifacts as objects: what values become as files, and files as values again."""

import io
import math
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from uuid import UUID

import msgspec
import numpy as np
from anyio.from_thread import BlockingPortal

from domain.errors import NotFound, Rejected
from infrastructure.table_files import ColumnarFiles
from interfaces.study import Json
from interfaces.study import Study as Wired

if TYPE_CHECKING:
    from pandas import DataFrame


class AsyncArtifact:
    """A file that was kept, for code that runs in an event loop; `document` is what is known of it."""

    def __init__(self, wired: Wired, document: Json) -> None:
        self._wired = wired
        self.document = document

    @property
    def artifact_id(self) -> UUID:
        """The id, made of name and content."""
        return UUID(self.document["artifact_id"])

    @property
    def name(self) -> str:
        """{run}/{step}/{type}.{ext}."""
        return str(self.document["name"])

    def __repr__(self) -> str:
        return f"<Artifact {self.name}>"

    async def content(self) -> bytes:
        """The bytes, checked against their hash. Raises NotFound, Unavailable."""
        return await self._wired.artifacts.content(self.document)

    async def load(self) -> Any:
        """The value: an array of NPY, a data frame of Parquet or CSV, a value of JSON, else the bytes."""
        return value_of(await self.content(), self.name.rpartition(".")[2])

    async def save(self, out: str | Path) -> Path:
        """Write the file, once its bytes fit their hash."""
        path, content = Path(out), await self.content()
        path.write_bytes(content)  # noqa: ASYNC240 - a script's own file
        return path


class Artifact:
    """A file that was kept, for ordinary code: each method is AsyncArtifact's, run in a background loop."""

    def __init__(self, portal: BlockingPortal, artifact: AsyncArtifact) -> None:
        self._portal = portal
        self._artifact = artifact

    @property
    def document(self) -> Json:
        """What is known of it."""
        return self._artifact.document

    @property
    def artifact_id(self) -> UUID:
        """The id, made of name and content."""
        return self._artifact.artifact_id

    @property
    def name(self) -> str:
        """{run}/{step}/{type}.{ext}."""
        return self._artifact.name

    def __repr__(self) -> str:
        return repr(self._artifact)

    def content(self) -> bytes:
        """See AsyncArtifact.content."""
        return self._portal.call(self._artifact.content)

    def load(self) -> Any:
        """See AsyncArtifact.load."""
        return self._portal.call(self._artifact.load)

    def save(self, out: str | Path) -> Path:
        """See AsyncArtifact.save."""
        return self._portal.call(partial(self._artifact.save, out))


def file_of(value: Any) -> tuple[BinaryIO, str]:
    """An open file of a value, and its ending: of a path, an array, a data frame, or what JSON can hold.

    Raises NotFound, and Rejected for what becomes no file.
    """
    if isinstance(value, str | os.PathLike):
        return _opened(Path(value))
    if isinstance(value, bytes):
        return io.BytesIO(value), "bin"
    if isinstance(value, np.ndarray):
        try:
            return io.BytesIO(ColumnarFiles().to_npy(value)), "npy"
        except ValueError as error:
            raise Rejected(f"An array of {value.dtype} becomes no file: {error}", fields=("value",)) from None
    if hasattr(value, "__arrow_c_stream__"):
        return _parquet(value), "parquet"
    try:
        encoded = msgspec.json.encode(value)
    except (TypeError, UnicodeEncodeError) as error:
        raise Rejected(f"{type(value).__name__} becomes no file: {error}", fields=("value",)) from None
    if _holds_no_number(msgspec.to_builtins(value)):
        raise Rejected(
            "JSON has no NaN and no infinity, which would come back as None; write None, or keep an array or a frame",
            fields=("value",),
        )
    return io.BytesIO(encoded), "json"


def _holds_no_number(value: Any) -> bool:
    """Whether NaN or an infinity is somewhere within."""
    if isinstance(value, float):
        return not math.isfinite(value)
    members = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return any(map(_holds_no_number, members))


def value_of(content: bytes, extension: str) -> Any:
    """What a file of this ending holds; the bytes themselves if it isn't known. Never unpickles."""
    match extension:
        case "npy":
            return ColumnarFiles().from_npy(content)
        case "json":
            return msgspec.json.decode(content)
        case "parquet" | "csv":
            return _frame(content, extension)
        case _:
            return content


def _opened(path: Path) -> tuple[BinaryIO, str]:
    try:
        return path.open("rb"), path.suffix.removeprefix(".") or "bin"
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}") from None
    except OSError as error:
        raise Rejected(f"{path} can't be read: {error.strerror}", fields=("value",)) from None


def _parquet(frame: Any) -> BinaryIO:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    try:
        pq.write_table(pa.table(frame), sink, compression="zstd")
    except (pa.ArrowException, TypeError) as error:
        raise Rejected(f"The data frame becomes no Parquet: {error}", fields=("value",)) from None
    return sink


def _frame(content: bytes, extension: str) -> "DataFrame":
    import pandas as pd

    return pd.read_parquet(io.BytesIO(content)) if extension == "parquet" else pd.read_csv(io.BytesIO(content))
