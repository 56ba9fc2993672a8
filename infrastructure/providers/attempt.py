"""One attempt over HTTP, whatever the client: its time limit, its clock, and its failures in the domain's words."""

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from application.providers import PreparedRequest, ProviderAnswer
from domain.errors import Rejected
from infrastructure.providers.failures import (
    Redactor,
    malformed,
    refused,
    reported_status,
    timed_out,
    unreachable,
)
from infrastructure.providers.wire_format import Malformed, kept_headers, read_answer, read_models

MODELS_TIMEOUT_SECONDS = 20.0
# Reading an answer larger than this holds up the event loop for some milliseconds; it is read in a thread.
LARGE_ANSWER_BYTES = 500_000


class HttpAnswer(NamedTuple):
    """What came back, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Address(NamedTuple):
    """An address taken apart, since HTTP clients log the whole of what they are given."""

    url: str  # without user, password, query and trailing slash: safe to record
    login: tuple[str, str] | None  # user and password
    query: dict[str, str]

    def secrets(self) -> list[str]:
        """What the server is told and nobody else may be: it may echo it in any of these forms."""
        if self.login is None:
            return list(self.query.values())
        as_header = base64.b64encode(":".join(self.login).encode()).decode()
        return [self.login[1], as_header, *self.query.values()]


Exchange = Callable[[], Awaitable[HttpAnswer]]


async def attempt(
    post: Exchange,
    prepared: PreparedRequest,
    *,
    timeout_seconds: float,
    redact: Redactor,
    broken: tuple[type[Exception], ...],
) -> ProviderAnswer:
    """Post once and read the answer. The limit holds for the whole attempt, to the last byte.

    broken: what the client raises when the connection fails. Raises AttemptFailed.
    """
    answer, latency_ms = await _exchange(
        post, timeout_seconds=timeout_seconds, redact=redact, broken=broken, model=prepared.model
    )
    return await read_whole(prepared, answer, latency_ms=latency_ms, redact=redact)


async def read_whole(
    prepared: PreparedRequest, answer: HttpAnswer, *, latency_ms: float, redact: Redactor
) -> ProviderAnswer:
    """Read an answer of one piece that is no error. Raises AttemptFailed."""

    def read() -> ProviderAnswer:
        return read_answer(prepared, answer.body, status=answer.status, headers=answer.headers, latency_ms=latency_ms)

    try:
        return read() if len(answer.body) < LARGE_ANSWER_BYTES else await asyncio.to_thread(read)
    except Malformed as error:
        raise malformed(
            str(error),
            answer.body,
            latency_ms=latency_ms,
            status=answer.status,
            redact=redact,
            transient=error.transient,
        ) from None


def checked(answer: HttpAnswer, *, latency_ms: float, redact: Redactor, model: str | None) -> HttpAnswer:
    """An answer without our key in it. Raises AttemptFailed for one that is an error.

    Some servers report errors with status 200: these count as the status that the body names.
    """
    meant = reported_status(answer.body) if 200 <= answer.status < 300 else answer.status
    if meant is not None:
        raise refused(
            answer.status,
            answer.headers,
            answer.body,
            latency_ms=latency_ms,
            redact=redact,
            meant=meant,
            model=model,
        )
    return without_key(answer, redact)


def without_key(answer: HttpAnswer, redact: Redactor) -> HttpAnswer:
    """The headers worth keeping, and the body, without our key in either."""
    headers = {name: redact.text(value) for name, value in kept_headers(answer.headers).items()}
    return answer._replace(headers=headers, body=redact.own_key(answer.body))


def milliseconds_since(began: float) -> float:
    """By the stop-watch `time.perf_counter`."""
    return (time.perf_counter() - began) * 1000


async def listed(get: Exchange, *, redact: Redactor, broken: tuple[type[Exception], ...]) -> list[str]:
    """Get a list of models and read their ids, sorted. Raises AttemptFailed."""
    answer, latency_ms = await _exchange(get, timeout_seconds=MODELS_TIMEOUT_SECONDS, redact=redact, broken=broken)
    try:
        return read_models(answer.body)
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


def address(url: str, setting: str) -> Address:
    """An address as it was set, without blanks around it. Raises Rejected when it can't be one."""
    found = url.strip()
    try:
        parts = urlsplit(found)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise Rejected(f"{setting} must be an address that begins with http:// or https://", fields=(setting,))
    login = None if parts.username is None else (unquote(parts.username), unquote(parts.password or ""))
    return Address(endpoint_identity(found), login, dict(parse_qsl(parts.query)))


def checked_key(key: str, setting: str) -> str:
    """A key as it was set, without blanks around it. Raises Rejected when no header could hold it."""
    found = key.strip()
    wrong = next((place for place, character in enumerate(found, start=1) if not "!" <= character <= "~"), None)
    if wrong is not None:
        raise Rejected(f"Character {wrong} of {setting} is a blank or no ASCII; copy the key again", fields=(setting,))
    return found


async def _exchange(
    exchange: Exchange,
    *,
    timeout_seconds: float,
    redact: Redactor,
    broken: tuple[type[Exception], ...],
    model: str | None = None,
) -> tuple[HttpAnswer, float]:
    """The answer and its latency in ms, send to last byte. Raises AttemptFailed, also for an error as an answer."""
    began = time.perf_counter()
    try:
        async with asyncio.timeout(timeout_seconds):
            answer = await exchange()
    except TimeoutError:
        raise timed_out(timeout_seconds, latency_ms=milliseconds_since(began)) from None
    except broken as error:
        raise unreachable(error, latency_ms=milliseconds_since(began), redact=redact) from None
    latency_ms = milliseconds_since(began)
    return checked(answer, latency_ms=latency_ms, redact=redact, model=model), latency_ms
