"""Files that are made while they are sent: what is sent waits for the reader, and what breaks off says so.

There is no telling how such a file ends when its status is sent. One that can't be made to its end breaks the
connection off before the last chunk, which every HTTP client takes for an error; nobody takes it for whole.
"""

from collections.abc import AsyncIterator
from typing import Any

import structlog
from litestar import Response
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from application.export_rows import Export, Format
from domain.errors import StudyError
from interfaces.http.sending import send_within, until_left

SEND_SECONDS = 60.0
MEDIA_TYPES: dict[Format, str] = {
    "parquet": "application/vnd.apache.parquet",
    "jsonl": "application/jsonl",
    "csv": "text/csv; charset=utf-8; header=present",
    "npy": "application/octet-stream",
}

log = structlog.get_logger(__name__)


class BrokenOff(Exception):
    """A file could not be made to its end, and its reader must see that."""


async def download(export: Export[Any]) -> "Download":
    """The response, once there is something to send. Raises what is wrong before that."""
    chunks = export.chunks()
    try:
        first = await anext(chunks)
    except BaseException:
        await chunks.aclose()  # type: ignore[attr-defined]
        raise
    return Download(export, first, chunks)


class Download(Response[Any]):
    """A file that goes on being made for as long as somebody takes it."""

    def __init__(self, export: Export[Any], first: bytes, chunks: AsyncIterator[bytes]) -> None:
        headers = {
            "Content-Disposition": f'attachment; filename="{export.filename}"',
            "Cache-Control": "private, no-store",
            "X-Content-Type-Options": "nosniff",
            "x-sq-position": str(export.position),
        }
        super().__init__(None, media_type=MEDIA_TYPES[export.format], headers=headers)
        self._sent = headers
        self._export = export
        self._first = first
        self._chunks = chunks

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIResponse:
        """As the framework sends it."""
        head = {**self._sent, "Content-Type": MEDIA_TYPES[self._export.format]}
        return _ASGIDownload(self._export, self._first, self._chunks, head)


class _ASGIDownload(ASGIResponse):
    __slots__ = ("_chunks", "_export", "_first", "_head", "_only_head")

    def __init__(self, export: Export[Any], first: bytes, chunks: AsyncIterator[bytes], head: dict[str, str]) -> None:
        super().__init__()
        self._export = export
        self._first = first
        self._chunks = chunks
        self._head = head

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the file ends or the reader leaves. Raises BrokenOff."""
        self._only_head = scope.get("state", {}).get("asked_method") == "HEAD"
        await until_left(self._send(send), receive, self._chunks)

    async def _send(self, send: Send) -> None:
        headers = [(name.lower().encode(), value.encode()) for name, value in self._head.items()]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        try:
            await send_within(SEND_SECONDS, send, self._first)
            if not self._only_head:
                async for chunk in self._chunks:
                    await send_within(SEND_SECONDS, send, chunk)
            await send_within(SEND_SECONDS, send, b"", more=False)
        except TimeoutError:
            raise BrokenOff(f"Nobody took anything of it for {SEND_SECONDS:.0f} s") from None
        except StudyError as error:
            raise BrokenOff(f"{self._export.what} could not be exported to the end: {error}") from error
