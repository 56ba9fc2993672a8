"""One batch of events applied to one generation: the only way in which a read model's rows are written."""

from typing import Literal

import psycopg
from msgspec import Struct

from application.store_trouble import trouble_of
from domain.events import RecordedEvent
from projections.generations import Connection, Generation
from projections.pages import SharedPages, without_collecting
from projections.read_model import ReadModel


class Advance(Struct, frozen=True):
    """How far a generation got in one go.

    moved: events read. outcome: `moved`, `at_end` (nothing to read), `held` (another process has the lease) or
    `failed` (the event after `position` can't be applied, for `reason`).
    """

    outcome: Literal["moved", "at_end", "held", "failed"]
    position: int
    moved: int = 0
    failed_position: int | None = None
    reason: str | None = None


class _NotApplied(Exception):
    """A read model could not apply these events; the cause says why."""

    def __init__(self, events: list[RecordedEvent]) -> None:
        super().__init__()
        self.events = events


def advance(
    connection: Connection,
    pages: SharedPages,
    model: ReadModel,
    generation: Generation,
    *,
    batch_size: int,
    until: int | None = None,
) -> Advance:
    """Apply the next batch, with its position, in one transaction.

    If an event can't be applied, those before it are, and the failure is recorded in the generation's row. Raises
    psycopg.Error when the store is in trouble, not the read model.
    """
    limit, moved, suspected = batch_size, 0, 0
    while True:
        try:
            done = _apply(connection, pages, model, generation, limit=limit, until=until)
        except _NotApplied as failure:
            if len(failure.events) > 1:
                suspected = suspected or len(failure.events)
                limit = len(failure.events) // 2
                continue
            return _failed(connection, generation, failure.events[0], failure.__cause__, moved)
        moved += done.moved
        if moved >= suspected or done.outcome != "moved":
            return Advance(outcome=done.outcome if not moved else "moved", position=done.position, moved=moved)


def _apply(
    connection: Connection,
    pages: SharedPages,
    model: ReadModel,
    generation: Generation,
    *,
    limit: int,
    until: int | None,
) -> Advance:
    with connection.transaction(), without_collecting():
        row = connection.execute(
            "SELECT position FROM projections.generations "
            "WHERE name = %s AND generation = %s AND state <> 'retired' FOR UPDATE SKIP LOCKED",
            (generation.name, generation.generation),
        ).fetchone()
        if row is None:
            return Advance(outcome="held", position=generation.position)
        position: int = row[0]
        events = pages.page(after=position, limit=limit, until=until)
        if not events:
            return Advance(outcome="at_end", position=position)
        try:
            write(connection, model, generation, events)
        except Exception as error:  # whatever a read model raises must stop it alone, and be recorded
            if isinstance(error, psycopg.Error) and trouble_of(error) is not None:
                raise
            raise _NotApplied(events) from error
        return Advance(outcome="moved", position=events[-1].position, moved=len(events))


def write(connection: Connection, model: ReadModel, generation: Generation, events: list[RecordedEvent]) -> None:
    """Write the rows of some events and the position after them, inside the caller's transaction and lease."""
    read = set(model.reads)
    with connection.cursor() as cursor:
        for change in model.changes([event for event in events if type(event.fact) in read]):
            change.apply(cursor, generation.schema)
        # The position moves even for events we ignore, or a restart replays them.
        cursor.execute(
            "UPDATE projections.generations SET position = %s, failed_position = NULL, failed_reason = NULL "
            "WHERE name = %s AND generation = %s",
            (events[-1].position, generation.name, generation.generation),
        )


def _failed(
    connection: Connection, generation: Generation, event: RecordedEvent, cause: BaseException | None, moved: int
) -> Advance:
    reason = f"{type(cause).__name__}: {cause}".strip()[:2000].replace("\x00", "\ufffd")
    row = connection.execute(
        "UPDATE projections.generations SET failed_position = %s, failed_reason = %s "
        "WHERE name = %s AND generation = %s AND position < %s RETURNING position",
        (event.position, reason, generation.name, generation.generation, event.position),
    ).fetchone()
    position = row[0] if row else generation.position
    return Advance(outcome="failed", position=position, moved=moved, failed_position=event.position, reason=reason)
