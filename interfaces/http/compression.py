"""Answers made smaller, where the client takes that."""

import asyncio
import gzip
from collections.abc import Callable
from typing import Any

import brotli
from litestar.datastructures import MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

SMALLEST_COMPRESSED_BYTES = 1_000
IN_A_THREAD_BYTES = 200_000
COMPRESSIBLE = ("application/json", "application/problem+json", "application/vnd.oai.openapi+json", "text/")
Compress = Callable[[bytes], bytes]
CODINGS: dict[str, Compress] = {
    "br": lambda body: brotli.compress(body, quality=4),
    "gzip": lambda body: gzip.compress(body, 6, mtime=0),
}


class Compression:
    """Compresses answers that come in one piece, of a kind that gets smaller; what is streamed goes out as it comes.

    An answer's length can tell of a secret in it to who chose what lies beside it (BREACH), but only where a page makes
    a browser send a secret by itself; ours is a bearer token, which no browser adds.
    """

    def __init__(self, inside: ASGIApp) -> None:
        self.inside = inside

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        accepted = _accepted(scope) if scope["type"] == ScopeType.HTTP else None
        if accepted is None:
            await self.inside(scope, receive, send)
            return
        coding = accepted
        held: Any = None

        async def send_compressed(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start":
                held = message
                return
            if held is None or message["type"] != "http.response.body":
                await send(message)
                return
            start, held = held, None
            body: bytes = message.get("body", b"")
            headers = MutableScopeHeaders.from_message(start)
            if _compressible(headers):
                headers.extend_header_value("vary", "Accept-Encoding")
                if not message.get("more_body", False) and len(body) >= SMALLEST_COMPRESSED_BYTES:
                    body = await _compressed(CODINGS[coding], body)
                    headers["content-encoding"] = coding
                    headers["content-length"] = str(len(body))
            await send(start)
            await send({**message, "body": body})

        await self.inside(scope, receive, send_compressed)


def _accepted(scope: Scope) -> str | None:
    """The best coding that the client takes; None for none of ours."""
    given = b",".join(value for name, value in scope["headers"] if name == b"accept-encoding").decode("latin-1")
    taken: dict[str, float] = {}
    for each in given.split(","):
        name, _, quality = each.partition(";")
        try:
            taken[name.strip().lower()] = float(quality.partition("=")[2] or 1)
        except ValueError:
            taken[name.strip().lower()] = 0
    weights = {coding: taken.get(coding, taken.get("*", 0.0)) for coding in CODINGS}
    best = max(weights, key=lambda coding: weights[coding])
    return best if weights[best] > 0 else None


def _compressible(headers: MutableScopeHeaders) -> bool:
    kind: str = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "text/event-stream" or "content-encoding" in headers or "etag" in headers:
        return False  # what has an ETag is compared with it, byte for byte
    return kind.startswith(COMPRESSIBLE)


async def _compressed(compress: Compress, body: bytes) -> bytes:
    return await asyncio.to_thread(compress, body) if len(body) > IN_A_THREAD_BYTES else compress(body)
