"""The numbered steps that bring schema `events` to its present form."""

import re
from importlib.resources import files

from psycopg import Connection
from psycopg.rows import tuple_row

from domain.errors import Unavailable


def migrate(uri: str) -> None:
    """Bring the log's schema up to date; several openers at once wait for the first. Never changes an event.

    Raises Unavailable when the store was written by a newer version.
    """
    steps = _steps()
    latest = steps[-1][0]
    with Connection.connect(uri, autocommit=True, row_factory=tuple_row) as connection:
        if _version(connection) == latest:
            return
        connection.execute("SELECT pg_advisory_lock(7453, 2)")
        version = _version(connection)
        if version > latest:
            raise Unavailable(
                f"The store is at schema version {version}, and this version of study-query-llm knows {latest}; "
                "install the version that wrote it, or a later one"
            )
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


def _version(connection: Connection[tuple[object, ...]]) -> int:
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
