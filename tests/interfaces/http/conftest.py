"""A server on a real socket, on a real database."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn

from infrastructure.settings import Settings, read_settings
from interfaces.http.app import create_app
from tests.conftest import Database, fresh_database


@pytest.fixture
def database(server: tuple[str, str], opened_template: str) -> Iterator[Database]:
    """A database of a test's own that has been opened before."""
    with fresh_database(server, opened_template) as database:
        yield database


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Settings:
    return read_settings(database_url=database.application_uri, study_home=tmp_path / "home", study_chat_attempts=1)


@pytest.fixture
def http(settings: Settings) -> Iterator[httpx.Client]:
    with serving(settings) as address, httpx.Client(base_url=address, timeout=20) as client:
        yield client


@pytest.fixture(scope="module")
def reader(
    server: tuple[str, str], opened_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """A server that a file's tests share, since they leave nothing behind that would disturb another."""
    with fresh_database(server, opened_template) as database:
        settings = read_settings(database_url=database.application_uri, study_home=tmp_path_factory.mktemp("home"))
        with serving(settings) as address, httpx.Client(base_url=address, timeout=20) as client:
            yield client


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
        thread.join(timeout=60)
        listener.close()
        assert not thread.is_alive(), "the server did not stop"
