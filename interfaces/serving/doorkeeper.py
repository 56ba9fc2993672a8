"""Who comes in to the dashboard: whom the API's gate would let in, from a page of this server."""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from urllib.parse import urlsplit
from uuid import uuid4

import structlog
from starlette.types import Message, Receive, Scope, Send

from application.check_tokens import Caller
from domain.errors import NotAllowed, StudyError, TooMany
from interfaces.dashboard.entrance import token_in
from interfaces.dashboard.server import Dashboard
from interfaces.http.gate import Gate, check_origin
from interfaces.serving.dispatch import DASHBOARD, plain_answer
from interfaces.study import Study

POLICY_VIOLATION = 1008
UNCOUNTED = (f"{DASHBOARD}/static/", f"{DASHBOARD}/assets/")  # what one page needs many of counts as no request

log = structlog.get_logger("interfaces.http.access")


class Doorkeeper:
    """Lets people in to the dashboard; `dashboard.running()` must be entered before."""

    def __init__(self, gate: Gate, study: Study) -> None:
        self._gate = gate
        self._study = study
        self.dashboard = Dashboard(study, self._authenticate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        await (self._talk if scope["type"] == "websocket" else self._show)(scope, receive, send)

    async def _authenticate(self, token: str | None) -> Caller | None:
        return await self._gate.caller_with(self._study, token)

    async def _talk(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A page's socket: only from a page of this server, which browsers say, and nothing but a browser has any."""
        headers = _headers(scope)
        try:
            self._gate.check_host(headers)
            if not headers.get(b"origin"):
                raise NotAllowed("A socket must come from a page of this server, and say so in its Origin")
            _check_same_site(headers)
        except NotAllowed as error:
            log.warning("a socket was refused", reason=str(error))
            await receive()
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": "Origin"})
            return
        await self.dashboard(scope, receive, send)

    async def _show(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, request_id = _headers(scope), str(uuid4())
        began, status = time.perf_counter(), 500
        caller: Caller | None = None

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id), ExitStack() as place:
            try:
                self._gate.check_host(headers)
                check_origin(scope["method"], headers, by_token=False)
                caller = await self._authenticate(token_in(headers))
                if caller is not None and not scope["path"].startswith(UNCOUNTED):
                    place.enter_context(self._gate.limits.place(caller))
                await self.dashboard(scope, receive, send_with_id)
            except (NotAllowed, TooMany) as error:
                await _refuse(send_with_id, error)
            finally:
                log.info(
                    "request",
                    method=scope["method"],
                    path=scope["path"],
                    route=DASHBOARD,
                    status=status,
                    duration_ms=round((time.perf_counter() - began) * 1000, 1),
                    caller=None if caller is None else caller.name,
                )


def _headers(scope: Scope) -> dict[bytes, str]:
    return {name: value.decode("latin-1") for name, value in scope["headers"]}


def _check_same_site(headers: Mapping[bytes, str]) -> None:
    origin = headers[b"origin"]
    if urlsplit(origin).netloc != headers.get(b"host", ""):
        raise NotAllowed(f"A page of {origin[:100]!r} may not open a socket to this server")


async def _refuse(send: Send, error: StudyError) -> None:
    if isinstance(error, TooMany):
        await plain_answer(
            send, 429, str(error).encode(), (b"retry-after", str(int(error.retry_after_seconds) + 1).encode())
        )
    else:
        await plain_answer(send, 403, str(error).encode())
