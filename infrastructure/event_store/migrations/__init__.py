"""The numbered steps that bring schema `events` to its present form."""

import re
from contextlib import suppress
from importlib.resources import files

import psycopg
from psycopg import Connection
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Identifier

from application.store_trouble import unavailable
from domain.errors import Unavailable
from infrastructure.event_store.roles import Row, grant_again
from infrastructure.event_store.server import check_server

LOCK_TIMEOUT_SECONDS = 60  # a step on a large log takes its time


def migrate(uri: str) -> None:
    """Bring the log's schema up to date; several openers at once wait for the first. Never changes an event.

    The application's role finds it up to date. Raises Unavailable when the store was written by a newer version, when
    it is behind and the role is not its owner, and when the server is none that can hold it.
    """
    try:
        with Connection.connect(uri, autocommit=True, row_factory=tuple_row, client_encoding="UTF8") as connection:
            check_server(connection, uri)
            _migrate(connection)
    except psycopg.Error as error:
        raise unavailable("The store can't be opened", error) from None


def _migrate(connection: Connection[Row]) -> None:
    steps = _steps()
    latest = steps[-1][0]
    if _version(connection) == latest:
        return
    connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'")
    connection.execute("SELECT pg_advisory_lock(7453, 2)")
    version = _version(connection)
    if version > latest:
        raise Unavailable(
            f"The store is at schema version {version}, and this version of study-query-llm knows {latest}; "
            "install the version that wrote it, or a later one"
        )
    _become_owner(connection, version, latest)
    for number, sql in steps:
        if number > version:
            with connection.transaction():
                connection.execute(sql.encode())
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS events.schema_version (version int PRIMARY KEY, "
                    "applied_at timestamptz NOT NULL DEFAULT now())"
                )
                connection.execute("INSERT INTO events.schema_version (version) VALUES (%s)", (number,))
                connection.execute("GRANT SELECT ON events.schema_version TO PUBLIC")
                grant_again(connection)
    _add_pgvector(connection)


def _add_pgvector(connection: Connection[Row]) -> None:
    """Vectors are searched faster with pgvector; a server that has it lets a database's owner add it, or refuses."""
    with suppress(psycopg.Error), connection.transaction():
        if connection.execute("SELECT FROM pg_available_extensions WHERE name = 'vector'").fetchone() is not None:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")


def _become_owner(connection: Connection[Row], version: int, latest: int) -> None:
    """What a step makes belongs to the store's owner, whoever runs it. Raises Unavailable for who may not."""
    row = connection.execute(
        "SELECT pg_get_userbyid(nspowner), pg_has_role(current_user, nspowner, 'MEMBER') "
        "FROM pg_namespace WHERE nspname = 'events'"
    ).fetchone()
    if row is None:
        return
    owner, may = row
    if not may:
        raise Unavailable(
            f"The store is at schema version {version}, and this version of study-query-llm needs {latest}; its owner "
            f"{owner} brings it up to date: study db migrate --database-url postgresql://{owner}@…"
        )
    connection.execute(SQL("SET ROLE {}").format(Identifier(owner)))


def _version(connection: Connection[Row]) -> int:
    found = connection.execute("SELECT to_regclass('events.schema_version') IS NOT NULL").fetchone()
    if not (found and found[0]):
        return 0
    row = connection.execute("SELECT coalesce(max(version), 0) FROM events.schema_version").fetchone()
    return int(str(row[0])) if row else 0


def _steps() -> list[tuple[int, str]]:
    steps = [
        (int(entry.name[:4]), entry.read_text(encoding="utf-8"))
        for entry in files(__name__).iterdir()
        if re.fullmatch(r"\d{4}_\w+\.sql", entry.name)
    ]
    return sorted(steps)
