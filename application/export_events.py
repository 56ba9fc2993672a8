"""The log as a file: events in order that pass a filter, up to one position."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from application.audit_log import AuditLog, EventFilter
from application.export_rows import OF_ROWS, Batch, Column, Export, RowEncoders, chosen_format
from domain.events import RecordedEvent

EVENTS_A_BATCH = 5_000

COLUMNS = (
    Column("position", "integer"),
    Column("version", "integer"),
    Column("event", "text"),
    Column("kind", "text"),
    Column("entity_id", "text"),
    Column("stream_id", "text"),
    Column("occurred_at", "time"),
    Column("recorded_at", "time"),
    Column("actor", "text"),
    Column("process", "text"),
    Column("correlation_id", "text"),
    Column("causation_id", "text"),
    Column("facts", "json"),
    Column("payloads", "json"),
)


class ExportEvents:
    """Exports. document: an event as all interfaces show it, with COLUMNS as its names"""

    def __init__(
        self, log: AuditLog, encoders: RowEncoders, document: Callable[[RecordedEvent], dict[str, Any]]
    ) -> None:
        self._log = log
        self._encoders = encoders
        self._document = document

    async def __call__(
        self, file_format: str, wanted: EventFilter, *, position: int, after: int = 0, spreadsheet: bool = False
    ) -> Export[Batch]:
        """Events behind one position up to another. Raises Rejected for a format, and for what no event is called."""
        chosen = chosen_format(file_format, spreadsheet=spreadsheet, among=OF_ROWS)
        wanted.names()

        async def count() -> None:
            return None  # what passes a filter is known only once it was read

        return Export(
            "events",
            chosen,
            position,
            self._encoders.encoder(chosen, COLUMNS, spreadsheet=spreadsheet),
            self._batches(wanted, after, position),
            rows_of=lambda batch: batch.rows,
            count=count,
        )

    async def _batches(self, wanted: EventFilter, after: int, until: int) -> AsyncIterator[Batch]:
        at_end = False
        while not at_end:
            found = await self._log.page(wanted, after=after, until=until, limit=EVENTS_A_BATCH)
            after, at_end = found.looked_to, found.at_end
            if found.events:
                yield self._batch(found.events)

    def _batch(self, events: tuple[RecordedEvent, ...]) -> Batch:
        documents = [self._document(event) for event in events]
        for document, event in zip(documents, events, strict=True):
            document |= {
                "occurred_at": event.envelope.occurred_at,
                "recorded_at": event.recorded_at,
                "facts": msgspec.json.encode(document["facts"]).decode(),
                "payloads": msgspec.json.encode(document["payloads"]).decode(),
            }
        return Batch([[document[name] for document in documents] for name, _ in COLUMNS], len(events))
