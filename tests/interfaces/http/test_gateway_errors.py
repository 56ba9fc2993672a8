"""What the gateway itself refuses, and what it makes of failures that came without a reply."""

import pytest

from application.check_tokens import Caller
from domain.errors import Conflict, NotFound, ProviderFailed, Rejected, StudyError, Unavailable
from interfaces.http.gateway_errors import error_of, error_of_status, refusal_of


@pytest.mark.parametrize(
    ("error", "status", "kind", "param"),
    [
        (Rejected("no", fields=("model",)), 400, "invalid_request_error", "model"),
        (NotFound("no"), 404, "invalid_request_error", None),
        (Conflict("no"), 409, "conflict_error", None),
        (Unavailable("no"), 503, "service_unavailable_error", None),
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
    assert found.headers.get("retry-after") == ("5" if status == 503 else None)
    assert found.headers.get("x-sq-call-id") == ("c" if kind == "provider_error" else None)


def test_an_error_is_the_same_whole_and_as_the_last_event_of_a_stream() -> None:
    error = error_of_status(404, 'no "model"', code="model_not_found")
    body = (
        b'{"error":{"message":"no \\"model\\"","type":"invalid_request_error","param":null,"code":"model_not_found"}}'
    )
    assert (error.body(), error.event()) == (body, b"data: " + body + b"\n\n")


def test_looking_needs_a_token_that_reads_and_asking_one_that_writes() -> None:
    unknown = refusal_of({"caller": None}, "GET")
    assert unknown is not None
    assert (unknown.status, unknown.code, unknown.headers) == (401, "invalid_api_key", {"www-authenticate": "Bearer"})
    refused = refusal_of({"caller": Caller("ada", "read")}, "POST")
    assert refused is not None
    assert (refused.status, refused.code, "'ada'" in refused.message) == (403, "insufficient_permissions", True)
    assert refusal_of({"caller": Caller("ada", "read")}, "GET") is None
    assert refusal_of({"caller": Caller("ada", "write")}, "POST") is None
    assert refusal_of({"caller": Caller("ada", "admin")}, "POST") is None
