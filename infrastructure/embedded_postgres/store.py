"""What the server serves: its data folder, its settings, its two roles and its database."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString
from urllib.parse import quote

import psycopg

from domain.errors import Unavailable
from infrastructure.embedded_postgres.account import Account, make_private, put_file
from infrastructure.embedded_postgres.binaries import MAJOR_VERSION
from infrastructure.embedded_postgres.processes import run

DATABASE = "study"
OWNER = "study_owner"
APPLICATION = "study_app"
PORT = 5432  # it only names the socket; it is in each URI, or the user's PGPORT would lead elsewhere
SETTINGS = {
    "port": str(PORT),
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "on",
    "log_min_messages": "warning",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",  # a question takes milliseconds; more processes cost more than that
}


@dataclass(frozen=True)
class Running:
    """How to reach the running server, as its owner and as the application."""

    owner_uri: str
    application_uri: str


def addresses(sockets: Path) -> Running:
    """The URIs of the server whose unix socket lies in this folder."""
    where = f"{DATABASE}?host={quote(str(sockets), safe='')}&port={PORT}"
    return Running(f"postgresql://{OWNER}@/{where}", f"postgresql://{APPLICATION}@/{where}")


def make_data(data: Path, account: Account) -> None:
    """Make the data folder unless it is there. Raises Unavailable if another major version made it."""
    version_file = data / "PG_VERSION"
    if version_file.exists():
        found = version_file.read_text().strip()
        if found != MAJOR_VERSION:
            raise Unavailable(
                f"{data} was made by Postgres {found}, and this version brings {MAJOR_VERSION}; "
                "back it up with the version that made it and restore it here"
            )
        return
    making = data.with_name("data.new")
    shutil.rmtree(making, ignore_errors=True)
    make_private(making, account)
    said = run(
        "initdb",
        *("-D", str(making), "-U", OWNER, "--auth-local=trust", "--auth-host=reject", "--encoding=UTF8"),
        *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--data-checksums"),
        account=account,
    )
    if said is not None:
        raise Unavailable(f"The embedded Postgres could not be set up in {making}: {said}")
    making.rename(data)
    _make_durable(data.parent)


def configure(data: Path, sockets: Path, account: Account) -> None:
    """Write the settings that hold from the next start on; durability stays at Postgres's defaults, all on."""
    settings = {**SETTINGS, "unix_socket_directories": str(sockets).replace("'", "''")}
    lines = "".join(f"{name} = '{value}'\n" for name, value in settings.items())
    put_file(data / "postgresql.auto.conf", lines, account)


def provision(running: Running, folder: Path) -> None:
    """Make roles, database and extension where they are missing; a file in the server's folder says that it's done."""
    done = folder / "provisioned"
    if done.exists():
        return
    maintenance = running.owner_uri.replace(f"/{DATABASE}?", "/postgres?")
    try:
        with psycopg.connect(maintenance, autocommit=True) as connection:
            if not _finds(connection, "SELECT FROM pg_roles WHERE rolname = %s", APPLICATION):
                connection.execute(f"CREATE ROLE {APPLICATION} LOGIN NOSUPERUSER".encode())
            if not _finds(connection, "SELECT FROM pg_database WHERE datname = %s", DATABASE):
                connection.execute(f"CREATE DATABASE {DATABASE}".encode())
            connection.execute(f"GRANT CREATE, CONNECT ON DATABASE {DATABASE} TO {APPLICATION}".encode())
        with psycopg.connect(running.owner_uri, autocommit=True) as connection:
            if _finds(connection, "SELECT FROM pg_available_extensions WHERE name = %s", "vector"):
                connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    except psycopg.Error as error:
        raise Unavailable(f"The embedded Postgres could not be set up: {error}") from error
    done.touch()


def _finds(connection: psycopg.Connection[tuple[object, ...]], query: LiteralString, name: str) -> bool:
    return connection.execute(query, (name,)).fetchone() is not None  # a row without columns is falsy


def _make_durable(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
