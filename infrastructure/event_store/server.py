"""Whether a server can hold the store: said in words, before anything is made in it."""

from typing import Any

from psycopg import Connection

from domain.errors import Unavailable

OLDEST = 14


def check_server(connection: Connection[Any], uri: str) -> None:
    """Raise Unavailable for a server that is too old, another encoding than UTF8, and a pooler that lends sessions.

    uri: where the connection leads
    """
    # Asked for, since a pooler need not tell them of itself.
    row = connection.execute(
        "SELECT current_setting('server_version_num')::int, current_setting('server_version'), "
        "current_setting('server_encoding')"
    ).fetchone()
    number, version, encoding = row or (0, "unknown", "unknown")
    if number < OLDEST * 10_000:
        raise Unavailable(
            f"The server is Postgres {version}, and the store needs {OLDEST} or later; upgrade it, or set DATABASE_URL "
            "to another"
        )
    if encoding != "UTF8":
        raise Unavailable(
            f"The database {connection.info.dbname} is encoded in {encoding}, and the store needs UTF8; create one, "
            "with CREATE DATABASE study ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0, and set DATABASE_URL to it"
        )
    if _is_lent(connection, uri):
        raise Unavailable(
            "DATABASE_URL leads through a pooler that lends server connections by the transaction, and a process shows "
            "that it lives by a lock of its session; set the pooler's pool_mode to session, or go around it"
        )


def _is_lent(connection: Connection[Any], uri: str) -> bool:
    """Whether a pooler gives our session to somebody else while we are between two transactions.

    A pooler makes up the process id that it tells when it accepts a connection; only then is there anything to try.
    """
    ours = _process_id(connection)
    if ours == connection.info.backend_pid:
        return False
    with Connection.connect(uri) as other:
        return _process_id(other) == ours


def _process_id(connection: Connection[Any]) -> int:
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    return int(row[0]) if row else 0
