"""The gate in front of every route: who comes in, under which request id, and what the log says of it."""

import re
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import structlog
from litestar.datastructures import MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from application.check_tokens import Caller
from domain.errors import NotAllowed, StudyError
from interfaces.http.limits import Limits
from interfaces.http.refusals import refusal
from interfaces.study import Study

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
USABLE_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,200}")
LONGEST_TOKEN = 512

Headers = Mapping[bytes, str]

log = structlog.get_logger("interfaces.http.access")


class Gate:
    """Finds out who asks, and lets nobody in who was sent here by another site's page.

    loopback: the server is reached from this machine alone. Then whoever has no token, or one that nobody knows, is
    the server's own user, and requests must be sent to this machine's own names: a page elsewhere can make a browser
    send requests by a name that resolves to loopback. Otherwise nobody is anybody without a token.
    """

    def __init__(self, inside: ASGIApp, *, loopback: bool, limits: Limits) -> None:
        self.inside = inside
        self._loopback = loopback
        self.limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == ScopeType.HTTP:
            await self._let_in(scope, receive, send)
        else:
            await self.inside(scope, receive, send)

    async def authenticate(self, study: Study, headers: Headers) -> Caller | None:
        """Who asks; None for somebody unknown."""
        return await self.caller_with(study, _token_in(headers))

    async def caller_with(self, study: Study, token: str | None) -> Caller | None:
        """Who comes with this token, or without one. For whatever is reached by HTTP, a dashboard's pages as well."""
        caller = None if token is None else await study.tokens.caller_of(token)
        if caller is None and self._loopback:
            return Caller(study.actor, "admin", limited=False)
        return caller

    async def _let_in(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        method, path = str(scope["method"]), scope["path"]
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        given = headers.get(b"x-request-id", "")
        request_id = given if USABLE_REQUEST_ID.fullmatch(given) else str(uuid4())
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        caller: Caller | None = None
        status = 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableScopeHeaders.from_message(message).setdefault("x-request-id", request_id)
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id), ExitStack() as place:
            try:
                try:
                    self.check_host(headers)
                    state["caller"] = caller = await self.authenticate(scope["app"].state.study, headers)
                    check_origin(method, headers, by_token=caller is not None and caller.limited)
                    if caller is not None:
                        place.enter_context(self.limits.place(caller))
                except StudyError as error:
                    await _refuse(path, error, send_with_id)
                else:
                    await self.inside(scope, receive, send_with_id)
            finally:
                seconds = time.perf_counter() - began
                measured = scope["app"].state.study.metrics
                if measured is not None:
                    measured.requested(method, scope.get("path_template"), status, seconds)
                tell = log.debug if path.startswith("/health/") else log.info
                tell(
                    "request",
                    method=method,
                    path=path,
                    route=scope.get("path_template"),
                    status=status,
                    duration_ms=round(seconds * 1000, 1),
                    caller=None if caller is None else caller.name,
                )

    def check_host(self, headers: Headers) -> None:
        """Whether a request was sent to a name that this server may have. Raises NotAllowed."""
        host = headers.get(b"host", "")
        if self._loopback and _name_of(f"//{host}") not in LOOPBACK_NAMES:
            raise NotAllowed(
                f"The Host header {host[:100]!r} is not this machine's; send requests to localhost, 127.0.0.1 or [::1]"
            )


def check_origin(method: str, headers: Headers, *, by_token: bool) -> None:
    """A browser says which site's page sent a request; none has our users' tokens, but all reach this machine.

    by_token: the caller sent a token that no browser adds by itself. Raises NotAllowed.
    """
    origin = headers.get(b"origin")
    if by_token or origin is None or method in ("GET", "HEAD", "OPTIONS"):
        return
    if urlsplit(origin).netloc != headers.get(b"host", ""):
        raise NotAllowed(f"A page of {origin[:100]!r} may not send {method} requests to this server")


def _token_in(headers: Headers) -> str | None:
    scheme, _, token = headers.get(b"authorization", "").partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and 0 < len(token) <= LONGEST_TOKEN else None


def _name_of(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


async def _refuse(path: str, error: StudyError, send: Any) -> None:
    status, headers, body = refusal(path, error)
    told = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    start = {"type": "http.response.start", "status": status}
    await send({**start, "headers": [*told, (b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body, "more_body": False})
