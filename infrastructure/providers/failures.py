"""What went wrong with an attempt, in the domain's words, and without secrets."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from application.providers import AttemptFailed
from domain.calls import AttemptError, ErrorKind

LONGEST_MESSAGE_CHARACTERS = 500
LASTING_CODES = {"insufficient_quota", "billing_hard_limit_reached"}
KINDS: dict[int, tuple[ErrorKind, bool]] = {
    400: ("bad_request", False),
    401: ("authentication", False),
    403: ("permission", False),
    404: ("not_found", False),
    408: ("timeout", True),
    409: ("conflict", True),
    422: ("unprocessable", False),
    429: ("rate_limited", True),
}
SECRETS = re.compile(rb"(?i)\bsk-[\w*-]{4,}|\bbearer\s+[\w.~+/*=-]{4,}|(?<=://)[^/@\s\"']+@")

Clock = Callable[[], datetime]


def _now() -> datetime:
    return datetime.now(UTC)


class Redactor:
    """Takes keys out of what providers echo: the configured one, and whatever looks like one."""

    def __init__(self, key: str | None) -> None:
        self._key = key.encode() if key else None

    def __call__(self, content: bytes) -> bytes:
        """The same without keys."""
        if self._key:
            content = content.replace(self._key, b"[key]")
        return SECRETS.sub(b"[key]", content)

    def text(self, message: str) -> str:
        """The same for text, in one line of bounded length."""
        line = " ".join(self(message.encode(errors="replace")).decode(errors="replace").split())
        return line if len(line) <= LONGEST_MESSAGE_CHARACTERS else line[: LONGEST_MESSAGE_CHARACTERS - 1] + "…"


def refused(
    status: int, headers: Mapping[str, str], body: bytes, *, latency_ms: float, redact: Redactor, now: Clock = _now
) -> AttemptFailed:
    """An answer with an error status; `now` is what an HTTP date in Retry-After is measured from."""
    message, code = _told(body)
    kind, transient = KINDS.get(status, ("server_error", True) if status >= 500 else ("bad_request", False))
    if code is not None and "content_filter" in code:
        kind, transient = "content_filter", False
    if code in LASTING_CODES:
        transient = False
    error = AttemptError(
        kind=kind,
        message=redact.text(f"HTTP {status}" + (f" {code}" if code else "") + (f": {message}" if message else "")),
        transient=transient,
        http_status=status,
        code=code,
        retry_after_seconds=_retry_after(headers.get("retry-after"), now),
    )
    return AttemptFailed(error, latency_ms=latency_ms, body=redact(body), media_type=headers.get("content-type"))


def unreachable(error: BaseException, *, latency_ms: float, redact: Redactor) -> AttemptFailed:
    """No answer, or half of one."""
    cause = error.__cause__ or error
    message = redact.text(f"the connection failed: {type(cause).__name__} {cause}".strip())
    return AttemptFailed(AttemptError(kind="connection", message=message, transient=True), latency_ms=latency_ms)


def timed_out(timeout_seconds: float, *, latency_ms: float) -> AttemptFailed:
    """No answer in time."""
    message = f"no answer within {timeout_seconds:g} s"
    return AttemptFailed(AttemptError(kind="timeout", message=message, transient=True), latency_ms=latency_ms)


def malformed(reason: str, body: bytes, *, latency_ms: float, status: int | None, redact: Redactor) -> AttemptFailed:
    """An answer that can't be what was asked for."""
    error = AttemptError(kind="malformed_response", message=redact.text(reason), transient=True, http_status=status)
    return AttemptFailed(error, latency_ms=latency_ms, body=redact(body), media_type="application/octet-stream")


def _told(body: bytes) -> tuple[str, str | None]:
    """The message and code of an error body in OpenAI's shape, or as much as there is."""
    try:
        content: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return re.sub(r"<[^>]*>", " ", body[:2000].decode(errors="replace")).strip(), None
    error = content.get("error", content) if isinstance(content, dict) else content
    if not isinstance(error, dict):
        return str(error), None
    code = error.get("code") or error.get("type")
    message = error.get("message") or error.get("detail") or ""
    return str(message), None if code is None else str(code)


def _retry_after(value: str | None, now: Clock) -> float | None:
    """Seconds, given as such or as an HTTP date; None for neither."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now()).total_seconds())
