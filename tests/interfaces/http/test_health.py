"""Whether the server can serve, when its store is there and when it is not."""

import asyncio
from typing import Any

import httpx
import psycopg
import pytest
from litestar.testing import TestClient
from psycopg.conninfo import conninfo_to_dict

from infrastructure.settings import Settings
from interfaces.http import health
from interfaces.http.app import create_app
from tests.conftest import Database
from tests.interfaces.http.conftest import serving


def test_a_server_with_its_store_is_ready(http: httpx.Client) -> None:
    assert http.get("/health/live").json() == {"status": "ok"}
    ready = http.get("/health/ready")
    assert ready.status_code == 200
    assert ready.json()["store"] == "ok"
    assert ready.json()["projections"]


class LostStore:
    """A study whose store is gone: it says so, or hangs."""

    actor = "ada"

    def __init__(self, *, hangs: bool) -> None:
        self.hangs = hangs
        self.house = self

    async def health(self) -> dict[str, Any]:
        if self.hangs:
            await asyncio.Event().wait()
        return {"store": "The server was lost", "position": None, "projections": []}


@pytest.mark.parametrize("hangs", [False, True])
def test_a_server_that_lost_its_store_lives_but_is_not_ready(
    hangs: bool, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "READY_WITHIN_SECONDS", 0.1)
    app = create_app(settings, LostStore(hangs=hangs))  # type: ignore[arg-type]
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert client.get("/health/live").status_code == 200
        ready = client.get("/health/ready")
        assert ready.status_code == 503
        assert int(ready.headers["retry-after"]) > 0
        assert ready.headers["content-type"] == "application/problem+json"


def test_a_server_whose_database_is_cut_off_says_so_in_time(settings: Settings, database: Database) -> None:
    name = str(conninfo_to_dict(database.owner_uri)["dbname"])
    with (
        serving(settings) as address,
        httpx.Client(base_url=address, timeout=15) as http,
        psycopg.connect(database.owner_uri.replace(name, "postgres"), autocommit=True) as admin,
    ):
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'.encode())
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        try:
            assert http.get("/health/live").status_code == 200
            for path in ("/health/ready", "/api/calls", "/api/projections"):
                assert http.get(path).status_code == 503, path
            assert http.post("/api/calls", json={"prompt": "hello", "provider": "local"}).status_code == 503
        finally:
            admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'.encode())


def test_a_store_that_takes_no_writes_is_read_and_refuses_calls(settings: Settings, database: Database) -> None:
    with serving(settings) as address, httpx.Client(base_url=address, timeout=15) as http:
        with psycopg.connect(database.owner_uri, autocommit=True) as owner:
            name = owner.info.dbname
            owner.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'.encode())
            owner.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = %s AND pid <> pg_backend_pid()",
                (name,),
            )
        assert http.get("/api/calls").json()["items"] == []
        refused = http.post("/api/calls", json={"prompt": "hello", "provider": "local"})
        assert refused.status_code == 503
        assert "takes no writes" in refused.json()["detail"]
