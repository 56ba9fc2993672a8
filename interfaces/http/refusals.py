"""How a request is refused before a route sees it: as problem details, or, for the gateway, in OpenAI's shape."""

from typing import Any

import msgspec
from litestar import Request, Response

from domain.errors import NotAllowed, NotAuthenticated, StudyError, TooMany
from interfaces.http.gateway_errors import error_of
from interfaces.http.problems import MEDIA_TYPE, headers_of, problem_of

GATEWAY = "/v1/"
JSON = "application/json"


def of_refusal(request: Request[Any, Any, Any], error: StudyError) -> Response[bytes]:
    """The answer to who may not ask this route; handles what its guard raises."""
    status, headers, body = refusal(request.url.path, error)
    return Response(body, status_code=status, headers=headers, media_type=headers["Content-Type"])


REFUSALS: dict[int | type[Exception], Any] = dict.fromkeys((NotAuthenticated, NotAllowed, TooMany), of_refusal)


def refusal(path: str, error: StudyError) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an answer that refuses, in the shape that the clients of that path understand."""
    if path.startswith(GATEWAY):
        told = error_of(error)
        return told.status, {**told.headers, "Content-Type": JSON}, told.body()
    problem = problem_of(error)
    return problem.status, {**headers_of(error), "Content-Type": MEDIA_TYPE}, msgspec.json.encode(problem)
