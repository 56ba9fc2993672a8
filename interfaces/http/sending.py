"""Bodies that are sent piece by piece: no faster than they are taken, and for no longer than somebody is there."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from litestar.types import Receive, Send


async def until_left(sending: Coroutine[Any, Any, None], receive: Receive, source: AsyncIterator[bytes]) -> None:
    """Send until it ends or the reader leaves; then close where the pieces come from. Raises what sending raises."""
    sent = asyncio.create_task(sending)
    leaving = asyncio.create_task(_left(receive))
    try:
        await asyncio.wait((sent, leaving), return_when=asyncio.FIRST_COMPLETED)
        if sent.done():
            sent.result()
    finally:
        for task in (sent, leaving):
            task.cancel()
        await asyncio.gather(sent, leaving, return_exceptions=True)
        await source.aclose()  # type: ignore[attr-defined]


async def send_within(seconds: float, send: Send, body: bytes, *, more: bool = True) -> None:
    """Send a piece. Raises TimeoutError when it isn't taken in that time."""
    async with asyncio.timeout(seconds):
        await send({"type": "http.response.body", "body": body, "more_body": more})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
