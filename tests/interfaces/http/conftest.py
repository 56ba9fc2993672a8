"""A server on a real socket, on a real database."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode
from uuid import uuid4

import httpx
import psycopg
import pytest
import uvicorn
from psycopg.conninfo import conninfo_to_dict

from infrastructure.event_store.roles import database_grant
from infrastructure.settings import Settings, read_settings
from interfaces.http.app import create_app
from tests.conftest import Database, role_of


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Settings:
    return read_settings(database_url=database.application_uri, study_home=tmp_path / "home", study_chat_attempts=1)


@pytest.fixture
def http(settings: Settings) -> Iterator[httpx.Client]:
    with serving(settings) as address, httpx.Client(base_url=address, timeout=20) as client:
        yield client


@pytest.fixture(scope="module")
def reader(server: tuple[str, str], template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A server that a file's tests share, since they leave nothing behind that would disturb another."""
    name = f"shared_{uuid4().hex}"
    application = "postgresql:///?" + urlencode({**conninfo_to_dict(server[1]), "dbname": name})
    with psycopg.connect(server[0], autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())
        connection.execute(database_grant(role_of(server[1]), name).encode())
    settings = read_settings(database_url=application, study_home=tmp_path_factory.mktemp("home"))
    with serving(settings) as address, httpx.Client(base_url=address, timeout=20) as client:
        yield client
    with psycopg.connect(server[0], autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@contextmanager
def serving(settings: Settings, *, loopback: bool = True) -> Iterator[str]:
    """Serve the application from a thread of its own for as long as the block runs."""
    listener = socket.create_server(("127.0.0.1", 0))
    app = create_app(settings, loopback=loopback)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            assert time.monotonic() < deadline, "the server took too long to start"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        listener.close()
