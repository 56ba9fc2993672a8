"""Errors as problem details (RFC 9457): one table from error family to status."""

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, SerializationException
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from msgspec import UNSET, Struct, UnsetType

from application.group_calls import GroupExists
from application.providers import AttemptFailed
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

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 5

STATUSES: Mapping[type[Exception], HTTPStatus] = {
    Rejected: HTTPStatus.BAD_REQUEST,
    NotAuthenticated: HTTPStatus.UNAUTHORIZED,
    NotAllowed: HTTPStatus.FORBIDDEN,
    TooMany: HTTPStatus.TOO_MANY_REQUESTS,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    ProviderFailed: HTTPStatus.BAD_GATEWAY,
    AttemptFailed: HTTPStatus.BAD_GATEWAY,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}

TITLES: Mapping[HTTPStatus, tuple[str, str]] = {
    HTTPStatus.BAD_REQUEST: ("rejected", "The request is not valid"),
    HTTPStatus.UNAUTHORIZED: ("not-authenticated", "The request needs a token that is known"),
    HTTPStatus.FORBIDDEN: ("forbidden", "The request may not be made from here, or with this token"),
    HTTPStatus.NOT_FOUND: ("not-found", "There is no such thing"),
    HTTPStatus.METHOD_NOT_ALLOWED: ("method-not-allowed", "The address does not take this method"),
    HTTPStatus.CONFLICT: ("conflict", "The request contradicts what is recorded"),
    HTTPStatus.REQUEST_TIMEOUT: ("too-slow", "The body did not come in time"),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("too-large", "The request is too large"),
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE: ("no-such-range", "The file has no such range"),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: ("unsupported-media-type", "The body's media type is not taken"),
    HTTPStatus.TOO_MANY_REQUESTS: ("too-many-requests", "The token has asked too much just now"),
    HTTPStatus.BAD_GATEWAY: ("provider-failed", "The provider failed"),
    HTTPStatus.SERVICE_UNAVAILABLE: ("unavailable", "The store can't be reached just now"),
    HTTPStatus.INTERNAL_SERVER_ERROR: ("unexpected", "Something unexpected went wrong"),
}

EXAMPLES: Mapping[int, dict[str, Any]] = {
    400: {"detail": "n: Expected `int` >= 1", "fields": ["n"]},
    401: {"detail": "This server asks for a token: send `Authorization: Bearer TOKEN`"},
    403: {"detail": "The token 'ci' has the scope read, and POST /api/calls needs write"},
    404: {"detail": "There is no call 0195512a-7c00-7000-8000-000000000001"},
    409: {
        "detail": "The name 'intents' stands for a dataset with other content; choose another name",
        "existing_id": "0195512a-7c00-7000-8000-000000000001",
    },
    413: {"detail": "The body is larger than 20,000,000 bytes"},
    408: {"detail": "Nothing more of the body came for 30 s"},
    415: {
        "detail": (
            "The body is application/x-www-form-urlencoded; send JSON under its name: "
            "-H 'Content-Type: application/json' for curl"
        )
    },
    416: {"detail": "The file has 18,128 bytes, and none in 'bytes=20000-'"},
    429: {
        "detail": "The token 'ci' has made more requests than STUDY_TOKEN_RATE allows, 100 a second; ask more slowly"
    },
    502: {"detail": "rate_limited: slow down", "call_id": "0195512a-7c00-7000-8000-000000000001"},
    503: {"detail": "The store did not answer within 5 s"},
}

log = structlog.get_logger(__name__)


class Problem(Struct, frozen=True, kw_only=True):
    """What went wrong. `fields` names the places at fault; the ids name what is recorded of it."""

    type: str
    title: str
    status: int
    detail: str
    fields: list[str] = []
    existing_id: str | UnsetType | None = UNSET
    call_id: str | UnsetType = UNSET
    group_id: str | UnsetType = UNSET


class TooLarge(HTTPException):
    """A part of a body that has a limit of its own."""

    status_code = int(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)


class TooSlow(HTTPException):
    """A body of which nothing more comes."""

    status_code = int(HTTPStatus.REQUEST_TIMEOUT)


def problem(status: HTTPStatus, detail: str, **more: Any) -> Problem:
    """A problem of a status."""
    name, title = TITLES.get(status, ("refused", status.phrase))
    return Problem(type=f"urn:study-query-llm:problem:{name}", title=title, status=int(status), detail=detail, **more)


def problem_responses(*statuses: int, to_anybody: bool = False) -> dict[int, ResponseSpec]:
    """What a route's documentation says of its problems; those of tokens are every route's but those to anybody."""
    of_tokens = () if to_anybody else (401, 403, 429)
    return {
        status: ResponseSpec(
            data_container=Problem,
            media_type=MEDIA_TYPE,
            generate_examples=False,
            description=TITLES[HTTPStatus(status)][1],
            examples=[Example(value=msgspec.to_builtins(problem(HTTPStatus(status), **EXAMPLES[status])))],
        )
        for status in sorted({*statuses, *of_tokens})
    }


def already_there(description: str) -> dict[int, ResponseSpec]:
    """What a route's documentation says of a 200 beside its 201."""
    return {200: ResponseSpec(data_container=dict[str, Any], generate_examples=False, description=description)}


def problem_of(error: Exception) -> Problem:
    """An error of ours, or a provider's."""
    status = next(status for family, status in STATUSES.items() if isinstance(error, family))
    more: dict[str, Any] = {}
    if isinstance(error, Rejected):
        more["fields"] = list(error.fields)
    if isinstance(error, Conflict):
        more["existing_id"] = error.existing_id
    if isinstance(error, GroupExists):
        more["group_id"] = str(error.group_id)
    if isinstance(error, ProviderFailed):
        more["call_id"] = error.call_id
        if error.fields:
            more["fields"] = list(error.fields)
    return problem(status, str(error), **more)


def headers_of(error: Exception) -> dict[str, str]:
    """What an error's answer says in its headers: when to try again, and what to come with."""
    match error:
        case Unavailable():
            return {"Retry-After": str(RETRY_AFTER_SECONDS)}
        case TooMany(retry_after_seconds=seconds):
            return {"Retry-After": str(max(1, math.ceil(seconds)))}
        case NotAuthenticated(presented=presented):
            wrong = ', error="invalid_token"' if presented else ""
            return {"WWW-Authenticate": f'Bearer realm="study-query-llm"{wrong}'}
        case NotAllowed(needed=needed) if needed is not None:
            scope = f'error="insufficient_scope", scope="{needed}"'
            return {"WWW-Authenticate": f'Bearer realm="study-query-llm", {scope}'}
    return {}


def of_study_error(_request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """An error of ours, or a provider's, as an answer."""
    return _response(problem_of(error), headers_of(error))


def of_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """An error of the framework: no route, wrong method, a body that doesn't fit."""
    status = HTTPStatus(error.status_code)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return of_unexpected_error(request, error)
    faults = [_fault(message) for message in error.extra or ()]
    headers = {name: value for name, value in (error.headers or {}).items() if name.lower() == "allow"}
    told = problem(status, _detail(request, error, faults), fields=[field for field, _ in faults if field])
    return _response(told, headers)


def _detail(request: Request[Any, Any, Any], error: HTTPException, faults: list[tuple[str, str]]) -> str:
    if error.status_code == HTTPStatus.NOT_FOUND:
        return f"There is nothing at {request.url.path}"
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"{request.url.path} does not take {request.method}"
    if isinstance(error, TooLarge | TooSlow):
        return error.detail
    if error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return f"The body is larger than {request.route_handler.resolve_request_max_body_size():,} bytes"
    if isinstance(error.__cause__, SerializationException):
        return f"The body is not JSON: {error.detail}"
    return "; ".join(f"{field}: {text}" if field else text for field, text in faults) or error.detail


def of_unexpected_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """A defect of ours: logged whole, told without its insides."""
    log.error("unexpected error", path=request.url.path, exc_info=error)
    detail = "The server's log tells more under this answer's x-request-id"
    return _response(problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail))


HANDLERS: dict[int | type[Exception], Any] = {
    **dict.fromkeys((StudyError, AttemptFailed), of_study_error),
    HTTPException: of_http_error,
    Exception: of_unexpected_error,
}


def _fault(message: Any) -> tuple[str, str]:
    """The field at fault and what is wrong with it, from the framework's message about a body or a parameter."""
    text, key = str(message["message"]), str(message.get("key", ""))
    if text == "'data'":
        return "", "The body is empty; send JSON"
    path = "" if key == "data" else key
    if text.startswith(("Object contains unknown field", "Object missing required field")):
        name = text.split("`")[1]
        path = f"{path}.{name}" if path else name
    return path, text


def _response(told: Problem, headers: Mapping[str, str] | None = None) -> Response[bytes]:
    return Response(
        content=msgspec.json.encode(told), status_code=told.status, media_type=MEDIA_TYPE, headers=dict(headers or {})
    )
