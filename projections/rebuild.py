"""Replay the log: to make a read model anew beside the live one, or to prove that the live one is right."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Any, Protocol

import psycopg
from msgspec import Struct
from psycopg.rows import class_row

from application.ports import EventPages
from application.store_trouble import unavailable
from domain.errors import NotFound, StudyError, Unavailable
from projections.advance import advance
from projections.compare import Difference, checksum, differences
from projections.generations import (
    Connect,
    Connection,
    Generation,
    State,
    building,
    create,
    create_indexes,
    drop,
    generations,
    opened,
    sweep_out,
    verifier_lock,
)
from projections.pages import BatchSize, SharedPages
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
    """Where a generation of a read model stands.

    lag_events: how many positions it is behind; some of them may hold no event
    lag_seconds: the age of the first event it has not read
    """

    name: str
    generation: int
    state: State
    position: int
    lag_events: int
    lag_seconds: float
    failed_position: int | None
    failed_reason: str | None


STATUS = """
    SELECT g.name, g.generation, g.state, g.position, greatest(0, last.position - g.position) AS lag_events,
        coalesce(greatest(0, extract(epoch FROM clock_timestamp() - unread.recorded_at)), 0)::float8 AS lag_seconds,
        g.failed_position, g.failed_reason
    FROM projections.generations g
    CROSS JOIN (SELECT coalesce(max(e.notification_id), 0) AS position FROM events.events e) AS last
    LEFT JOIN LATERAL (
        SELECT e.recorded_at FROM events.events e
        WHERE e.notification_id > g.position ORDER BY e.notification_id LIMIT 1
    ) AS unread ON true
    WHERE g.state <> 'retired'
    ORDER BY g.name, g.generation
"""


def status(log: Log) -> list[ReadModelStatus]:
    """Every generation that is in use or being made."""
    with _work(log) as connection, connection.cursor(row_factory=class_row(ReadModelStatus)) as cursor:
        return cursor.execute(STATUS).fetchall()


def rebuild(log: Log, name: str | None = None, progress: Progress | None = None) -> None:
    """Replay one read model, or all in one go, beside the live ones, and swap; an interrupted rebuild goes on.

    Raises NotFound for an unknown name, ProjectionFailed when the others are rebuilt, Unavailable.
    """
    models = _named(log, name)
    with _work(log) as connection, closing(SharedPages(log.pages)) as pages:
        sweep_out(connection)
        replays = [_Replay(model, building(connection, model), log.pages.last_position()) for model in models]
        _replay(connection, pages, replays, progress)
        for each in replays:
            if each.failure is None:
                _index(connection, pages, each, log.pages.last_position, progress)
                _swap_patiently(connection, pages, each.model, each.generation)
    _raise_failures(replays)


def verify(log: Log, name: str | None = None, progress: Progress | None = None) -> VerifyReport:
    """Replay into fresh tables up to exactly where the live ones are, and compare row by row.

    Raises NotFound for an unknown name, ProjectionFailed, Unavailable.
    """
    models = _named(log, name)
    with (
        _work(log) as connection,
        _work(log) as snapshot,
        closing(SharedPages(log.pages)) as pages,
        snapshot.transaction(),
        ExitStack() as stack,
    ):
        sweep_out(connection)
        snapshot.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        snapshot.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        live = {model.name: _live(snapshot, model) for model in models}
        replays = [
            _Replay(model, stack.enter_context(_verifying(connection, model)), live[model.name].position)
            for model in models
        ]
        _replay(connection, pages, replays, progress)
        _raise_failures(replays)
        tables = tuple(
            _compare(snapshot, live[each.model.name], connection, each.generation, table)
            for each in replays
            for table in each.model.tables
        )
    return VerifyReport(
        tables=tables,
        equal=all(table.equal for table in tables),
        position=max(generation.position for generation in live.values()),
    )


def _live(snapshot: Connection, model: ReadModel) -> Generation:
    """The live generation, with its tables locked: a swap meanwhile must not drop what this snapshot is to read."""
    live = next((each for each in generations(snapshot, "live") if each.name == model.name), None)
    if live is None or live.shape != model.shape:
        raise Unavailable(f"The read model {model.name} is still being built; follow it to the end, then verify")
    for table in model.tables:
        snapshot.execute(f"LOCK TABLE {live.schema}.{table.name} IN ACCESS SHARE MODE".encode())
    return live


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


class _Replay:
    """A generation on its way to a position."""

    def __init__(self, model: ReadModel, generation: Generation, until: int) -> None:
        self.model = model
        self.generation = generation
        self.until = until
        self.position = generation.position
        self.moved_at = time.monotonic()
        self.failure: str | None = None

    @property
    def ended(self) -> bool:
        return self.failure is not None or self.position >= self.until


def _replay(connection: Connection, pages: SharedPages, replays: list[_Replay], progress: Progress | None) -> None:
    """The same path as following, each up to exactly its `until`; those at the same place share what is read."""
    size = BatchSize()
    while under_way := [each for each in replays if not each.ended]:
        lowest, batch_size, began = min(each.position for each in under_way), size.events, time.monotonic()
        moved = [
            _advance(connection, pages, each, batch_size, progress) for each in under_way if each.position == lowest
        ]
        if max(moved) >= batch_size:
            size.took(time.monotonic() - began)
        elif not any(moved):
            time.sleep(0.02)


def _advance(
    connection: Connection, pages: SharedPages, replay: _Replay, batch_size: int, progress: Progress | None
) -> int:
    """One batch; returns how many events this process applied."""
    generation = replay.generation
    done = advance(connection, pages, replay.model, generation, until=replay.until, batch_size=batch_size)
    if done.outcome == "failed":
        replay.failure = f"{replay.model.name} can't be replayed past event {done.failed_position}: {done.reason}"
        return 0
    position = done.position
    if done.outcome == "at_end":
        position = replay.until
    elif done.outcome == "held":
        # Another process is building the same generation: its work is ours, while it does any.
        position = _still_there(connection, generation).position
        if position == replay.position and time.monotonic() - replay.moved_at > HELD_PATIENCE_SECONDS:
            raise Unavailable(
                f"Another process holds {generation.schema} at position {position} and does not move it; "
                "end that process, then run the command again"
            )
    if position > replay.position:
        replay.position, replay.moved_at = position, time.monotonic()
    if progress:
        progress(replay.model.name, replay.position, replay.until)
    return done.moved


def _index(
    connection: Connection,
    pages: SharedPages,
    replay: _Replay,
    last_position: Callable[[], int],
    progress: Progress | None,
) -> None:
    """Make the indexes, and read what came meanwhile, so that little is left to read while the swap locks."""
    while create_indexes(connection, replay.model, replay.generation):
        replay.until = last_position()
        _replay(connection, pages, [replay], progress)


def _raise_failures(replays: list[_Replay]) -> None:
    failures = [each.failure for each in replays if each.failure is not None]
    if failures:
        raise ProjectionFailed(
            f"The read model{'s' if len(failures) > 1 else ''} {'; '.join(failures)}; what is live is as it was"
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
