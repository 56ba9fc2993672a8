"""Calls as a file: each with its request and answer, the oldest first, as they stood at one position in the log."""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Generic, Protocol, TypeVar

from application.export_rows import OF_ROWS, Batch, Column, Export, RowEncoders, chosen_format

F = TypeVar("F")
F_contra = TypeVar("F_contra", contravariant=True)


class CallsInBulk(Protocol[F_contra]):
    """The read model of calls, filtered as it is."""

    async def count(self, wanted: F_contra, *, position: int) -> int | None:
        """How many fit; None where nobody knows before they were read."""

    def batches(self, wanted: F_contra, *, position: int) -> AsyncIterator[Batch]:
        """Those calls, in bounded memory."""


class ExportCalls(Generic[F]):
    """Exports. columns: what of each call the read model gives"""

    def __init__(self, calls: CallsInBulk[F], columns: Sequence[Column], encoders: RowEncoders) -> None:
        self._calls = calls
        self._columns = columns
        self._encoders = encoders

    async def __call__(self, file_format: str, wanted: F, *, position: int, spreadsheet: bool = False) -> Export[Batch]:
        """What fits, as of a position that the read models show. Raises Rejected for another format."""
        chosen = chosen_format(file_format, spreadsheet=spreadsheet, among=OF_ROWS)
        return Export(
            "calls",
            chosen,
            position,
            self._encoders.encoder(chosen, self._columns, spreadsheet=spreadsheet),
            self._calls.batches(wanted, position=position),
            rows_of=lambda batch: batch.rows,
            count=partial(self._calls.count, wanted, position=position),
        )
