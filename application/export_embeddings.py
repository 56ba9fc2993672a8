"""Stored vectors of one model as a file, as they were at one position in the log."""

from typing import Protocol

from application.export_rows import Encoder, Export, Format, chosen_format
from application.stored_vectors import Space, StoredRows, StoredVectors, VectorFilter
from domain.errors import NotFound


class VectorEncoders(Protocol):
    """Makes encoders of vectors."""

    def encoder(self, file_format: Format, space: Space, row_count: int, *, spreadsheet: bool) -> Encoder[StoredRows]:
        """One for a file of so many rows; `spreadsheet` as that of RowEncoders."""


class ExportEmbeddings:
    """Exports; memory is bounded by a few blocks, however many vectors there are."""

    def __init__(self, stored: StoredVectors, encoders: VectorEncoders) -> None:
        self._stored = stored
        self._encoders = encoders

    async def __call__(
        self, file_format: str, wanted: VectorFilter, *, position: int, spreadsheet: bool = False
    ) -> Export[StoredRows]:
        """What fits, in the log's order, as of a position that the read models show.

        Raises Rejected for another format and where several models fit; NotFound for nothing to write.
        """
        chosen = chosen_format(file_format, spreadsheet=spreadsheet)
        space = await self._stored.space(wanted, as_of=position)
        total = await self._stored.count(space, wanted, position=position)
        if not total:
            raise NotFound("No vector fits; leave some of the filters out")

        async def count() -> int:
            return total

        return Export(
            "embeddings",
            chosen,
            position,
            self._encoders.encoder(chosen, space, total, spreadsheet=spreadsheet),
            self._stored.rows(space, wanted, position=position, texts=chosen != "npy"),
            rows_of=lambda rows: len(rows.vectors),
            count=count,
            about={"dimension": space.dimension, "provider": space.provider, "model": space.model},
        )
