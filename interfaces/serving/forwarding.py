"""The way from one worker to the one that has the dashboard: a page's socket must reach the process that made it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import httpx
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Origin, Subprotocol

from interfaces.serving.dispatch import plain_answer

OF_ONE_CONNECTION = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"upgrade"})
TIMEOUT = httpx.Timeout(60.0, connect=5.0)
GOING_AWAY = 1001
NOT_THERE = b"The worker that serves the dashboard is being started. Load the page again in a moment."


class Forwarding:
    """Hands connections to the worker that has the dashboard, as they are: it is the one that checks who comes."""

    def __init__(self, place: Path) -> None:
        self._place = str(place)
        self._client = httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=self._place), timeout=TIMEOUT)

    async def aclose(self) -> None:
        """Close the connections that were kept."""
        await self._client.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        await (self._talk if scope["type"] == "websocket" else self._ask)(scope, receive, send)

    async def _ask(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False
        try:
            async with self._client.stream(
                scope["method"], _address("http", scope), headers=_kept(scope["headers"]), content=_body(receive)
            ) as answer:
                headers = _kept([(name.lower(), value) for name, value in answer.headers.raw])
                await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
                begun = True
                async for piece in answer.aiter_raw():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except httpx.TransportError:
            if begun:
                raise  # the client must notice that its answer broke off
            await plain_answer(send, 503, NOT_THERE, (b"retry-after", b"1"))

    async def _talk(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        await receive()
        try:
            async with unix_connect(
                self._place,
                _address("ws", scope),
                origin=Origin(headers.get(b"origin", "")) or None,
                subprotocols=[Subprotocol(each) for each in scope["subprotocols"]],
                additional_headers={
                    name.decode(): headers[name] for name in (b"cookie", b"authorization") if name in headers
                },
                compression=None,
                max_size=None,
                proxy=None,
            ) as upstream:
                await send({"type": "websocket.accept", "subprotocol": upstream.subprotocol})
                ways = {asyncio.create_task(_up(receive, upstream)), asyncio.create_task(_down(upstream, send))}
                try:
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()
                    await asyncio.gather(*ways, return_exceptions=True)
        except (OSError, WebSocketException):
            pass  # the browser is told below, and connects again
        with suppress(RuntimeError):  # it is closed already
            await send({"type": "websocket.close", "code": GOING_AWAY})


async def _up(receive: Receive, upstream: ClientConnection) -> None:
    while (message := await receive())["type"] == "websocket.receive":
        text = message.get("text")
        await upstream.send(message["bytes"] if text is None else text)


async def _down(upstream: ClientConnection, send: Send) -> None:
    with suppress(ConnectionClosed):
        while True:
            said = await upstream.recv()
            await send({"type": "websocket.send", "text" if isinstance(said, str) else "bytes": said})


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        yield message.get("body", b"")
        more = message.get("more_body", False)


def _kept(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in headers if name not in OF_ONE_CONNECTION]


def _address(scheme: str, scope: Scope) -> str:
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "localhost")
    query = scope["query_string"].decode("latin-1")
    path = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
    return f"{scheme}://{host}{path}" + (f"?{query}" if query else "")
