"""What went wrong with an attempt, in the domain's words, and without secrets."""

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from application.providers import AttemptFailed
from domain.calls import AttemptError, ErrorKind

LONGEST_MESSAGE_CHARACTERS = 500
LONGEST_ERROR_BYTES = 100_000
# A shorter key ("none", "local") is a word that answers may well contain.
SHORTEST_TELLING_KEY = 16
LASTING_CODES = {"insufficient_quota", "billing_hard_limit_reached"}
FILTER_CODES = {"content_filter", "content_policy_violation", "responsibleaipolicyviolation"}
KINDS: dict[int, tuple[ErrorKind, bool]] = {
    400: ("bad_request", False),
    401: ("authentication", False),
    402: ("permission", False),
    403: ("permission", False),
    404: ("not_found", False),
    408: ("timeout", True),
    409: ("conflict", True),
    422: ("unprocessable", False),
    429: ("rate_limited", True),
}
SECRETS = re.compile(
    rb"(?i)\bsk-[\w*.-]{4,}|\bbearer\s+[\w.~+/*=-]{4,}|\bbasic\s+[A-Za-z0-9+/]{8,}={0,2}|(?<=://)[^/@\s\"']+@"
    rb"|(?<=[?&]key=)[^&\s\"']+|(?<=[?&]api-key=)[^&\s\"']+|(?<=[?&]api_key=)[^&\s\"']+"
)

Clock = Callable[[], datetime]


class _Reported(Struct):
    """The only members of an answer that say that it is an error."""

    error: Any = None
    choices: msgspec.Raw | None = None
    data: msgspec.Raw | None = None


def _now() -> datetime:
    return datetime.now(UTC)


class Redactor:
    """Takes keys out of what providers echo: those that they are told, and whatever looks like one."""

    def __init__(self, *keys: str | None) -> None:
        found = sorted({key.encode() for key in keys if key}, key=len, reverse=True)
        self._long_keys = [key for key in found if len(key) >= SHORTEST_TELLING_KEY]
        # A short one is only taken where it stands alone, or "e" would make every message unreadable.
        short = b"|".join(re.escape(key) for key in found if key not in self._long_keys) or rb"(?!)"
        self._short_key = re.compile(rb"(?<![A-Za-z0-9])(?:" + short + rb")(?![A-Za-z0-9])")

    def __call__(self, content: bytes) -> bytes:
        """The same without keys."""
        return SECRETS.sub(b"[key]", self.told_key(content))

    def told_key(self, content: bytes) -> bytes:
        """The same without the configured keys, however short."""
        return self._short_key.sub(b"[key]", self.own_key(content))

    def own_key(self, content: bytes) -> bytes:
        """The same without the configured keys. What merely looks like one stays: a successful answer is not edited."""
        for key in self._long_keys:
            content = content.replace(key, b"[key]")
        return content

    def text(self, message: str) -> str:
        """The same for text, in one line of bounded length."""
        line = " ".join(self(message.encode(errors="replace")).decode(errors="replace").split())
        return line if len(line) <= LONGEST_MESSAGE_CHARACTERS else line[: LONGEST_MESSAGE_CHARACTERS - 1] + "…"


def refused(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    latency_ms: float,
    redact: Redactor,
    now: Clock = _now,
    meant: int | None = None,
    model: str | None = None,
) -> AttemptFailed:
    """An answer that is an error.

    now: what an HTTP date in Retry-After is measured from
    meant: the status that the body names, where the answer's own is that of a success
    model: what was asked for; Azure does not say which deployment it misses
    """
    message, codes = _told(body)
    number = meant or status
    kind, transient = KINDS.get(number, ("server_error", True) if number >= 500 else ("bad_request", False))
    if FILTER_CODES & {code.lower() for code in codes}:
        kind, transient = "content_filter", False
    if LASTING_CODES & set(codes):
        transient = False
    if "DeploymentNotFound" in codes:
        message = f"{message} Asked for {model!r}".lstrip()
    if 300 <= status < 400:
        message = f"the endpoint moved to {_place(headers.get('location', ''))}; set the new address"
    code = redact.text(codes[0]) if codes else None
    error = AttemptError(
        kind=kind,
        message=redact.text(f"HTTP {status}" + (f" {code}" if code else "") + (f": {message}" if message else "")),
        transient=transient,
        http_status=status,
        code=code,
        retry_after_seconds=_retry_after(headers, now),
    )
    kept = redact(body)[:LONGEST_ERROR_BYTES]
    return AttemptFailed(error, latency_ms=latency_ms, body=kept, media_type=headers.get("content-type"))


def reported_status(body: bytes) -> int | None:
    """The status that an error in a successful answer stands for; None when it is no error. Unknown ones are 500."""
    if b'"error"' not in body[:LONGEST_ERROR_BYTES]:
        return None
    try:
        found = msgspec.json.decode(body, type=_Reported)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if not found.error or found.choices is not None or found.data is not None:
        return None
    code = str(found.error.get("code")) if isinstance(found.error, dict) else ""
    return int(code) if re.fullmatch(r"[45]\d\d", code) else 500


def unreachable(error: BaseException, *, latency_ms: float, redact: Redactor) -> AttemptFailed:
    """No answer, or half of one."""
    cause = error.__cause__ or error
    message = redact.text(f"the connection{_whereto(error)} failed: {type(cause).__name__} {cause}".strip())
    return AttemptFailed(AttemptError(kind="connection", message=message, transient=True), latency_ms=latency_ms)


def _whereto(error: BaseException) -> str:
    """Host and port, which httpx and the openai SDK keep beside their errors, and aiohttp names within."""
    request: Any = getattr(error, "request", None)
    return "" if request is None else f" to {request.url.netloc.decode()}"


def cut_short(*, latency_ms: float) -> AttemptFailed:
    """A stream that ended before its answer did."""
    message = "the stream ended early: no finish_reason and no [DONE] came"
    return AttemptFailed(AttemptError(kind="connection", message=message, transient=True), latency_ms=latency_ms)


def timed_out(timeout_seconds: float, *, latency_ms: float, awaited: str = "answer") -> AttemptFailed:
    """No answer in time, or not the next piece of one."""
    message = f"no {awaited} within {timeout_seconds:g} s"
    return AttemptFailed(AttemptError(kind="timeout", message=message, transient=True), latency_ms=latency_ms)


def malformed(
    reason: str, body: bytes, *, latency_ms: float, status: int | None, redact: Redactor, transient: bool = True
) -> AttemptFailed:
    """An answer that can't be what was asked for."""
    error = AttemptError(
        kind="malformed_response", message=redact.text(reason), transient=transient, http_status=status
    )
    return AttemptFailed(error, latency_ms=latency_ms, body=redact(body), media_type="application/octet-stream")


def _told(body: bytes) -> tuple[str, list[str]]:
    """The message and codes of an error body in OpenAI's shape, or as much as there is; the first code is the best."""
    try:
        content: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return re.sub(r"<[^>]*>", " ", body[:2000].decode(errors="replace")).strip(), []
    error = content.get("error", content) if isinstance(content, dict) else content
    if not isinstance(error, dict):
        return str(error or ""), []
    inner = error.get("innererror")
    codes = [error.get("code"), error.get("type"), inner.get("code") if isinstance(inner, dict) else None]
    message = error.get("message") or error.get("detail") or ""
    return str(message), [str(code) for code in codes if code is not None]


def _retry_after(headers: Mapping[str, str], now: Clock) -> float | None:
    """Seconds, given in milliseconds, seconds or as an HTTP date; None for anything else."""
    for name, unit_seconds in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            asked = float(headers.get(name, "")) * unit_seconds
        except ValueError:
            continue
        if math.isfinite(asked):
            return max(0.0, asked)
    try:
        moment = parsedate_to_datetime(headers.get("retry-after", ""))
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now()).total_seconds())


def _place(location: str) -> str:
    """Scheme and host only: a redirect's query may hold anything."""
    try:
        parts = urlsplit(location)
    except ValueError:
        return "nowhere"
    return (
        f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.netloc else parts.path or "nowhere"
    )
