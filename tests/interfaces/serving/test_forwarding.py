"""One worker hands a page's requests and its socket to the worker that has the dashboard."""

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

from interfaces.serving.dispatch import Dispatcher, plain_answer
from interfaces.serving.forwarding import Forwarding
from tests.support.served import served


async def echoing(scope: Scope, receive: Receive, send: Send) -> None:
    """Says what it was asked; as a socket, says each message again, and refuses another site's page."""
    headers = dict(scope["headers"])
    if scope["type"] == "http":
        body = (await receive())["body"]
        asked = b"|".join(
            (scope["method"].encode(), scope["path"].encode(), scope["query_string"], headers[b"host"], body)
        )
        await plain_answer(send, 418, asked, (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"))
        return
    await receive()
    if headers[b"origin"] != b"http://here":
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept", "subprotocol": scope["subprotocols"][0]})
    while (message := await receive())["type"] == "websocket.receive":
        said = {name: message[name] for name in ("text", "bytes") if message.get(name) is not None}
        await send({"type": "websocket.send", **said})


@pytest.fixture
async def address(tmp_path: Path) -> AsyncIterator[str]:
    """A worker that has no dashboard, and beside it one that has."""
    path = tmp_path / "dashboard"
    behind = socket.socket(socket.AF_UNIX)
    behind.bind(str(path))
    front = socket.create_server(("127.0.0.1", 0))
    forwarding = Forwarding(path)
    async with served(echoing, behind), served(Dispatcher(echoing, forwarding), front):
        yield f"127.0.0.1:{front.getsockname()[1]}"
    await forwarding.aclose()


async def test_a_request_arrives_as_it_was_sent_and_so_does_its_answer(address: str) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"http://{address}/dashboard/login?a=%2F&b", content=b"token=x")
    assert answer.status_code == 418
    assert answer.content == f"POST|/dashboard/login|a=%2F&b|{address}|token=x".encode()
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]


async def test_a_socket_carries_texts_and_bytes_both_ways_until_one_side_leaves(address: str) -> None:
    protocols = [Subprotocol("bokeh"), Subprotocol("token")]
    async with connect(
        f"ws://{address}/dashboard/live/ws", origin=Origin("http://here"), subprotocols=protocols, max_size=None
    ) as client:
        assert client.subprotocol == "bokeh"
        for said in ("text", b"bytes", "x" * 2_000_000):
            await client.send(said)
            assert await client.recv() == said


async def test_what_the_other_worker_refuses_is_refused(address: str) -> None:
    with pytest.raises(InvalidStatus):
        await connect(f"ws://{address}/dashboard/live/ws", origin=Origin("http://evil"))


async def test_a_worker_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    forwarding = Forwarding(tmp_path / "nobody")
    front = socket.create_server(("127.0.0.1", 0))
    async with served(Dispatcher(echoing, forwarding), front), httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{front.getsockname()[1]}/dashboard/")
    await forwarding.aclose()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "being started" in answer.text
