"""The gateway's own errors, in the shape that clients of OpenAI's API read. Providers' own pass through."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import Struct

from domain.errors import ProviderFailed, StudyError
from interfaces.http.problems import headers_of, problem_of

# What OpenAI's clients tell errors apart by: `type` and `code` of the error object.
KINDS: dict[int, tuple[str, str | None]] = {
    HTTPStatus.UNAUTHORIZED: ("invalid_request_error", "invalid_api_key"),
    HTTPStatus.FORBIDDEN: ("permission_error", "insufficient_permissions"),
    HTTPStatus.CONFLICT: ("conflict_error", None),
    HTTPStatus.TOO_MANY_REQUESTS: ("requests", "rate_limit_exceeded"),
    HTTPStatus.SERVICE_UNAVAILABLE: ("server_error", "store_unavailable"),
}


class GatewayError(Struct, frozen=True, kw_only=True):
    """An error as it is sent."""

    status: int
    message: str
    type: str
    param: str | None = None
    code: str | None = None
    headers: dict[str, str] = {}

    def body(self) -> bytes:
        """Its JSON."""
        return msgspec.json.encode({"error": self._content()})

    def event(self) -> bytes:
        """The same as the last event of a stream."""
        return b"data: " + self.body() + b"\n\n"

    def _content(self) -> dict[str, Any]:
        return {"message": self.message, "type": self.type, "param": self.param, "code": self.code}


def error_of(error: StudyError) -> GatewayError:
    """An error of ours, or a provider's that came without a reply."""
    if isinstance(error, ProviderFailed):
        return _of_provider(error)
    told = problem_of(error)
    param = told.fields[0] if told.fields else None
    return error_of_status(told.status, told.detail, param=param, headers=headers_of(error))


def error_of_status(
    status: int,
    message: str,
    *,
    code: str | None = None,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> GatewayError:
    """An error of the server itself: no such address, a body too large, a defect."""
    usual = "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
    kind, known = KINDS.get(status, (usual, None))
    return GatewayError(
        status=status, message=message, type=kind, param=param, code=code or known, headers=dict(headers or {})
    )


def _of_provider(error: ProviderFailed) -> GatewayError:
    status = error.http_status or 0
    if error.kind == "timeout":
        status = int(HTTPStatus.GATEWAY_TIMEOUT)
    elif error.kind == "bad_request" and not status:
        status = int(HTTPStatus.BAD_REQUEST)
    elif status < HTTPStatus.BAD_REQUEST:
        status = int(HTTPStatus.BAD_GATEWAY)
    headers = {"x-sq-call-id": error.call_id}
    if error.position is not None:
        headers["x-sq-position"] = str(error.position)
    return GatewayError(status=status, message=str(error), type="provider_error", code=error.kind, headers=headers)
