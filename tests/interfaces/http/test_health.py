"""Whether the server can serve, when its store is there and when it is not."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from litestar.testing import AsyncTestClient, TestClient
from psycopg.conninfo import conninfo_to_dict

from domain.groups import GroupCreated
from infrastructure.settings import Settings, read_settings
from interfaces.composition import open_study
from interfaces.http import health
from interfaces.http.app import create_app
from tests.conftest import Database
from tests.interfaces.http.conftest import serving


def test_a_server_with_its_store_is_ready(http: httpx.Client) -> None:
    assert http.get("/health/live").json() == {"status": "ok"}
    ready = http.get("/health/ready")
    assert ready.status_code == 200
    parts = ready.json()["parts"]
    assert [(name, part["ok"]) for name, part in parts.items()] == [
        ("store", True),
        ("follower", True),
        ("journal", True),
        ("serving", True),
    ]
    assert parts["follower"]["lag_events"] == parts["journal"]["waiting_bytes"] == 0
    assert {model["name"] for model in parts["follower"]["read_models"]} > {"raw_calls", "tokens"}


class LostStore:
    """A study whose store is gone: it says so, or hangs."""

    actor = "ada"
    metrics = None

    def __init__(self, *, hangs: bool) -> None:
        self.hangs = hangs
        self.house = self

    async def health(self) -> dict[str, Any]:
        if self.hangs:
            await asyncio.Event().wait()
        return {"store": {"ok": False, "detail": "The server was lost"}, "journal": {"ok": True, "waiting_bytes": 7}}


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
        problem = ready.json()
        assert (problem["parts"]["store"]["ok"], problem["detail"]) == (
            False,
            f"Not ready: store. {problem['parts']['store']['detail']}",
        )


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


def test_a_server_that_is_about_to_stop_or_far_behind_is_not_ready(database: Database, tmp_path: Path) -> None:
    settings = read_settings(database_url=database.application_uri, study_home=tmp_path, study_ready_lag_s=0.05)

    async def states() -> list[tuple[int, list[str]]]:
        found = []
        async with open_study(settings, serving=True) as study:
            app = create_app(settings, study)
            async with AsyncTestClient(app, base_url="http://127.0.0.1") as client:

                async def look() -> None:
                    ready = await client.get("/health/ready")
                    parts = ready.json()["parts"]
                    found.append((ready.status_code, [name for name, part in parts.items() if not part["ok"]]))

                await look()
                with psycopg.connect(database.application_uri) as leaseholder:
                    leaseholder.execute("SELECT FROM projections.generations FOR UPDATE")
                    await study.notebook.write(
                        study.notebook.entry(study.context(), uuid4(), 1, GroupCreated(group_type="run", name="s"))
                    )
                    await asyncio.sleep(0.2)
                    await look()
                await study.moments.all_shown()
                study.stopping.reason = "SIGTERM stopped the process"
                await look()
        return found

    assert asyncio.run(states()) == [(200, []), (503, ["follower"]), (503, ["serving"])]


def test_whoever_has_no_token_is_told_only_whether_it_is_ready(settings: Settings) -> None:
    with serving(settings, loopback=False) as address, httpx.Client(base_url=address, timeout=15) as http:
        ready = http.get("/health/ready")
        assert ready.status_code == 200
        assert ready.json()["parts"] == {
            "store": {"ok": True},
            "follower": {"ok": True, "lag_events": 0, "lag_seconds": 0.0},
            "journal": {"ok": True},
            "serving": {"ok": True},
        }
