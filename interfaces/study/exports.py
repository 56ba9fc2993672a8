"""What is recorded, as files: calls, embeddings, events, and calls added up."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from application.audit_log import EventFilter
from application.export_analytics import TABLES, ExportAnalytics
from application.export_calls import ExportCalls
from application.export_embeddings import ExportEmbeddings
from application.export_events import ExportEvents
from application.export_rows import Export, Exported
from application.stored_vectors import VectorFilter
from domain.errors import Rejected
from infrastructure.event_store.store import PostgresEventStore
from infrastructure.whole_files import whole_file
from interfaces.as_of import NOW, Moment
from interfaces.study.analytics import ADDED_UP, Analytics
from interfaces.study.calls import read_for
from interfaces.study.moments import Moments
from projections.call_queries import EVERY_CALL, CallFilter
from projections.embedding_cache import EMBEDDING_CACHE
from projections.group_links import GROUP_LINKS
from projections.queries import Queries
from projections.raw_calls import RAW_CALLS
from projections.search_eras import CallSearch

Told = Callable[[int, int | None], None]  # rows so far, and of how many where that is known


class Exports:
    """Makes files; each shows one position, however long it takes to write."""

    def __init__(
        self,
        calls: ExportCalls[CallFilter],
        embeddings: ExportEmbeddings,
        events: ExportEvents,
        analytics: ExportAnalytics,
        added_up: Analytics,
        queries: Queries,
        moments: Moments,
        store: PostgresEventStore,
    ) -> None:
        self._calls = calls
        self._embeddings = embeddings
        self._events = events
        self._analytics = analytics
        self._added_up = added_up
        self._queries = queries
        self._moments = moments
        self._store = store

    async def calls(
        self, file_format: str, wanted: CallFilter = EVERY_CALL, moment: Moment = NOW, *, spreadsheet: bool = False
    ) -> Export[Any]:
        """Calls with their requests and answers, the oldest first; those that a search finds in the log's order.

        Raises Rejected, NotFound for the group, and Unavailable where the index of texts is not so far in time: a file
        never lacks a call that is to be found.
        """
        reads: tuple[str, ...] = (RAW_CALLS.name, GROUP_LINKS.name)
        if isinstance(wanted, CallSearch):
            self._queries.calls_in_bulk.check(wanted)
            reads = (*reads, read_for(wanted))
        position = await self._position(moment, *reads)
        if wanted.group_id is not None:
            await self._queries.groups.group(wanted.group_id, as_of=position)
        return await self._calls(file_format, wanted, position=position, spreadsheet=spreadsheet)

    async def embeddings(
        self, file_format: str, wanted: VectorFilter, moment: Moment = NOW, *, spreadsheet: bool = False
    ) -> Export[Any]:
        """The vectors of one model, in the log's order. Raises Rejected, NotFound where none fits."""
        position = await self._position(moment, EMBEDDING_CACHE.name, GROUP_LINKS.name)
        if wanted.group_id is not None:
            await self._queries.groups.group(wanted.group_id, as_of=position)
        return await self._embeddings(file_format, wanted, position=position, spreadsheet=spreadsheet)

    async def events(
        self,
        file_format: str,
        wanted: EventFilter,
        moment: Moment = NOW,
        *,
        after: int = 0,
        spreadsheet: bool = False,
    ) -> Export[Any]:
        """Events in order. Raises Rejected."""
        position = await self._position(moment, GROUP_LINKS.name)
        return await self._events(file_format, wanted, position=position, after=after, spreadsheet=spreadsheet)

    async def analytics(
        self,
        file_format: str,
        wanted: CallFilter = EVERY_CALL,
        moment: Moment = NOW,
        *,
        table: str = "timeseries",
        spreadsheet: bool = False,
        **options: Any,
    ) -> Export[Any]:
        """Calls added up: a table of `study analytics`. Raises Rejected, NotFound where no call fits.

        options: bucket, timezone and by, of a time series
        """
        if table not in TABLES:
            raise Rejected(f"{table[:40]!r} is no table; use one of {', '.join(TABLES)}", fields=("table",))
        if options and table != "timeseries":
            raise Rejected(f"{', '.join(options)}: only a time series has such", fields=tuple(options))
        position = await self._position(moment, *ADDED_UP, GROUP_LINKS.name)
        # Of now, the rollups know it; of another time, the calls. So nobody waits for what is not asked.
        found = await getattr(self._added_up, table)(wanted, moment, **options)
        items = [found] if table == "summary" else found["items"]
        return self._analytics(file_format, items, position=position, spreadsheet=spreadsheet)

    async def to_file(self, export: Export[Any], path: Path, *, told: Told | None = None) -> Exported:
        """Write a file, whole or not at all; one that was there is replaced at the end. Raises Rejected."""
        total = await export.count() if told is not None else None
        written = 0
        with whole_file(path) as file:
            async for chunk in export.chunks():
                written += await asyncio.to_thread(file.write, chunk)
                if told is not None:
                    told(export.rows, total)
        return Exported(
            what=export.what,
            path=str(path),
            format=export.format,
            rows=export.rows,
            bytes=written,
            position=export.position,
            **export.about,
        )

    async def _position(self, moment: Moment, *reads: str) -> int:
        """The position that a file shows, the log's end for now, once the read models show it."""
        position = await self._moments.shown(moment, reads=reads)
        if position is None:
            position = await asyncio.to_thread(self._store.last_position)
            await self._moments.wait_until(position, *reads)
        return position
