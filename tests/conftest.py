"""What every test may ask for: a real Postgres, and a fresh database in it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote, urlencode
from uuid import uuid4

import hypothesis
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

import study_query_llm
from infrastructure.embedded_postgres import EmbeddedPostgres
from infrastructure.event_store.migrations import migrate
from infrastructure.event_store.roles import application_grants, database_grant

# What takes longest is begun first, so that no worker is left alone with it at the end.
LONGEST_FIRST = (
    "tests/projections/test_time_travel.py",
    "tests/end_to_end",
    "tests/interfaces/dashboard",
    "tests/study_query_llm",
    "tests/projections/test_rebuild.py",
    "tests/interfaces/serving",
    "tests/interfaces/http",
    "tests/interfaces/cli",
    "tests/test_documentation.py",
)

# Two halves of the work, for two processors.
KERNELS = ("lloyd", "counting, distances, eigenvectors, nearest_subspaces, seeding")

SERVER_BYTES = 2 * 1024**3  # more than a test server's data ever take

# How long an example takes says more of the machine's other work than of our code.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compiles the kernels before the tests' processes begin, each of which would else do so for itself."""
    if session.config.getoption("numprocesses", None):
        root = Path(__file__).parents[1]
        compiling = [
            subprocess.Popen([sys.executable, "-c", f"from domain.clustering import {names}"], cwd=root)
            for names in KERNELS
        ]
        for each in compiling:
            each.wait()  # what can't be imported is told by its tests


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the files in the order in which they are begun."""
    items.sort(key=lambda item: next((n for n, at in enumerate(LONGEST_FIRST) if item.nodeid.startswith(at)), 99))


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
        role = f"study_test_{uuid4().hex}"
        with psycopg.connect(given, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'".encode())
            yield given, uri_on(given, user=role, password=role)
            connection.execute(f"DROP ROLE {role}".encode())
        return
    with folder_in_memory() as folder:
        embedded = EmbeddedPostgres(folder or tmp_path_factory.mktemp("postgres"))
        running = embedded.start(lambda running: running)
        # What a test left is of no use to anybody after a power cut; crashes of Postgres alone lose nothing so either.
        with psycopg.connect(running.owner_uri, autocommit=True) as connection:
            for setting in ("fsync = off", "full_page_writes = off", "max_wal_size = '256MB'"):
                connection.execute(f"ALTER SYSTEM SET {setting}".encode())
            connection.execute("SELECT pg_reload_conf()")
        yield running.owner_uri, running.application_uri
        embedded.stop()
        shutil.rmtree(embedded.status().data_folder.parent)


@contextmanager
def folder_in_memory() -> Iterator[Path | None]:
    """A folder that lies in memory, if there is room: each test's database is 300 files, made and deleted again."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or shutil.disk_usage(memory).free < SERVER_BYTES:
        yield None
        return
    with TemporaryDirectory(prefix="study-test-", dir=memory) as name:
        folder = Path(name)
        folder.chmod(0o711)  # for the account that root lends to Postgres
        yield folder


@pytest.fixture(scope="session")
def template(server: tuple[str, str]) -> Iterator[str]:
    """A migrated database that each test's own is copied from."""
    name = f"template_{uuid4().hex}"
    owner, application = server
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    migrate(uri_on(owner, dbname=name))
    with psycopg.connect(uri_on(owner, dbname=name), autocommit=True) as connection:
        for statement in application_grants(connection, role_of(application)):
            connection.execute(statement.encode())
    yield name
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@pytest.fixture(scope="session")
def opened_template(server: tuple[str, str], template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The same as its first opening left it, with empty read models: for tests of what comes after."""
    with fresh_database(server, template) as database:
        with study_query_llm.open(database_url=database.application_uri, home=tmp_path_factory.mktemp("home")):
            pass
        yield str(conninfo_to_dict(database.owner_uri)["dbname"])


@pytest.fixture
def database(server: tuple[str, str], template: str) -> Iterator[Database]:
    """A fresh, migrated database, on which the application's role has the rights that `study db grant` prints."""
    with fresh_database(server, template) as database:
        yield database


@contextmanager
def fresh_database(server: tuple[str, str], template: str) -> Iterator[Database]:
    """A copy of the template, for as long as the block runs."""
    name = f"test_{uuid4().hex}"
    owner, application = server
    with psycopg.connect(owner, autocommit=True) as connection:
        # Copying files is cheaper than logging every page of them; before Postgres 15 there is no other way.
        strategy = "STRATEGY FILE_COPY" if connection.info.server_version >= 150_000 else ""
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" {strategy}'.encode())
        connection.execute(database_grant(role_of(application), name).encode())
    yield Database(uri_on(owner, dbname=name), uri_on(application, dbname=name))
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


def role_of(uri: str) -> str:
    """The role that an address names."""
    return str(conninfo_to_dict(uri)["user"])


def uri_on(uri: str, **others: str) -> str:
    """The same server, but for another database or role; as a postgresql:// URI."""
    parts = {**conninfo_to_dict(uri), **others}
    return "postgresql:///?" + urlencode({key: str(value) for key, value in parts.items()}, quote_via=quote)
