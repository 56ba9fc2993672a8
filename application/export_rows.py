"""What is recorded, as the bytes of a file: some thousands of rows at a time, as it stood at one position in the log.

The bytes come when they are asked for, so that a slow disk or a slow client is waited for. Nothing is held meanwhile
but one batch of rows: no transaction and no cursor, since the position says what is to be read.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar, get_args

from msgspec import Struct

from domain.errors import Rejected

Format = Literal["parquet", "jsonl", "csv", "npy"]
FORMATS: tuple[Format, ...] = get_args(Format)
OF_ROWS: tuple[Format, ...] = ("parquet", "jsonl", "csv")

Kind = Literal["text", "json", "integer", "real", "exact", "time"]

T = TypeVar("T")
B_contra = TypeVar("B_contra", contravariant=True)


class Column(NamedTuple):
    """A column of a table. json: text that is JSON; exact: Decimal; time: datetime in UTC. Every value may be None."""

    name: str
    kind: Kind


class Batch(NamedTuple):
    """Some rows, column by column, in the order of the table's columns."""

    columns: Sequence[Sequence[Any]]
    rows: int


class Encoder(Protocol[B_contra]):
    """Turns batches into a file's bytes, in order."""

    def encode(self, batch: B_contra) -> bytes:
        """The bytes that are ready with this batch."""

    def end(self) -> bytes:
        """The last bytes. Raises StudyError when other rows came than were to come."""


class RowEncoders(Protocol):
    """Makes encoders of tables."""

    def encoder(self, file_format: Format, columns: Sequence[Column], *, spreadsheet: bool) -> Encoder[Batch]:
        """One for a file.

        spreadsheet: of CSV, put an apostrophe before texts that a spreadsheet would take for formulas
        """


class Exported(Struct, frozen=True, kw_only=True):
    """What was written. dimension, provider and model: of vectors."""

    what: str
    path: str
    format: Format
    rows: int
    bytes: int
    position: int
    dimension: int | None = None
    provider: str | None = None
    model: str | None = None


class Export(Generic[T]):
    """A file that is ready to be made: `async for` over `chunks()` makes it, once. `rows` counts them meanwhile.

    about: what else is to be told of it
    """

    def __init__(
        self,
        what: str,
        file_format: Format,
        position: int,
        encoder: Encoder[T],
        batches: AsyncIterator[T],
        *,
        rows_of: Callable[[T], int],
        count: Callable[[], Awaitable[int | None]],
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.what = what
        self.format = file_format
        self.position = position
        self.rows = 0
        self.about = dict(about or {})
        self.count = count
        self._encoder = encoder
        self._batches = batches
        self._rows_of = rows_of

    @property
    def filename(self) -> str:
        """What the file is called where nobody says."""
        return f"{self.what}-{self.position}.{self.format}"

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes. What fails here breaks the file off in the middle."""
        async for batch in self._batches:
            # Encoding takes long enough to keep a server from its other clients.
            chunk = await asyncio.to_thread(self._encoder.encode, batch)
            self.rows += self._rows_of(batch)
            if chunk:
                yield chunk
        yield await asyncio.to_thread(self._encoder.end)


def chosen_format(wanted: str, *, spreadsheet: bool = False, among: Sequence[Format] = FORMATS) -> Format:
    """The format of this name. Raises Rejected for another one, and for a spreadsheet's that is not CSV."""
    chosen = next((each for each in among if each == wanted), None)
    if chosen is None:
        raise Rejected(f"{wanted[:40]!r} is no format for this; use one of {', '.join(among)}", fields=("format",))
    if spreadsheet and chosen != "csv":
        raise Rejected(f"spreadsheet is for csv, not for {chosen}; leave it away", fields=("spreadsheet",))
    return chosen
