"""Server-sent events that never end by themselves: sent as they come, and given up when nobody takes them.

What is written while it comes must not pile up for a reader who doesn't read: the connection takes a little, then
sending waits, and a wait that is too long ends the response.
"""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import structlog
from litestar import Response
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from interfaces.http.call_stream import HEADERS, MEDIA_TYPE
from interfaces.http.sending import send_within, until_left

SEND_SECONDS = 30.0
RECONNECT_MS = 1000
BEGINNING = f"retry: {RECONNECT_MS}\n\n".encode()

log = structlog.get_logger(__name__)


def frame(name: str, data: bytes, *, event_id: int | None = None) -> bytes:
    """One event; data is one line of JSON."""
    number = b"" if event_id is None else b"id: %d\n" % event_id
    return number + b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"


def heartbeat(event_id: int) -> bytes:
    """A sign of life that no program sees, but for where to resume: an event without data only sets the id."""
    return b"id: %d\n: heartbeat\n\n" % event_id


def farewell(name: str, content: Any) -> bytes:
    """The last event: why nothing more comes."""
    return frame(name, msgspec.json.encode(content))


class EventFeed(Response[Any]):
    """A response of frames for as long as there are some and somebody takes them."""

    def __init__(self, frames: AsyncIterator[bytes]) -> None:
        super().__init__(None, media_type=MEDIA_TYPE, headers=HEADERS)
        self._frames = frames

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIResponse:
        """As the framework sends it."""
        return _ASGIFeed(self._frames)


class _ASGIFeed(ASGIResponse):
    __slots__ = ("_frames",)

    def __init__(self, frames: AsyncIterator[bytes]) -> None:
        super().__init__(media_type=MEDIA_TYPE, headers=HEADERS)
        self._frames = frames

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the frames end, the reader leaves, or takes nothing any more."""
        await until_left(self._send(send), receive, self._frames)

    async def _send(self, send: Send) -> None:
        head = [(b"content-type", MEDIA_TYPE.encode())]
        head += [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        try:
            await send_within(SEND_SECONDS, send, BEGINNING)
            async for each in self._frames:
                await send_within(SEND_SECONDS, send, each)
            await send_within(SEND_SECONDS, send, b"", more=False)
        except TimeoutError:
            log.warning("a reader of events took nothing any more, and was given up", after_seconds=SEND_SECONDS)
