"""Bring the rows of an older notebook in, each as a call at its own time; what is there already stays as it is.

A row's call is named by its database and its id, so that whoever does it again, or goes on after a break, writes
nothing twice. Some hundred calls land together with their places in their groups, or not at all.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from uuid import UUID
from zoneinfo import ZoneInfo

from msgspec import Struct, field

from application.legacy_call import BATCH_GROUP, LegacyCall, legacy_call, source_of
from application.legacy_runs import LegacyRun, LegacyRuns
from application.notebook import Context, Notebook
from application.ports import AppendConflict, NewEvent, Payload
from domain.calls import CallRequested
from domain.errors import Rejected
from domain.groups import GroupCreated, GroupMembersAdded, Member, group_id_of
from domain.identity import content_id

ROWS_AT_ONCE = 500
MOST_ODD_NAMED = 10_000
TRIES = 5

Told = Callable[[int, int], None]  # rows so far, and of how many


class OddRow(Struct, frozen=True):
    """A row of which not everything could be imported as it was, and why."""

    row: int | str
    reason: str


class Imported(Struct, kw_only=True):
    """What became of the rows. With dry_run, what would.

    already_there: imported before; failed: rows without a response; not_imported: those without an id or with another's
    naive_times: times that named no zone, and were taken as of `timezone`
    odd: the first 10,000; odd_rows says how many there are
    """

    database: str
    source: str
    dry_run: bool
    timezone: str
    rows: int = 0
    imported: int = 0
    already_there: int = 0
    failed: int = 0
    not_imported: int = 0
    naive_times: int = 0
    groups: int = 0
    position: int | None = None
    odd_rows: int = 0
    odd: list[OddRow] = field(default_factory=list)

    def name(self, row: object, *reasons: str) -> None:
        """Name what is odd about a row."""
        self.odd_rows += 1
        if len(self.odd) < MOST_ODD_NAMED:
            named = row if isinstance(row, int) else str(row)[:300]
            self.odd.append(OddRow(named, "; ".join(reasons)))


class Places:
    """The place of each row in its batch: the order of the ids."""

    def __init__(self) -> None:
        self._next: Counter[str] = Counter()

    def of(self, call: LegacyCall) -> int | None:
        """The next one of its batch; None for a row of none. Ask once for each row, in order."""
        if call.batch is None:
            return None
        place = self._next[call.batch]
        self._next[call.batch] += 1
        return place


class ImportLegacyRuns:
    """Imports all rows of a database."""

    def __init__(self, notebook: Notebook) -> None:
        self._notebook = notebook

    async def __call__(
        self,
        runs: LegacyRuns,
        context: Context,
        *,
        zone: ZoneInfo,
        source: str | None = None,
        dry_run: bool = False,
        told: Told | None = None,
    ) -> Imported:
        """Import what is not there yet, and say what became of each row that is odd.

        zone: of times that name none; source: what the database is known by, if not by its first row
        Raises Unavailable.
        """
        total = await asyncio.to_thread(runs.count)
        done = Imported(database=runs.name, source=source or "", dry_run=dry_run, timezone=zone.key)
        places, groups, before = Places(), set[str](), set[UUID]()
        async for rows in chunks_of(runs, ROWS_AT_ONCE):
            done.source = done.source or source_of(rows[0])
            found = _calls(rows, zone, before, done)
            before = {call.call_id for call in found}
            calls = [(call, places.of(call)) for call in found]
            await self._write(calls, groups, context, done)
            done.rows += len(rows)
            if told is not None:
                told(done.rows, max(total, done.rows))
        done.source = done.source or source_of(None)
        return done

    async def _write(
        self, calls: Sequence[tuple[LegacyCall, int | None]], groups: set[str], context: Context, done: Imported
    ) -> None:
        """Write those that are not there yet, together. `groups` knows which groups are there."""
        for _ in range(TRIES):
            there = await self._notebook.store.begun_by([call.call_id for call, _ in calls], CallRequested)
            fresh = [(call, place) for call, place in calls if call.call_id not in there]
            missing = await self._missing([call for call, _ in fresh], groups)
            entries = self._entries(fresh, missing, context)
            try:
                if entries and not done.dry_run:
                    done.position = await self._notebook.write(*entries)
            except AppendConflict:
                continue  # another import, or somebody who made one of the groups, was faster: look again
            groups.update(missing)
            done.groups += len(missing)
            done.imported += len(fresh)
            done.already_there += len(there)
            done.failed += sum(call.text is None for call, _ in fresh)
            return
        raise AppendConflict("Others write the same calls all the time; import again when they are done")

    async def _missing(self, calls: Sequence[LegacyCall], known: set[str]) -> dict[str, LegacyCall]:
        """The batches of which there is no group yet, each with its first call."""
        wanted = {call.batch: call for call in reversed(calls) if call.batch is not None and call.batch not in known}
        ids = {group_id_of(BATCH_GROUP, name): name for name in wanted}
        there = await self._notebook.store.begun_by(list(ids), GroupCreated) if ids else set()
        known.update(ids[group_id] for group_id in there)
        return {name: wanted[name] for group_id, name in ids.items() if group_id not in there}

    def _entries(
        self,
        calls: Sequence[tuple[LegacyCall, int | None]],
        missing: dict[str, LegacyCall],
        context: Context,
    ) -> list[NewEvent]:
        entry = self._notebook.entry
        entries: list[NewEvent] = []
        members: dict[str, list[tuple[LegacyCall, int | None]]] = {}
        for call, place in calls:
            request, response = call.request, call.response
            bodies: tuple[Payload, ...] = () if response is None else (response,)
            entries += (
                entry(context, call.call_id, 1, call.requested(request), request, occurred_at=call.created_at),
                entry(context, call.call_id, 2, call.ended(response), *bodies, occurred_at=call.ended_at),
            )
            if call.batch is not None:
                members.setdefault(call.batch, []).append((call, place))
        for name, first in missing.items():
            created = GroupCreated(group_type=BATCH_GROUP, name=name)
            group_id = group_id_of(BATCH_GROUP, name)
            entries.append(entry(context, group_id, 1, created, occurred_at=first.created_at))
        for name, those in members.items():
            group_id, first = group_id_of(BATCH_GROUP, name), those[0][0]
            added = GroupMembersAdded(
                group_id=group_id,
                members=tuple(Member(call_id=call.call_id, position=place) for call, place in those),
            )
            # Named by their first call: a version-1 conflict, should somebody else write the same.
            stream_id = content_id("legacy-members", str(group_id), str(first.call_id))
            entries.append(entry(context, stream_id, 1, added, because_of=group_id, occurred_at=first.created_at))
        return entries


async def chunks_of(runs: LegacyRuns, rows: int) -> AsyncIterator[Sequence[LegacyRun]]:
    """The rows of a database, read in a thread, the next ones while these are looked at."""
    reading = runs.chunks(rows)
    ahead = asyncio.create_task(asyncio.to_thread(next, reading, None))
    try:
        while chunk := await ahead:
            ahead = asyncio.create_task(asyncio.to_thread(next, reading, None))
            yield chunk
    finally:
        await asyncio.wait([ahead])
        with suppress(ValueError):  # whoever left in the middle of reading leaves the reader to end by itself
            reading.close()


def _calls(rows: Sequence[LegacyRun], zone: ZoneInfo, before: set[UUID], done: Imported) -> list[LegacyCall]:
    """What the rows become; those that become nothing are named. Rows with one id lie side by side."""
    found: dict[UUID, LegacyCall] = {}
    for row in rows:
        try:
            call = legacy_call(row, done.source, zone)
        except Rejected as error:
            done.not_imported += 1
            done.name("none", f"{error}: not imported")
            continue
        if call.call_id in found or call.call_id in before:
            done.not_imported += 1
            done.name(call.legacy_id, "another row has the same id: not imported")
            continue
        found[call.call_id] = call
        done.naive_times += call.naive
        if call.odd:
            done.name(call.legacy_id, *call.odd)
    return list(found.values())
