"""The OpenAI-compatible gateway under /v1: any client works by its base URL, and every call is recorded.

It is plain ASGI in front of the framework's router, whose handling of a request costs as much as all of this.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from uuid import UUID

import msgspec
import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from application.check_tokens import Caller
from application.notebook import Context
from application.providers import Operation
from application.relay_request import Begun, Relayed, RequestToRelay
from domain.errors import StudyError
from domain.tokens import Scope as TokenScope
from interfaces.http.gateway_errors import GatewayError, error_of, error_of_status
from interfaces.http.gateway_wishes import Wishes, wishes_of
from interfaces.http.scopes import admit
from interfaces.study import Study

PREFIX = "/v1/"
OPERATIONS: dict[str, Operation] = {"/v1/chat/completions": "chat", "/v1/embeddings": "embeddings"}
MODELS = "/v1/models"
LARGEST_BODY_BYTES = 64_000_000
SHOULD_RETRY = b"x-should-retry"  # which clients of OpenAI's go by
JSON = (b"content-type", b"application/json")

Headers = Iterable[tuple[bytes, bytes]]

log = structlog.get_logger(__name__)


class Gateway:
    """Serves what lies under /v1, and hands everything else on."""

    def __init__(self, inside: ASGIApp, study: Callable[[], Study]) -> None:
        self._inside = inside
        self._study = study

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != ScopeType.HTTP or not scope["path"].startswith(PREFIX):
            await self._inside(scope, receive, send)
            return
        scope["path_template"] = _template(scope["path"])
        exchange = _Exchange(scope, receive, send, self._study())
        try:
            await exchange.serve()
        except StudyError as error:
            await exchange.refuse(error_of(error))
        except _Gone:
            pass
        except Exception as error:
            log.error("unexpected error", path=scope["path"], exc_info=error)
            detail = "The server's log tells more under this answer's x-request-id"
            await exchange.refuse(error_of_status(HTTPStatus.INTERNAL_SERVER_ERROR, detail, code="unexpected"))


class _Gone(Exception):
    """The client left: there is nobody to answer."""


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: HTTPScope, receive: Receive, send: Send, study: Study) -> None:
        self.path = scope["path"]
        self.method = str(scope["method"])
        self.headers = {name.decode("latin-1"): _text(value) for name, value in scope["headers"]}
        self.receive = receive
        self.send = send
        self.study = study
        self.state = scope["state"]  # the gate's
        self.request_id = str(self.state["request_id"])
        self.began = time.perf_counter()
        self.has_begun = False

    async def serve(self) -> None:
        """Answer. Raises StudyError."""
        # The framework's guard stands behind this gateway, which therefore asks itself what the caller may.
        needed: TokenScope = "read" if self.method in ("GET", "HEAD") else "write"
        asked = f"{self.method} {self.path[:100]}"
        admit(self.state["caller"], asked, needed, presented="authorization" in self.headers)
        if self.path in OPERATIONS:
            if self.method != "POST":
                await self.refuse(
                    error_of_status(405, f"{self.path} does not take {self.method}", headers={"allow": "POST"})
                )
                return
            wishes = wishes_of(self.headers)
            body = await self._body()
            if body is not None:
                await self._relay(self._asked(OPERATIONS[self.path], body, wishes))
        elif self.path == MODELS or self.path.startswith(f"{MODELS}/"):
            await self._models(self.path.removeprefix(MODELS).strip("/"))
        else:
            known = ", ".join([*OPERATIONS, MODELS])
            await self.refuse(error_of_status(404, f"There is nothing at {self.path}; there are {known}"))

    async def refuse(self, error: GatewayError) -> None:
        """Send an error of ours; in a stream that has begun it is the last event."""
        if self.has_begun:
            await self.send({"type": "http.response.body", "body": error.event(), "more_body": False})
            return
        headers = [
            JSON,
            *((name.encode(), value.encode("latin-1", "replace")) for name, value in error.headers.items()),
        ]
        await self._send_whole(error.status, headers, error.body())

    async def _refuse_method(self, allow: str) -> None:
        said = f"{self.path} does not take {self.method}"
        await self.refuse(error_of_status(405, said, headers={"allow": allow}))

    async def _body(self) -> bytes | None:
        """The request's body; None when it was refused."""
        encoding, length = self.headers.get("content-encoding", "identity"), self.headers.get("content-length", "0")
        if encoding != "identity":
            await self.refuse(error_of_status(415, f"A body with Content-Encoding {encoding[:40]!r} is not taken"))
            return None
        parts: list[bytes] = []
        received, more = 0, True
        size = int(length) if length.isdecimal() else 0
        while more and size <= LARGEST_BODY_BYTES:
            message = await self.receive()
            if message["type"] != "http.request":
                raise _Gone
            parts.append(message["body"])
            received += len(parts[-1])
            size, more = max(size, received), message["more_body"]
        if size > LARGEST_BODY_BYTES:
            said = f"The body is larger than {LARGEST_BODY_BYTES:,} bytes"
            await self.refuse(error_of_status(413, said, headers={"connection": "close"}))
            return None
        return b"".join(parts)

    def _asked(self, operation: Operation, body: bytes, wishes: Wishes) -> RequestToRelay:
        return RequestToRelay(
            operation=operation,
            body=body,
            headers=wishes.for_the_provider,
            group=wishes.group,
            metadata=wishes.metadata,
            cache_seconds=wishes.cache_seconds,
            share=wishes.share,
            client_retry=wishes.client_retry,
        )

    def _context(self) -> Context:
        caller: Caller | None = self.state["caller"]
        actor = None if caller is None else caller.name
        try:
            return self.study.context(actor, UUID(self.request_id))
        except ValueError:
            return self.study.context(actor)

    async def _relay(self, asked: RequestToRelay) -> None:
        """Relay, and cancel the call if the client leaves before its answer is there."""
        working = asyncio.current_task()
        leaving = asyncio.create_task(self._cancel_when_left(working))
        try:
            # A body that has no such word asks for no stream; one that has it may.
            await (self._streamed(asked) if b'"stream"' in asked.body else self._whole(asked))
        except asyncio.CancelledError:
            if not leaving.done() or working is None or working.uncancel():
                raise  # it is the server that stops
            raise _Gone from None
        finally:
            leaving.cancel()

    async def _cancel_when_left(self, working: "asyncio.Task[Any] | None") -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass
        if working is not None:
            working.cancel()

    async def _whole(self, asked: RequestToRelay) -> None:
        await self._send_relayed(asked, await self.study.gateway.relay(asked, self._context()))

    async def _streamed(self, asked: RequestToRelay) -> None:
        async with self.study.gateway.stream(asked, self._context()) as stream:
            async for piece in stream:
                if isinstance(piece, Begun):
                    await self._begin(asked, piece)
                else:
                    await self.send({"type": "http.response.body", "body": piece, "more_body": True})
            await self._send_relayed(asked, stream.answer)

    async def _begin(self, asked: RequestToRelay, begun: Begun) -> None:
        ours = self._ours(asked, begun.call_id, begun.position, begun.provider_ms, is_cached=False)
        headers = [*begun.reply.headers, (b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"), *ours]
        await self.send({"type": "http.response.start", "status": begun.reply.status, "headers": headers})
        self.has_begun = True

    async def _send_relayed(self, asked: RequestToRelay, relayed: Relayed) -> None:
        reply = relayed.reply
        if not self.has_begun:
            ours = self._ours(
                asked, relayed.call_id, relayed.position, relayed.provider_ms, is_cached=relayed.is_cached
            )
            if relayed.should_not_retry and not any(name == SHOULD_RETRY for name, _ in reply.headers):
                ours.append((SHOULD_RETRY, b"false"))
            await self._send_whole(reply.status, [*reply.headers, *ours], reply.body)
            return
        # Without an end, the server breaks the connection off, as the provider did.
        ends = not relayed.is_broken
        await self.send({"type": "http.response.body", "body": reply.body, "more_body": not ends})

    def _ours(
        self, asked: RequestToRelay, call_id: UUID, position: int | None, provider_ms: float, *, is_cached: bool
    ) -> list[tuple[bytes, bytes]]:
        """What we say of the call besides what the provider says."""
        overhead_ms = max(0.0, (time.perf_counter() - self.began) * 1000 - provider_ms)
        cache = b"off" if asked.cache_seconds is None else b"hit" if is_cached else b"miss"
        found = [
            (b"x-sq-call-id", str(call_id).encode()),
            (b"x-sq-overhead-ms", b"%.1f" % overhead_ms),
            (b"x-sq-cache", cache),
            (b"x-sq-request-id", self.request_id.encode()),  # x-request-id is the provider's own
        ]
        return found if position is None else [*found, (b"x-sq-position", b"%d" % position)]

    async def _models(self, name: str) -> None:
        if self.method not in ("GET", "HEAD"):
            await self.refuse(
                error_of_status(405, f"{self.path} does not take {self.method}", headers={"allow": "GET, HEAD"})
            )
            return
        if not name:
            found: Any = {"object": "list", "data": await self.study.gateway.models()}
        else:
            found = await self.study.gateway.model(name)
        if found is None:
            said = f"The model {name[:100]!r} does not exist; GET /v1/models lists those that do"
            await self.refuse(error_of_status(404, said, code="model_not_found"))
            return
        await self._send_whole(200, [JSON], msgspec.json.encode(found))

    async def _send_whole(self, status: int, headers: Headers, body: bytes) -> None:
        named = [*headers, (b"content-length", b"%d" % len(body))]
        await self.send({"type": "http.response.start", "status": status, "headers": named})
        sent = b"" if self.method == "HEAD" else body
        await self.send({"type": "http.response.body", "body": sent, "more_body": False})


def _template(path: str) -> str:
    """The address as it is counted: one for all models, and one for all that is none of ours."""
    if path in OPERATIONS or path == MODELS:
        return path
    return "/v1/models/{model}" if path.startswith(f"{MODELS}/") else "/v1/{path}"


def _text(value: bytes) -> str:
    """A header's value, which is UTF-8 from clients that mean it, and Latin-1 by the book."""
    with suppress(UnicodeDecodeError):
        return value.decode()
    return value.decode("latin-1")
