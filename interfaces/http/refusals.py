"""How a request is refused before a route sees it: as problem details, or, for the gateway, in OpenAI's shape."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response

from domain.errors import NotAllowed, NotAuthenticated, StudyError, TooMany
from interfaces.http.problems import MEDIA_TYPE, Problem, headers_of, problem_of

GATEWAY = "/v1/"
JSON = "application/json"

# What OpenAI's clients tell errors apart by: `type` and `code` of the error object.
OPENAI_KINDS: Mapping[int, tuple[str, str | None]] = {
    HTTPStatus.UNAUTHORIZED: ("invalid_request_error", "invalid_api_key"),
    HTTPStatus.FORBIDDEN: ("permission_error", "insufficient_permissions"),
    HTTPStatus.TOO_MANY_REQUESTS: ("requests", "rate_limit_exceeded"),
    HTTPStatus.SERVICE_UNAVAILABLE: ("server_error", "store_unavailable"),
}


def openai_error(told: Problem) -> dict[str, Any]:
    """A problem as OpenAI's API would tell it: {"error": {message, type, param, code}}."""
    kind, code = OPENAI_KINDS.get(
        told.status, ("server_error" if told.status >= 500 else "invalid_request_error", None)
    )
    param = told.fields[0] if told.fields else None
    return {"error": {"message": told.detail, "type": kind, "param": param, "code": code}}


def of_refusal(request: Request[Any, Any, Any], error: StudyError) -> Response[bytes]:
    """The answer to who may not ask this route; handles what its guard raises."""
    status, headers, body = refusal(request.url.path, error)
    return Response(body, status_code=status, headers=headers, media_type=headers["Content-Type"])


REFUSALS: dict[int | type[Exception], Any] = dict.fromkeys((NotAuthenticated, NotAllowed, TooMany), of_refusal)


def refusal(path: str, error: StudyError) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an answer that refuses, in the shape that the clients of that path understand."""
    told = problem_of(error)
    shaped: Any = openai_error(told) if path.startswith(GATEWAY) else told
    media_type = JSON if path.startswith(GATEWAY) else MEDIA_TYPE
    return told.status, {**headers_of(error), "Content-Type": media_type}, msgspec.json.encode(shaped)
