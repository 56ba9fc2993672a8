"""The gate in front of every route: who may come in, under which request id, and what the log says of it."""

import re
import time
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec
import structlog
from litestar.datastructures import MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from interfaces.http.problems import MEDIA_TYPE, problem

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
USABLE_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,200}")

log = structlog.get_logger("interfaces.http.access")


class Gate:
    """Lets requests in that were sent to this machine's own names, and not by another site's page.

    A page elsewhere can make a browser send requests here, by a name that resolves to loopback or straight across
    origins: both would spend the user's money without their doing.
    """

    def __init__(self, inside: ASGIApp) -> None:
        self.inside = inside

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == ScopeType.HTTP:
            await self._let_in(scope, receive, send)
        else:
            await self.inside(scope, receive, send)

    async def _let_in(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        method, path = str(scope["method"]), scope["path"]
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        given = headers.get(b"x-request-id", "")
        request_id = given if USABLE_REQUEST_ID.fullmatch(given) else str(uuid4())
        scope.setdefault("state", {})["request_id"] = request_id
        status = 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableScopeHeaders.from_message(message).setdefault("x-request-id", request_id)
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                refusal = _refusal(method, headers)
                if refusal is None:
                    await self.inside(scope, receive, send_with_id)
                else:
                    await _refuse(refusal, send_with_id)
            finally:
                tell = log.debug if path.startswith("/health/") else log.info
                duration_ms = round((time.perf_counter() - began) * 1000, 1)
                tell("request", method=method, path=path, status=status, duration_ms=duration_ms)


def _refusal(method: str, headers: dict[bytes, str]) -> str | None:
    host = headers.get(b"host", "")
    if _name_of(f"//{host}") not in LOOPBACK_NAMES:
        return f"The Host header {host[:100]!r} is not this machine's; send requests to localhost, 127.0.0.1 or [::1]"
    origin = headers.get(b"origin")
    if origin is not None and method not in ("GET", "HEAD", "OPTIONS") and urlsplit(origin).netloc != host:
        return f"A page of {origin[:100]!r} may not send {method} requests to this server"
    return None


def _name_of(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


async def _refuse(detail: str, send: Any) -> None:
    body = msgspec.json.encode(problem(HTTPStatus.FORBIDDEN, detail))
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": int(HTTPStatus.FORBIDDEN), "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
