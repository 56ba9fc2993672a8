"""What is alive on a page ends when nobody looks any longer."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from starlette.requests import Request
from starlette.types import Receive, Scope, Send
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from application.check_tokens import Caller
from interfaces.as_of import NOW
from interfaces.dashboard.live import LiveParts
from interfaces.dashboard.page import Page
from tests.support.served import served

# Panel's, of what Tornado will do without.
pytestmark = pytest.mark.filterwarnings("ignore:.*arguments? to HTTPServerRequest:DeprecationWarning")


def page_that_tells(left: asyncio.Event) -> Page:
    async def nobody_new() -> None:
        return None

    page = Page(cast(Any, None), "events", {}, NOW, None, Caller("ada", "read"), nobody_new)
    page.when_left(left.set)
    return page


@pytest.fixture
async def live() -> AsyncIterator[tuple[LiveParts, int]]:
    """Parts that are forgotten soon after they were left, and the port at which their sockets are."""
    parts = LiveParts(unused_ms=300, look_for_unused_ms=100)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await parts({**scope, "key_of_page": object()}, receive, send)

    listening = socket.create_server(("127.0.0.1", 0))
    async with parts.running(), served(app, listening):
        yield parts, listening.getsockname()[1]


async def placed(parts: LiveParts, page: Page) -> str:
    """The token of a new page's socket."""
    from interfaces.dashboard.controls import Changing

    scope = {"type": "http", "method": "GET", "path": "/dashboard/", "query_string": b"", "headers": []}
    places, told = await parts.placed(Request(scope), page, [Changing().part])
    assert len(places) == 1
    return str(told["items"][0]["token"])


async def test_a_page_that_is_left_ends_what_it_began_though_not_while_somebody_looks(
    live: tuple[LiveParts, int],
) -> None:
    (parts, port), left = live, asyncio.Event()
    token = await placed(parts, page_that_tells(left))
    protocols = [Subprotocol("bokeh"), Subprotocol(token)]
    async with connect(f"ws://127.0.0.1:{port}/dashboard/live/ws", subprotocols=protocols) as client:
        assert "ACK" in str(await client.recv())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(left.wait(), 1.0)
    await asyncio.wait_for(left.wait(), 30)
    assert not parts.knows({"type": "websocket", "subprotocols": ["bokeh", token]})


async def test_a_page_that_never_connects_is_forgotten(live: tuple[LiveParts, int]) -> None:
    (parts, _), left = live, asyncio.Event()
    token = await placed(parts, page_that_tells(left))
    assert parts.knows({"type": "websocket", "subprotocols": ["bokeh", token]})
    await asyncio.wait_for(left.wait(), 30)
    assert not parts.knows({"type": "websocket", "subprotocols": ["bokeh", token]})
