"""One server, two applications: people's pages under /dashboard/, everything else the API's."""

from pathlib import Path

from msgspec import Struct
from starlette.types import ASGIApp, Receive, Scope, Send

DASHBOARD = "/dashboard"


class Place(Struct, frozen=True):
    """Where the worker that has the dashboard listens for the others, and whether this process is that worker."""

    path: Path
    is_here: bool


class Dispatcher:
    """Sends whoever asks for the dashboard there."""

    def __init__(self, api: ASGIApp, dashboard: ASGIApp) -> None:
        self._api = api
        self._dashboard = dashboard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection. Only the dashboard has sockets."""
        if scope["type"] == "websocket":
            await self._dashboard(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == "/" and scope["method"] in ("GET", "HEAD"):
            await plain_answer(send, 307, b"", (b"location", f"{DASHBOARD}/".encode()))
        elif scope["type"] == "http" and f"{scope['path']}/".startswith(f"{DASHBOARD}/"):
            await self._dashboard(scope, receive, send)
        else:
            await self._api(scope, receive, send)


async def plain_answer(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    """Answer with a line of text."""
    told = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": told})
    await send({"type": "http.response.body", "body": body, "more_body": False})
