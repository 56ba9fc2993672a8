"""The gateway's own errors, in the shape that clients of OpenAI's API read. Providers' own pass through."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import Struct

from application.check_tokens import Caller
from domain.errors import (
    Conflict,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    ProviderFailed,
    Rejected,
    StudyError,
    TooMany,
    Unavailable,
)
from domain.tokens import Scope, allows
from interfaces.http.problems import RETRY_AFTER_SECONDS

FAMILIES: tuple[tuple[type[StudyError], HTTPStatus, str], ...] = (
    (Rejected, HTTPStatus.BAD_REQUEST, "invalid_request_error"),
    (NotFound, HTTPStatus.NOT_FOUND, "invalid_request_error"),
    (Conflict, HTTPStatus.CONFLICT, "conflict_error"),
    (NotAuthenticated, HTTPStatus.UNAUTHORIZED, "authentication_error"),
    (NotAllowed, HTTPStatus.FORBIDDEN, "permission_error"),
    (TooMany, HTTPStatus.TOO_MANY_REQUESTS, "rate_limit_error"),
    (Unavailable, HTTPStatus.SERVICE_UNAVAILABLE, "service_unavailable_error"),
)
TYPES = {
    401: "authentication_error",
    403: "permission_error",
    409: "conflict_error",
    429: "rate_limit_error",
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
    status, named = next(((status, named) for family, status, named in FAMILIES if isinstance(error, family)))
    fields = error.fields if isinstance(error, Rejected) else ()
    return GatewayError(
        status=int(status),
        message=str(error),
        type=named,
        param=fields[0] if fields else None,
        headers={"retry-after": str(RETRY_AFTER_SECONDS)} if isinstance(error, Unavailable) else {},
    )


def error_of_status(status: int, message: str, *, code: str | None = None, **headers: str) -> GatewayError:
    """An error of the server itself: no such address, a body too large, a defect."""
    kind = "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else TYPES.get(status, "invalid_request_error")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return GatewayError(status=status, message=message, type=kind, code=code, headers=named)


def refusal_of(state: Mapping[str, Any], method: str) -> GatewayError | None:
    """Why somebody is not let in, None where they are: looking needs the scope read, asking the scope write.

    state: the request's, in which the gate has left the `caller`: None for somebody unknown
    """
    caller: Caller | None = state["caller"]
    needed: Scope = "read" if method in ("GET", "HEAD") else "write"
    if caller is None:
        said = "Give a token of this server as the API key; whoever runs it makes one with `study token issue`"
        return error_of_status(401, said, code="invalid_api_key", www_authenticate="Bearer")
    if not allows(caller.scope, needed):
        said = f"The token {caller.name!r} has the scope {caller.scope}, and this needs {needed}"
        return error_of_status(403, said, code="insufficient_permissions")
    return None


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
