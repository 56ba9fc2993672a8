"""Write stored vectors to a file, some thousands at a time, as they were at one position in the log."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, Protocol, get_args

from msgspec import Struct

from application.stored_vectors import Space, StoredRows, StoredVectors, VectorFilter
from domain.errors import NotFound, Rejected

Format = Literal["parquet", "npy", "jsonl", "csv"]
FORMATS: tuple[Format, ...] = get_args(Format)

Progress = Callable[[int, int], None]


class VectorFile(Protocol):
    """A file that is being written."""

    def write(self, rows: StoredRows) -> None:
        """Append rows."""


class VectorFiles(Protocol):
    """Makes files of vectors."""

    def writing(self, path: Path, kind: Format, space: Space, row_count: int) -> AbstractContextManager[VectorFile]:
        """A file that is there, whole and durable, at the end of the block, and not at all when the block fails.

        Raises Rejected where it can't be written.
        """


class Exported(Struct, frozen=True, kw_only=True):
    """What was written."""

    path: Path
    format: Format
    rows: int
    dimension: int
    provider: str
    model: str
    position: int


class ExportEmbeddings:
    """Exports; memory is bounded by a few blocks, however many vectors there are."""

    def __init__(self, stored: StoredVectors, files: VectorFiles) -> None:
        self._stored = stored
        self._files = files

    async def __call__(
        self, path: Path, kind: str, wanted: VectorFilter, *, position: int, progress: Progress | None = None
    ) -> Exported:
        """Write what fits, in the log's order, as of a position that the read models show.

        Raises Rejected for another format, a file that can't be written, and where several models fit; NotFound for
        nothing to write.
        """
        chosen = next((each for each in FORMATS if each == kind), None)
        if chosen is None:
            raise Rejected(f"{kind!r} is no format; use one of {', '.join(FORMATS)}", fields=("format",))
        space = await self._stored.space(wanted, as_of=position)
        total = await self._stored.count(space, wanted, position=position)
        if not total:
            raise NotFound("No vector fits; leave some of the filters out")
        done = 0
        with self._files.writing(path, chosen, space, total) as file:
            async for rows in self._stored.rows(space, wanted, position=position, texts=chosen != "npy"):
                file.write(rows)
                done += len(rows.vectors)
                if progress:
                    progress(done, total)
        return Exported(
            path=path,
            format=chosen,
            rows=done,
            dimension=space.dimension,
            provider=space.provider,
            model=space.model,
            position=position,
        )
