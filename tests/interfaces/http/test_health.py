"""Whether the server can serve, when its store is there and when it is not."""

import asyncio
from typing import Any

import httpx
import pytest
from litestar.testing import TestClient

from infrastructure.settings import Settings
from interfaces.http import health
from interfaces.http.app import create_app


def test_a_server_with_its_store_is_ready(http: httpx.Client) -> None:
    assert http.get("/health/live").json() == {"status": "ok"}
    ready = http.get("/health/ready")
    assert ready.status_code == 200
    assert ready.json()["store"] == "ok"
    assert ready.json()["projections"]


class LostStore:
    """A study whose store is gone: it says so, or hangs."""

    def __init__(self, *, hangs: bool) -> None:
        self.hangs = hangs

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
