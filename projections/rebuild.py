"""Replay the log: to make a read model anew beside the live one, or to prove that the live one is right."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, Protocol

import psycopg
from msgspec import Struct
from psycopg.rows import class_row

from application.ports import EventPages
from application.store_trouble import unavailable
from domain.errors import NotFound, StudyError, Unavailable
from projections.advance import BATCH_SIZE, SharedPages, advance
from projections.compare import Difference, checksum, differences
from projections.generations import (
    Connect,
    Connection,
    Generation,
    State,
    building,
    create,
    drop,
    generations,
    opened,
    sweep_out,
    verifier_lock,
)
from projections.read_model import ReadModel, Table
from projections.swap import swap

SWAP_PATIENCE_SECONDS = 60.0
HELD_PATIENCE_SECONDS = 30.0

Progress = Callable[[str, int, int], None]  # read model, position, position to reach


class ProjectionFailed(StudyError):
    """A read model can't be replayed past an event."""


class Log(Protocol):
    """What replaying needs; a Follower is one."""

    pages: EventPages
    connect: Connect
    read_models: tuple[ReadModel, ...]


class TableReport(Struct, frozen=True, kw_only=True):
    """One table of the live generation beside its replay. Checksums don't depend on the order of rows."""

    read_model: str
    table: str
    rows: int
    checksum_live: str
    checksum_replayed: str
    equal: bool
    differences: tuple[Difference, ...] = ()


class VerifyReport(Struct, frozen=True, kw_only=True):
    """What a replay up to the live position of each read model gave; `position` is the highest of them."""

    tables: tuple[TableReport, ...]
    equal: bool
    position: int


class ReadModelStatus(Struct, frozen=True, kw_only=True):
    """Where a generation of a read model stands. `lag_seconds` is the age of the first event it has not read."""

    name: str
    generation: int
    state: State
    position: int
    lag_events: int
    lag_seconds: float
    failed_position: int | None
    failed_reason: str | None


STATUS = """
    SELECT g.name, g.generation, g.state, g.position, coalesce(behind.events, 0) AS lag_events,
        coalesce(behind.seconds, 0)::float8 AS lag_seconds, g.failed_position, g.failed_reason
    FROM projections.generations g
    CROSS JOIN LATERAL (
        SELECT count(*) AS events, greatest(0, extract(epoch FROM clock_timestamp() - min(e.recorded_at))) AS seconds
        FROM events.events e WHERE e.notification_id > g.position
    ) AS behind
    WHERE g.state <> 'retired'
    ORDER BY g.name, g.generation
"""


def status(log: Log) -> list[ReadModelStatus]:
    """Every generation that is in use or being made."""
    with _work(log) as connection, connection.cursor(row_factory=class_row(ReadModelStatus)) as cursor:
        return cursor.execute(STATUS).fetchall()


def rebuild(log: Log, name: str | None = None, progress: Progress | None = None) -> None:
    """Replay one read model, or all, beside the live ones, and swap; an interrupted rebuild goes on.

    Raises NotFound for an unknown name, ProjectionFailed, Unavailable.
    """
    models = _named(log, name)
    with _work(log) as connection:
        sweep_out(connection)
        for model in models:
            generation, pages = building(connection, model), SharedPages(log.pages)
            _replay(connection, pages, model, generation, log.pages.last_position(), progress)
            _swap_patiently(connection, pages, model, generation)


def verify(log: Log, name: str | None = None, progress: Progress | None = None) -> VerifyReport:
    """Replay into fresh tables up to exactly where the live ones are, and compare row by row.

    Raises NotFound for an unknown name, ProjectionFailed, Unavailable.
    """
    models = _named(log, name)
    tables: list[TableReport] = []
    highest = 0
    with _work(log) as connection:
        sweep_out(connection)
        for model in models:
            with _work(log) as snapshot:
                position, reports = _verify_one(connection, snapshot, SharedPages(log.pages), model, progress)
            tables += reports
            highest = max(highest, position)
    return VerifyReport(tables=tuple(tables), equal=all(table.equal for table in tables), position=highest)


def _verify_one(
    connection: Connection, snapshot: Connection, pages: SharedPages, model: ReadModel, progress: Progress | None
) -> tuple[int, list[TableReport]]:
    with snapshot.transaction(), _verifying(connection, model) as fresh:
        snapshot.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        live = next((each for each in generations(snapshot, "live") if each.name == model.name), None)
        if live is None or live.shape != model.shape:
            raise Unavailable(f"The read model {model.name} is still being built; follow it to the end, then verify")
        for table in model.tables:
            # A swap meanwhile must not drop what this snapshot is to read.
            snapshot.execute(f"LOCK TABLE {live.schema}.{table.name} IN ACCESS SHARE MODE".encode())
        _replay(connection, pages, model, fresh, live.position, progress)
        return live.position, [_compare(snapshot, live, connection, fresh, table) for table in model.tables]


@contextmanager
def _verifying(connection: Connection, model: ReadModel) -> Iterator[Generation]:
    """A generation that is dropped at the end, by us or, if we die, by the next who looks."""
    with connection.transaction():
        fresh = create(connection, model, "verifying")
        connection.execute("SELECT pg_advisory_lock(%s)", (verifier_lock(fresh),))
    try:
        yield fresh
    finally:
        if not connection.closed:
            drop(connection, fresh)
            connection.execute("SELECT pg_advisory_unlock(%s)", (verifier_lock(fresh),))


def _compare(
    snapshot: Connection, live: Generation, connection: Connection, fresh: Generation, table: Table
) -> TableReport:
    kept, replayed = checksum(snapshot, live.schema, table), checksum(connection, fresh.schema, table)
    equal = kept == replayed
    return TableReport(
        read_model=live.name,
        table=table.name,
        rows=kept.rows,
        checksum_live=kept.digest,
        checksum_replayed=replayed.digest,
        equal=equal,
        differences=() if equal else differences(snapshot, live.schema, connection, fresh.schema, table),
    )


def _replay(
    connection: Connection,
    pages: SharedPages,
    model: ReadModel,
    generation: Generation,
    until: int,
    progress: Progress | None,
) -> None:
    """The same path as following, up to exactly `until`."""
    position, moved_at = -1, time.monotonic()
    while True:
        done = advance(connection, pages, model, generation, until=until, batch_size=BATCH_SIZE)
        if progress:
            progress(model.name, done.position, until)
        if done.outcome == "at_end":
            return
        if done.outcome == "held":
            # Another process is building the same generation: its work is ours, while it does any.
            now = _still_there(connection, generation)
            if now.position > position:
                position, moved_at = now.position, time.monotonic()
            elif time.monotonic() - moved_at > HELD_PATIENCE_SECONDS:
                raise Unavailable(
                    f"Another process holds {generation.schema} at position {position} and does not move it; "
                    "end that process, then run the command again"
                )
            time.sleep(0.02)
        if done.outcome == "failed":
            raise ProjectionFailed(
                f"The read model {model.name} can't be replayed past event {done.failed_position}: {done.reason}; "
                "the live one is as it was"
            )


def _still_there(connection: Connection, generation: Generation) -> Generation:
    for each in generations(connection, "building", "live", "verifying"):
        if each.schema == generation.schema:
            return each
    raise Unavailable(
        f"{generation.schema} was dropped meanwhile: another version of study-query-llm has opened the store, "
        "or another process has replaced it; run the command again"
    )


def _swap_patiently(connection: Connection, pages: SharedPages, model: ReadModel, generation: Generation) -> None:
    """Try for a minute, so briefly each time that nobody who reads has to wait for us."""
    deadline = time.monotonic() + SWAP_PATIENCE_SECONDS
    while True:
        try:
            swap(connection, pages, model, generation)
        except psycopg.errors.LockNotAvailable:
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"{model.name} is rebuilt, but a long query reads its views; end that, then run the command again"
                ) from None
            time.sleep(0.2)
        else:
            return


def _named(log: Log, name: str | None) -> Sequence[ReadModel]:
    models = [model for model in log.read_models if name in (None, model.name)]
    if not models:
        known = ", ".join(model.name for model in log.read_models)
        raise NotFound(f"There is no read model {name!r}; there are {known}")
    return models


@contextmanager
def _work(log: Log) -> Iterator[psycopg.Connection[Any]]:
    """A connection for one command."""
    try:
        with closing(opened(log.connect)) as connection:
            yield connection
    except psycopg.Error as error:
        raise unavailable("The read models can't be replayed; a rebuild goes on where it stopped", error) from error
