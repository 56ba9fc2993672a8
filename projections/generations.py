"""Generations of read models: each has a schema of its own and one row that says how far it has read.

That row is the lease too: whoever locks it may write the generation's tables. `study` holds the views that people
read, and `projections` one view for each table, for our own queries; both lead to the live generation.
"""

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Literal

import psycopg
from msgspec import Struct
from psycopg.rows import class_row

from application.store_trouble import unavailable
from domain.errors import Unavailable
from projections.read_model import JsonText, ReadModel

State = Literal["building", "live", "retired", "verifying"]
Connection = psycopg.Connection[Any]
Connect = Callable[[], Connection]

INSTALL_LOCK = (7453, 3)
LOCK_TIMEOUT_SECONDS = 10
LEASE_SECONDS = 30  # for how long a process that stands still in the middle of a batch keeps others from it
LONGEST_LOG_READ_AT_ONCE = 20_000
BRIEFLY = "SET LOCAL lock_timeout = '300ms'"  # whoever waits for a view or table holds up all its new readers

GENERATIONS = """
    CREATE TABLE projections.generations (
        name text NOT NULL,
        generation int NOT NULL,
        state text NOT NULL CHECK (state IN ('building', 'live', 'retired', 'verifying')),
        version int NOT NULL,
        shape text NOT NULL,
        views_shape text NOT NULL,
        position bigint NOT NULL DEFAULT 0,
        failed_position bigint,
        failed_reason text,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (name, generation)
    ) WITH (fillfactor = 50);
    CREATE UNIQUE INDEX one_live ON projections.generations (name) WHERE state = 'live';
    CREATE UNIQUE INDEX one_building ON projections.generations (name) WHERE state = 'building';
"""
COLUMNS = "name, generation, state, version, shape, views_shape, position, failed_position, failed_reason, created_at"


class Generation(Struct, frozen=True, kw_only=True):
    """One row of projections.generations."""

    name: str
    generation: int
    state: State
    version: int
    shape: str
    views_shape: str
    position: int
    failed_position: int | None
    failed_reason: str | None
    created_at: datetime

    @property
    def schema(self) -> str:
        """Where its tables lie."""
        return f"{self.name}_g{self.generation}"


def opened(connect: Connect) -> Connection:
    """A connection in the state that generations rely on."""
    connection = connect()
    try:
        prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def prepare(connection: Connection) -> None:
    """Put a connection in the state that generations rely on.

    A batch may be lost with its position when the server crashes, since it is then read again: no need to wait for
    the disk. Whoever is suspended, or gone without a word, in the middle of a batch loses its lease.
    """
    connection.autocommit = True
    connection.adapters.register_dumper(None, JsonText)
    connection.execute(
        f"SET lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'; SET timezone = 'UTC'; SET client_encoding = 'UTF8'; "
        "SET default_transaction_isolation = 'read committed'; SET synchronous_commit = off; "
        f"SET idle_in_transaction_session_timeout = '{LEASE_SECONDS}s'; "
        "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"
    )


def install(connection: Connection, read_models: Sequence[ReadModel]) -> None:
    """Make sure that every read model has a generation, and views onto a live one; several openers may do so at once.

    A read model whose shape changed gets a generation beside its live one, which the follower fills and swaps in. So
    does one that is new to a long log, and until then it can't be asked.
    Raises Unavailable when a live generation is a newer version's, and for trouble with the store.
    """
    try:
        prepare(connection)
        if _is_installed(connection, read_models):
            return
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", INSTALL_LOCK)
            for schema in ("projections", "study"):
                if _scalar(connection, "SELECT to_regnamespace(%s) IS NULL", schema):
                    connection.execute(f"CREATE SCHEMA {schema}".encode())
            if _scalar(connection, "SELECT to_regclass('projections.generations') IS NULL"):
                connection.execute(GENERATIONS)
            for model in read_models:
                _install_one(connection, model)
        sweep_out(connection)
    except psycopg.Error as error:
        raise unavailable("The read models can't be installed", error) from error


def _is_installed(connection: Connection, read_models: Sequence[ReadModel]) -> bool:
    if _scalar(connection, "SELECT to_regclass('projections.generations') IS NULL"):
        return False
    live = {each.name: each for each in generations(connection, "live")}
    return all(
        model.name in live
        and (live[model.name].shape, live[model.name].views_shape) == (model.shape, model.views_shape)
        for model in read_models
    )


def _install_one(connection: Connection, model: ReadModel) -> None:
    live = next((each for each in generations(connection, "live") if each.name == model.name), None)
    if live is None and _is_long(connection):
        building(connection, model)
    elif live is None:
        put_views(connection, model, create(connection, model, "live"))
    elif live.version > model.version:
        raise Unavailable(
            f"The read model {model.name} is at version {live.version}, and this version of study-query-llm knows "
            f"{model.version}; install the version that made it, or a later one"
        )
    elif live.shape != model.shape:
        building(connection, model)
    elif live.views_shape != model.views_shape:
        put_views(connection, model, live)


def _is_long(connection: Connection) -> bool:
    last = _scalar(connection, "SELECT max(notification_id) FROM events.events")
    return last is not None and last > LONGEST_LOG_READ_AT_ONCE


def building(connection: Connection, model: ReadModel) -> Generation:
    """The generation that is being built for a read model: an interrupted one of the right shape, else a new one."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", INSTALL_LOCK)
        for each in generations(connection, "building"):
            if each.name == model.name:
                if each.shape == model.shape:
                    return each
                drop(connection, each)
        return create(connection, model, "building")


def create(connection: Connection, model: ReadModel, state: State) -> Generation:
    """A new generation with empty tables, at position 0."""
    with connection.transaction(), connection.cursor(row_factory=class_row(Generation)) as cursor:
        created = cursor.execute(
            f"INSERT INTO projections.generations (name, generation, state, version, shape, views_shape) "  # noqa: S608
            f"SELECT %(name)s, 1 + coalesce(max(generation), 0), %(state)s, %(version)s, %(shape)s, %(views_shape)s "
            f"FROM projections.generations WHERE name = %(name)s RETURNING {COLUMNS}".encode(),
            {
                "name": model.name,
                "state": state,
                "version": model.version,
                "shape": model.shape,
                "views_shape": model.views_shape,
            },
        ).fetchone()
        assert created is not None  # noqa: S101 - INSERT … SELECT of an aggregate returns one row
        connection.execute(f"CREATE SCHEMA {created.schema}".encode())
        for table in model.tables:
            connection.execute(table.statement(created.schema).encode())
        if state == "live":
            create_indexes(connection, model, created)
        return created


def create_indexes(connection: Connection, model: ReadModel, generation: Generation) -> bool:
    """Make the indexes that queries need, and look what they hold; says whether some were missing.

    A replay is spared their upkeep if they are made at its end. Holds the generation's lease meanwhile.
    """
    wanted = [statement for table in model.tables for statement in table.index_statements(generation.schema)]
    with connection.transaction():
        row = connection.execute(
            "SELECT (SELECT count(*) FROM pg_indexes WHERE schemaname = %s) FROM projections.generations "
            "WHERE name = %s AND generation = %s AND state <> 'retired' FOR UPDATE",
            (generation.schema, generation.name, generation.generation),
        ).fetchone()
        if row is None:
            return False
        missing = [] if row[0] >= len(wanted) + len(model.tables) else wanted
        if model.missing_indexes is not None:
            missing = [*missing, *model.missing_indexes(connection, generation.schema)]
        for statement in missing:
            connection.execute(statement.encode())
        if missing and generation.state == "building":
            # Of tables that the planner knows nothing about, it sorts all of one for a page.
            for table in model.tables:
                connection.execute(f"ANALYZE {generation.schema}.{table.name}".encode())
        return bool(missing)


def drop(connection: Connection, generation: Generation) -> None:
    """Remove a generation with its tables. Not for a live one."""
    with connection.transaction():
        connection.execute(f"DROP SCHEMA IF EXISTS {generation.schema} CASCADE".encode())
        if generation.state != "retired":
            # A retired row stays: generation numbers are never given twice.
            connection.execute(
                "UPDATE projections.generations SET state = 'retired' WHERE name = %s AND generation = %s",
                (generation.name, generation.generation),
            )


def generations(connection: Connection, *states: State) -> list[Generation]:
    """The generations in these states, in the order of their names."""
    with connection.cursor(row_factory=class_row(Generation)) as cursor:
        return cursor.execute(
            f"SELECT {COLUMNS} FROM projections.generations WHERE state = ANY (%s) ORDER BY name, generation".encode(),  # noqa: S608
            (list(states),),
        ).fetchall()


def sweep_out(connection: Connection) -> None:
    """Drop what retired generations and dead verifiers left behind; what is still being read is left for later."""
    for each in generations(connection, "retired", "verifying"):
        if each.state == "retired" and not _scalar(connection, "SELECT to_regnamespace(%s) IS NOT NULL", each.schema):
            continue
        with connection.transaction():
            # A verifier holds this lock for as long as it lives.
            if _scalar(connection, "SELECT pg_try_advisory_xact_lock(%s)", verifier_lock(each)):
                drop_if_unread(connection, each)


def drop_if_unread(connection: Connection, generation: Generation) -> None:
    """Drop a generation, or leave it for later when a long query is still reading it."""
    try:
        with connection.transaction():
            connection.execute(BRIEFLY)
            drop(connection, generation)
    except psycopg.errors.LockNotAvailable:
        return  # every install, rebuild and verify looks for what was left


def verifier_lock(generation: Generation) -> int:
    """The advisory lock that says: the process that verifies with this generation is alive."""
    digest = hashlib.sha256(f"study verifier {generation.schema}".encode()).digest()
    return int.from_bytes(digest[:8], signed=True)


def put_views(connection: Connection, model: ReadModel, generation: Generation) -> None:
    """Lead the views to a generation. A view that only got further columns keeps its grants and what depends on it."""
    with connection.transaction():
        views = {f"projections.{table.name}": f"SELECT * FROM {{schema}}.{table.name}" for table in model.tables}  # noqa: S608
        views |= {f"study.{view.name}": view.select for view in model.views}
        for name, select in views.items():
            _put_view(connection, name, select.replace("{schema}", generation.schema))
        connection.execute(
            "UPDATE projections.generations SET views_shape = %s WHERE name = %s AND generation = %s",
            (model.views_shape, generation.name, generation.generation),
        )


def _put_view(connection: Connection, name: str, select: str) -> None:
    try:
        with connection.transaction():
            connection.execute(f"CREATE OR REPLACE VIEW {name} AS {select}".encode())
    except psycopg.errors.InvalidTableDefinition:
        try:
            connection.execute(f"DROP VIEW {name}".encode())
        except psycopg.errors.DependentObjectsStillExist as error:
            raise Unavailable(
                f"The view {name} has other columns in this version, and views of your own depend on it: "
                f"{error.diag.message_detail}; drop those, then open the store again"
            ) from error
        connection.execute(f"CREATE VIEW {name} AS {select}".encode())


def _scalar(connection: Connection, sql: str, *parameters: object) -> Any:
    row = connection.execute(sql.encode(), parameters).fetchone()
    return row[0] if row else None
