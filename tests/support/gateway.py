"""The gateway on a real socket in front of the server that misbehaves, and the events of what went through it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from infrastructure.settings import read_settings
from tests.conftest import fresh_database
from tests.interfaces.http.conftest import serving
from tests.support.misbehaving_server import MisbehavingServer

KEY = "sk-the-servers-own-key-0123456789"


@dataclass(frozen=True)
class GatewayUnderTest:
    """Where a client can go: straight to the provider, or through the gateway."""

    provider: MisbehavingServer
    address: str
    http: httpx.Client  # of the gateway's own address

    @property
    def url(self) -> str:
        """The base URL that a client is given."""
        return f"{self.address}/v1"

    def facts_of(self, call_id: str) -> list[str]:
        """The stored names of a call's events, as they stand in the log at this moment."""
        return [event["event"] for event in self.http.get(f"/api/calls/{call_id}/events").json()["items"]]

    def newest_call(self, *, status: str, after: str = "") -> dict[str, Any]:
        """The newest call, once it has this status; `after` is an older one's id."""
        deadline = time.monotonic() + 20
        while True:
            items = self.http.get("/api/calls", params={"limit": 1}).json()["items"]
            if items and items[0]["call_id"] != after and items[0]["status"] == status:
                found: dict[str, Any] = self.http.get(f"/api/calls/{items[0]['call_id']}").json()
                return found
            assert time.monotonic() < deadline, items
            time.sleep(0.02)

    def call(self, response: httpx.Response) -> dict[str, Any]:
        """The call that a reply came from, in the read model."""
        position = response.headers.get("x-sq-position")
        at_least = {} if position is None else {"at_least": position}
        found: dict[str, Any] = self.http.get(f"/api/calls/{response.headers['x-sq-call-id']}", params=at_least).json()
        return found

    def bytes_of(self, call_id: str, part: str) -> bytes:
        """A body as it is recorded."""
        return self.http.get(f"/api/calls/{call_id}/bytes/{part}").content


def until(holds: Callable[[], bool]) -> None:
    """Wait for what is about to be so."""
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "it did not come about in 20 s"
        time.sleep(0.01)


@contextmanager
def gateway(server: tuple[str, str], template: str, home: Path, **settings: Any) -> Iterator[GatewayUnderTest]:
    """A gateway on a database of its own for as long as the block runs."""
    with MisbehavingServer() as provider, fresh_database(server, template) as database:
        found = read_settings(
            database_url=database.application_uri,
            study_home=home,
            openai_base_url=provider.url,
            openai_api_key=KEY,
            **settings,
        )
        with serving(found) as address, httpx.Client(base_url=address, timeout=20) as http:
            yield GatewayUnderTest(provider, address, http)
