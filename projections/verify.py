"""Prove that the live tables are what the events say: replay them into fresh ones, and compare."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

from msgspec import Struct

from domain.errors import Unavailable
from projections.compare import Difference, checksum, differences
from projections.generations import Connection, Generation, create, drop, generations, sweep_out, verifier_lock
from projections.pages import SharedPages
from projections.read_model import ReadModel, Table
from projections.replay import Log, Progress, Replay, named, raise_failures, replay, work


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


def verify(log: Log, name: str | None = None, progress: Progress | None = None) -> VerifyReport:
    """Replay into fresh tables up to exactly where the live ones are, and compare row by row.

    Raises NotFound for an unknown name, ProjectionFailed, Unavailable.
    """
    models = named(log, name)
    with (
        work(log) as connection,
        work(log) as snapshot,
        closing(SharedPages(log.pages)) as pages,
        snapshot.transaction(),
        ExitStack() as stack,
    ):
        sweep_out(connection)
        snapshot.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        snapshot.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        live = {model.name: _live(snapshot, model) for model in models}
        replays = [
            Replay(model, stack.enter_context(_verifying(connection, model)), live[model.name].position)
            for model in models
        ]
        replay(connection, pages, replays, progress)
        raise_failures(replays)
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
