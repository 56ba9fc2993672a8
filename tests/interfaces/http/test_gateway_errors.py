"""What the gateway itself refuses, and what it makes of failures that came without a reply."""

import pytest

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
from interfaces.http.gateway_errors import error_of, error_of_status


@pytest.mark.parametrize(
    ("error", "status", "kind", "param"),
    [
        (Rejected("no", fields=("model",)), 400, "invalid_request_error", "model"),
        (NotFound("no"), 404, "invalid_request_error", None),
        (Conflict("no"), 409, "conflict_error", None),
        (Unavailable("no"), 503, "server_error", None),
        (NotAuthenticated("no"), 401, "invalid_request_error", None),
        (NotAllowed("no", needed="write"), 403, "permission_error", None),
        (TooMany("no", retry_after_seconds=4.2), 429, "requests", None),
        (ProviderFailed("no", call_id="c", kind="connection"), 502, "provider_error", None),
        (ProviderFailed("no", call_id="c", kind="timeout"), 504, "provider_error", None),
        (ProviderFailed("no", call_id="c", kind="bad_request"), 400, "provider_error", None),
        (ProviderFailed("no", call_id="c", kind="rate_limited", http_status=429), 429, "provider_error", None),
        (ProviderFailed("no", call_id="c", kind="malformed_response", http_status=200), 502, "provider_error", None),
    ],
)
def test_a_family_of_errors_has_a_status_and_a_type(
    error: StudyError, status: int, kind: str, param: str | None
) -> None:
    found = error_of(error)
    assert (found.status, found.type, found.param, found.message) == (status, kind, param, "no")
    assert found.headers.get("Retry-After") == {Unavailable: "5", TooMany: "5"}.get(type(error))
    assert found.headers.get("x-sq-call-id") == ("c" if kind == "provider_error" else None)


def test_an_error_is_the_same_whole_and_as_the_last_event_of_a_stream() -> None:
    error = error_of_status(404, 'no "model"', code="model_not_found")
    body = (
        b'{"error":{"message":"no \\"model\\"","type":"invalid_request_error","param":null,"code":"model_not_found"}}'
    )
    assert (error.body(), error.event()) == (body, b"data: " + body + b"\n\n")
