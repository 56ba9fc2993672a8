"""One attempt over HTTP, whatever the client: its time limit, its clock, and its failures in the domain's words."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

from application.providers import PreparedRequest, ProviderAnswer
from infrastructure.providers.failures import Redactor, malformed, refused, timed_out, unreachable
from infrastructure.providers.wire_format import Malformed, read_answer


class HttpAnswer(NamedTuple):
    """What came back, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def attempt(
    post: Callable[[], Awaitable[HttpAnswer]],
    prepared: PreparedRequest,
    *,
    timeout_seconds: float,
    redact: Redactor,
    broken: tuple[type[Exception], ...],
) -> ProviderAnswer:
    """Post once and read the answer. The limit holds for the whole attempt, to the last byte.

    broken: what the client raises when the connection fails. Raises AttemptFailed.
    """
    began = time.perf_counter()
    try:
        async with asyncio.timeout(timeout_seconds):
            answer = await post()
    except TimeoutError:
        raise timed_out(timeout_seconds, latency_ms=_since(began)) from None
    except broken as error:
        raise unreachable(error, latency_ms=_since(began), redact=redact) from None
    latency_ms = _since(began)
    if not 200 <= answer.status < 300:
        raise refused(answer.status, answer.headers, answer.body, latency_ms=latency_ms, redact=redact)
    try:
        return read_answer(prepared, answer.body, status=answer.status, headers=answer.headers, latency_ms=latency_ms)
    except Malformed as error:
        raise malformed(str(error), answer.body, latency_ms=latency_ms, status=answer.status, redact=redact) from None


def endpoint_identity(url: str) -> str:
    """An address without user, password, query and trailing slash: safe to record."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    location = f"{host}:{parts.port}" if parts.port else host
    return urlunsplit((parts.scheme, location, parts.path.rstrip("/"), "", ""))


def _since(began: float) -> float:
    return (time.perf_counter() - began) * 1000
