"""What every test may ask for: a real Postgres, and a fresh database in it."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from infrastructure.embedded_postgres import EmbeddedPostgres
from infrastructure.event_store.migrations import migrate


@dataclass(frozen=True)
class Database:
    """An empty, migrated database of a test's own."""

    owner_uri: str
    application_uri: str


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The URIs (owner, application) of a real server: STUDY_TEST_DATABASE_URL, or an embedded one for this run."""
    given = os.environ.get("STUDY_TEST_DATABASE_URL")
    if given:
        yield given, given
        return
    embedded = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"))
    running = embedded.start(lambda running: running)
    yield running.owner_uri, running.application_uri
    embedded.stop()
    shutil.rmtree(embedded.status().data_folder.parent)


@pytest.fixture(scope="session")
def template(server: tuple[str, str]) -> Iterator[str]:
    """A migrated database that each test's own is copied from."""
    name = f"template_{uuid4().hex}"
    owner, application = server
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
        role = conninfo_to_dict(application).get("user")
        if role:
            connection.execute(f'GRANT CREATE, CONNECT ON DATABASE "{name}" TO "{role}"'.encode())
    migrate(_on(owner, name))
    yield name
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@pytest.fixture
def database(server: tuple[str, str], template: str) -> Iterator[Database]:
    """A fresh, migrated database."""
    name = f"test_{uuid4().hex}"
    owner, application = server
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())
        role = conninfo_to_dict(application).get("user")
        if role:
            connection.execute(f'GRANT CREATE, CONNECT ON DATABASE "{name}" TO "{role}"'.encode())
    yield Database(_on(owner, name), _on(application, name))
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Tests see neither the developer's keys nor a .env file."""
    for name in list(os.environ):
        if name.startswith(("AZURE_", "OPENAI_", "HYPERBOLIC_", "STUDY_")) and not name.startswith("STUDY_TEST_"):
            monkeypatch.delenv(name)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.chdir(tmp_path)


def _on(uri: str, database: str) -> str:
    """The same server, another database; as a postgresql:// URI."""
    parts = {**conninfo_to_dict(uri), "dbname": database}
    return "postgresql:///?" + urlencode({key: str(value) for key, value in parts.items()})
