"""HEAD, OPTIONS and slow bodies: what HTTP asks of every address, before any route is chosen."""

import asyncio
from typing import Any, cast

from litestar.datastructures import MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from interfaces.http.problems import TooSlow

BODY_SECONDS = 30.0  # without a further piece of a body
INSTEAD = {"HEAD": "GET", "OPTIONS": "TRACE"}  # the framework tells an address's methods when it refuses another one


class Methods:
    """Answers HEAD as GET, without the body; OPTIONS with what an address takes; waits for no body for ever."""

    body_seconds = BODY_SECONDS

    def __init__(self, inside: ASGIApp) -> None:
        self.inside = inside

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == ScopeType.HTTP:
            await self._serve(scope, receive, send)
        else:
            await self.inside(scope, receive, send)

    async def _serve(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        method = str(scope["method"])
        if method == "HEAD":
            send = _without_body(send)
        elif method == "OPTIONS":
            send = _allowed(send)
        if method not in INSTEAD:
            await self.inside(scope, self._in_time(receive), _telling_of_head(send))
            return
        # A copy: the server looks at the method that was asked to know how long the answer must be.
        asked = cast("HTTPScope", {**scope, "method": INSTEAD[method]})
        scope.setdefault("state", {})["asked_method"] = method  # whose answer need not be made to its end
        await self.inside(asked, self._in_time(receive), _telling_of_head(send))
        if "path_template" in asked:
            scope["path_template"] = asked["path_template"]

    def _in_time(self, receive: Receive) -> Receive:
        coming = True

        async def received() -> Any:
            nonlocal coming
            if not coming:
                return await receive()
            try:
                # Not wait_for, which up to Python 3.11 swallows a cancellation that comes together with the message.
                async with asyncio.timeout(self.body_seconds):
                    message = await receive()
            except TimeoutError:
                raise TooSlow(detail=f"Nothing more of the body came for {self.body_seconds:g} s") from None
            coming = message["type"] == "http.request" and message["more_body"]
            return message

        return received


def _telling_of_head(send: Send) -> Send:
    """HEAD is taken wherever GET is."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableScopeHeaders.from_message(message)
            if "allow" in headers:
                allowed = set(headers["allow"].split(", "))
                headers["allow"] = ", ".join(sorted(allowed | {"HEAD"} if "GET" in allowed else allowed))
        await send(message)

    return sent


def _without_body(send: Send) -> Send:
    ended = False

    async def sent(message: Message) -> None:
        nonlocal ended
        if message["type"] == "http.response.start":
            await send(message)
        elif not ended:
            ended = True
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    return sent


def _allowed(send: Send) -> Send:
    """The Allow of a refusal as an answer."""
    refused = False

    async def sent(message: Message) -> None:
        nonlocal refused
        if message["type"] == "http.response.start" and message["status"] == 405:
            refused = True
            allow = [(name, value) for name, value in message["headers"] if name.lower() == b"allow"]
            await send({"type": "http.response.start", "status": 204, "headers": allow})
        elif refused and message["type"] == "http.response.body":
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await send(message)

    return sent
