"""The log as server-sent events: whole and in order for whoever keeps up, with a reason for whoever is let go."""

import asyncio
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from application import follow_log
from application.ports import Append
from domain.groups import GroupCreated
from infrastructure.event_store.store import PostgresEventStore
from infrastructure.settings import Settings
from interfaces.http import event_feed
from interfaces.study import live
from tests.conftest import Database
from tests.interfaces.http.conftest import serving
from tests.interfaces.http.test_problems import refused
from tests.interfaces.serving.test_serving import process
from tests.support.appends import append_of


def events_in(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    """Server-sent events as a client reads them, comments and blocks without data left out."""
    found: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if not line:
            if "data" in found:
                yield found
            found = {}
        elif name:
            found[name] = value


class Reader(threading.Thread):
    """Follows the log until it has seen `last`, and connects anew after so many events, with the last one's id."""

    def __init__(self, address: str, last: int, *, leaves_after: int | None = None, **filters: Any) -> None:
        super().__init__()
        self._address, self._last, self._leaves_after, self._filters = address, last, leaves_after, filters
        self.positions: list[int] = []
        self.connected = 0
        self.start()

    def run(self) -> None:
        headers: dict[str, str] = {}
        while True:
            params = {"after": 0, **self._filters}
            self.connected += 1
            with httpx.stream(
                "GET", f"{self._address}/api/events/stream", params=params, headers=headers, timeout=30
            ) as answer:
                assert answer.status_code == 200, answer.read()
                for count, event in enumerate(events_in(answer.iter_lines()), start=1):
                    assert json.loads(event["data"])["event"] == event["event"]
                    self.positions.append(int(event["id"]))
                    if int(event["id"]) >= self._last:
                        return
                    if count == self._leaves_after:
                        break
            headers = {"last-event-id": str(self.positions[-1])}


async def write(database: Database, process_number: int, appends: int) -> int:
    """Append from a store of its own, as another process would, many at a time. Returns the last position."""
    store = PostgresEventStore(database.application_uri, process=process_number)
    created = GroupCreated(group_type="run", name="r")
    positions = await asyncio.gather(*(store.append(append_of(fact=created)) for _ in range(appends)))
    await asyncio.to_thread(store.close)
    return max(positions)


def test_every_reader_sees_all_in_order_whoever_writes_and_however_often_it_connects(
    settings: Settings, database: Database
) -> None:
    async def writers() -> list[int]:
        return await asyncio.gather(*(write(database, number, 300) for number in (1, 2, 3)))

    with serving(settings) as address:
        asyncio.run(write(database, 9, 50))
        readers = [Reader(address, 950, leaves_after=leaves) for leaves in (None, 100, 333)]
        last = max(asyncio.run(writers()))
        late = Reader(address, last, kind="group", event="group.created")
        for reader in (*readers, late):
            reader.join(timeout=60)
            assert not reader.is_alive()
    assert last == 950
    for reader in (*readers, late):
        assert reader.positions == list(range(1, 951))
    assert [reader.connected for reader in readers] == [1, 10, 3]


def test_filters_are_those_of_the_list_and_idle_readers_hear_where_they_are(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "IDLE_SECONDS", 0.1)
    with serving(settings) as address, httpx.Client(base_url=address, timeout=20) as http:
        asked = http.post("/api/calls", json={"prompt": "one", "provider": "local"}).json()
        group = http.post("/api/groups", json={"group_type": "run", "name": "r"}).json()["group_id"]
        http.post(f"/api/groups/{group}/members", json={"members": [{"call_id": asked["call_id"]}]})
        last = http.get("/api/audit/events").json()["items"][-1]["position"]
        for filters in (
            {"entity": group},
            {"entity": asked["call_id"]},
            {"event": "call.answered"},
            {"kind": "group"},
            {"since": "2026-01-01"},
            {"actor": "nobody"},
        ):
            listed = [event["position"] for event in http.get("/api/audit/events", params=filters).json()["items"]]
            with http.stream("GET", "/api/events/stream", params={"after": 0, **filters}) as answer:
                assert answer.headers["content-type"] == "text/event-stream"
                assert answer.headers["cache-control"] == "no-cache"
                lines = answer.iter_lines()
                seen = [int(event["id"]) for _, event in zip(listed, events_in(lines), strict=False)]
                assert seen == listed, filters
                while next(lines) != ": heartbeat":
                    pass
        with http.stream("GET", "/api/events/stream") as answer:  # from now on
            lines = answer.iter_lines()
            heard = [next(lines) for _ in range(4)]
            assert heard == ["retry: 1000", "", f"id: {last}", ": heartbeat"]
            http.post("/api/groups", json={"group_type": "run", "name": "s"})
            assert next(events_in(lines))["event"] == "group.created.v1"


def test_where_there_is_nothing_to_follow_is_refused(reader: httpx.Client) -> None:
    for params, headers, field in (
        ({"after": 10**9}, {}, "after"),
        ({}, {"last-event-id": "yesterday"}, "Last-Event-ID"),
        ({}, {"last-event-id": "-1"}, "Last-Event-ID"),
        ({"kind": "nothing"}, {}, "kind"),
        ({"until": "2026-01-01"}, {}, "until"),
        ({"since": "soon"}, {}, "since"),
    ):
        answer = reader.get("/api/events/stream", params=params, headers=headers)
        assert refused(answer, 400)["fields"] == [field], (params, headers)


def large(count: int) -> list[Append]:
    created = GroupCreated(group_type="run", name="r", metadata={"filling": "x" * 90_000})
    return [append_of(fact=created) for _ in range(count)]


async def append_all(database: Database, appends: list[Append]) -> None:
    store = PostgresEventStore(database.application_uri, process=1)
    await asyncio.gather(*map(store.append, appends))
    await asyncio.to_thread(store.close)


def connected(address: str) -> socket.socket:
    """A client that asks for the events and takes as little as it can."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    host, _, port = address.removeprefix("http://").partition(":")
    client.connect((host, int(port)))
    client.sendall(b"GET /api/events/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    client.settimeout(20)
    assert client.recv(15) == b"HTTP/1.1 200 OK"
    return client


def test_a_reader_who_is_too_slow_is_dropped_with_a_reason_and_others_are_not(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow_log, "MOST_WAITING", 60)
    monkeypatch.setattr(follow_log, "AT_ONCE", 20)
    with serving(settings) as address, httpx.Client(base_url=address, timeout=30) as http:
        slow = connected(address)
        quick = Reader(address, 200)
        for _ in range(10):
            asyncio.run(append_all(database, large(20)))
        quick.join(timeout=60)
        assert quick.positions == list(range(1, 201))
        received = b""
        while b"event: dropped" not in received:
            part = slow.recv(1_000_000)
            assert part, received[-300:]
            received = received[-300:] + part
        assert b"go on from the last one read" in received + slow.recv(10_000)
        slow.close()
        assert http.get("/health/live").status_code == 200


def test_a_reader_who_takes_nothing_any_more_is_given_up(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_feed, "SEND_SECONDS", 0.3)
    with serving(settings) as address, httpx.Client(base_url=address, timeout=30) as http:
        stuck = connected(address)
        for _ in range(8):
            asyncio.run(append_all(database, large(20)))
        deadline = time.monotonic() + 20
        while "study_events_readers 0.0" not in http.get("/metrics").text:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        stuck.close()


def test_a_server_that_stops_says_so_to_its_readers(database: Database, tmp_path: Path) -> None:
    with process("--home", str(tmp_path), DATABASE_URL=database.application_uri) as (server, address, _):
        with httpx.stream("GET", f"{address}/api/events/stream", timeout=30) as answer:
            lines = answer.iter_lines()
            assert next(lines) == "retry: 1000"
            began = time.monotonic()
            server.send_signal(signal.SIGTERM)
            (last,) = events_in(lines)
        assert last["event"] == "stopping"
        assert "SIGTERM" in json.loads(last["data"])["detail"]
        assert server.wait(timeout=30) == 0
        assert time.monotonic() - began < 10
