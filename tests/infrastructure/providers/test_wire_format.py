"""What answers of all kinds of servers are read as, byte by byte, and what is taken out of their errors."""

import base64
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import pytest

from application.providers import ChatRequest, EmbeddingsRequest, PreparedRequest, ProviderAnswer
from domain.calls import Tokens
from domain.errors import Rejected
from infrastructure.providers.attempt import endpoint_identity
from infrastructure.providers.failures import Redactor, refused, reported_status
from infrastructure.providers.wire_format import Malformed, chat_body, embeddings_body, read_answer, read_models

USER = ({"role": "user", "content": "hello"},)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def read(operation: str, body: Any, request: Any = None) -> ProviderAnswer:
    sent = msgspec.json.encode(request or {"input": ["a", "b"]})
    prepared = PreparedRequest(provider="p", endpoint="e", operation=operation, model="asked", body=sent)
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return read_answer(prepared, content, status=200, headers={}, latency_ms=1.0)


def said(message: dict[str, Any], **choice: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop", **choice}]}


def vectors(*rows: Any) -> dict[str, Any]:
    return {"data": [{"index": index, "embedding": row} for index, row in enumerate(rows)]}


def test_the_order_of_keys_is_fixed_and_nothing_is_sent_unasked() -> None:
    asked = ChatRequest(model=None, messages=USER, parameters={"temperature": 0.5, "seed": None, "model": "other"})
    assert chat_body("m", asked) == (b'{"model":"m","messages":[{"role":"user","content":"hello"}],"temperature":0.5}')
    assert embeddings_body("m", EmbeddingsRequest(model=None, texts=("a",), dimensions=3)) == (
        b'{"model":"m","input":["a"],"encoding_format":"base64","dimensions":3}'
    )


def test_what_cannot_be_sent_is_refused_before_it_is_paid_for() -> None:
    with pytest.raises(Rejected, match="half a character"):
        embeddings_body("m", EmbeddingsRequest(model=None, texts=("\ud800",)))
    with pytest.raises(Rejected, match="JSON"):
        chat_body("m", ChatRequest(model=None, messages=USER, parameters={"seed": object()}))
    with pytest.raises(Rejected, match="stream"):
        chat_body("m", ChatRequest(model=None, messages=USER, parameters={"stream": True}))


@pytest.mark.parametrize(
    ("answer", "text", "path"),
    [
        (said({"content": "yes"}), "yes", "choices 0 message content"),
        (said({"content": ""}), "", "choices 0 message content"),
        (said({"content": None, "refusal": "I can't"}), "I can't", "choices 0 message refusal"),
        (said({"content": None, "tool_calls": [{"id": "1"}]}), None, None),
        (said({}), None, None),
        ({"choices": [{"finish_reason": 7}]}, None, None),
        (said({"content": [{"type": "text", "text": "part"}]}), "part", "choices 0 message content 0 text"),
        (said({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}), "ab", None),
        (
            {"choices": [{"index": 1, "message": {"content": "b"}}, {"index": 0, "message": {"content": "a"}}]},
            "a",
            "choices 1 message content",
        ),
    ],
)
def test_the_text_of_a_chat_is_found(answer: dict[str, Any], text: str | None, path: str | None) -> None:
    found = read("chat", answer)
    assert found.text == text
    assert found.text_path == (tuple(path.split()) if path else None)
    assert found.model == "asked"


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        (None, Tokens()),
        ("none", Tokens()),
        ({"prompt_tokens": 3.0, "total_tokens": "4"}, Tokens(prompt=3)),
        ({"prompt_tokens": -1, "completion_tokens": True, "total_tokens": 1.5}, Tokens()),
        ({"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": 1}}, Tokens(prompt=1, cached=1)),
        ({"prompt_tokens": 1, "prompt_tokens_details": None}, Tokens(prompt=1)),
    ],
)
def test_odd_token_counts_do_not_cost_an_answer(usage: Any, tokens: Tokens) -> None:
    assert read("chat", said({"content": "x"}) | {"usage": usage}).tokens == tokens


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'{"choices": []}',
        b'{"choices": null}',
        b"data: {}\n\n",
        b'\xef\xbb\xbf{"choices": [{"message": {"content": "x"}}]}',
        b'{"choices": [{"message": {"content": "x"}}], "skipped": "\xff"}',
    ],
)
def test_what_is_no_chat_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        read("chat", body)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (vectors([1.0]), "1 vectors for 2"),
        (vectors([1.0], [2.0], [3.0]), "3 vectors for 2"),
        (vectors([1.0], []), "dimensions"),
        (vectors([], []), "dimensions"),
        (vectors([1.0], [1.0, 2.0]), "dimensions"),
        (vectors([1.0], [1e300]), "text 1 is not finite"),
        (vectors("AAAA", "AAAA"), "base64"),
        (vectors("!", "!"), "base64"),
        (vectors(base64.b64encode(np.float32([np.inf]).tobytes()).decode(), [1.0]), "text 0 is not finite"),
        (b'{"data": [{"index": 0, "embedding": [NaN]}, {"index": 1, "embedding": [1]}]}', "no embeddings answer"),
        ({"data": [{"index": 0, "embedding": [1]}, {"index": 0, "embedding": [1]}]}, "stands twice"),
        ({"data": [{"index": 0, "embedding": [1]}, {"index": 2, "embedding": [1]}]}, "names no text"),
        ({"data": [{"index": -1, "embedding": [1]}, {"index": 0, "embedding": [1]}]}, "names no text"),
        ({"data": [{"index": 0, "embedding": None}, {"index": 1, "embedding": [1]}]}, "no embeddings answer"),
    ],
)
def test_a_vector_that_could_be_wrong_is_malformed(body: Any, reason: str) -> None:
    with pytest.raises(Malformed, match=reason) as malformed:
        read("embeddings", body)
    assert malformed.value.transient


def test_vectors_of_another_length_than_asked_are_not_asked_for_again() -> None:
    with pytest.raises(Malformed, match="2 dimensions, not 3 as asked") as malformed:
        read("embeddings", vectors([1.0, 2.0]), {"input": ["a"], "dimensions": 3})
    assert not malformed.value.transient


def test_vectors_without_an_index_stand_in_the_order_of_the_texts() -> None:
    found = read("embeddings", {"data": [{"embedding": [1, 2]}, {"embedding": [3, 4]}]})
    assert found.vectors is not None
    assert found.vectors.tolist() == [[1, 2], [3, 4]]


def test_models_are_read_from_either_shape() -> None:
    assert read_models(b'{"data": [{"id": "b"}, {"id": "a", "owned_by": "x"}]}') == ["a", "b"]
    assert read_models(b'[{"id": "b"}, {"id": "a"}]') == ["a", "b"]
    with pytest.raises(Malformed):
        read_models(b'{"models": []}')


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"error": {"message": "busy", "code": 503}}', 503),
        (b'{"error": {"message": "busy", "code": "429"}}', 429),
        (b'{"error": "busy"}', 500),
        (b'{"error": null, "choices": []}', None),
        (b'{"error": {"code": 1}, "choices": []}', None),
        (b'{"choices": [{"message": {"content": "\\"error\\""}}]}', None),
        (b'"error" is no JSON', None),
    ],
)
def test_an_error_that_comes_as_a_success_is_an_error(body: bytes, status: int | None) -> None:
    assert reported_status(body) == status


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (b'{"error": {"message": "m", "code": "c", "type": "t"}}', "HTTP 400 c: m", "c"),
        (b'{"error": {"message": "m", "code": null, "type": "t"}}', "HTTP 400 t: m", "t"),
        (b'{"error": "plain"}', "HTTP 400: plain", None),
        (b'{"detail": "unknown model"}', "HTTP 400: unknown model", None),
        (b'{"detail": [{"msg": "field required"}]}', "field required", None),
        (b"<h1>Bad</h1>", "HTTP 400: Bad", None),
        (b"", "HTTP 400", None),
        (b"\xff\xfe", "HTTP 400", None),
    ],
)
def test_an_error_says_what_the_server_said(body: bytes, message: str, code: str | None) -> None:
    error = refused(400, {}, body, latency_ms=1, redact=Redactor(None)).error
    assert message in error.message
    assert error.code == code


def test_azures_filter_is_found_in_the_inner_error() -> None:
    body = b'{"error": {"code": null, "type": null, "innererror": {"code": "ResponsibleAIPolicyViolation"}}}'
    error = refused(400, {}, body, latency_ms=1, redact=Redactor(None)).error
    assert (error.kind, error.transient) == ("content_filter", False)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Thu, 01 Jan 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "Thu, 01 Jan 2026 12:00:30 -0000"}, 30.0),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_retry_after_is_measured_from_the_clock_given(headers: dict[str, str], seconds: float | None) -> None:
    failed = refused(429, headers, b"{}", latency_ms=1, redact=Redactor(None), now=lambda: NOON)
    assert failed.error.retry_after_seconds == seconds


@pytest.mark.parametrize(
    ("key", "echoed", "kept"),
    [
        ("0123456789abcdef0123", "your key 0123456789abcdef0123 is wrong", "your key [key] is wrong"),
        (None, "Incorrect API key provided: sk-proj-ab****cd.", "Incorrect API key provided: [key]"),
        (None, "sent Authorization: Bearer eyJhbGci.x-y_z", "sent Authorization: [key]"),
        (None, "http://me:pw@host/v1?api-key=abc&x=1", "http://[key]host/v1?api-key=[key]&x=1"),
        ("e", "every e here", "every [key] here"),
        ("none", "none of the models", "[key] of the models"),
    ],
)
def test_keys_are_taken_out_of_what_is_echoed(key: str | None, echoed: str, kept: str) -> None:
    assert Redactor(key).text(echoed) == kept


def test_a_successful_answer_loses_nothing_but_the_key_itself() -> None:
    redact = Redactor("0123456789abcdef0123")
    assert redact.own_key(b"sk-live-or-not, Bearer of news, 0123456789abcdef0123") == (
        b"sk-live-or-not, Bearer of news, [key]"
    )
    assert Redactor("none").own_key(b"none at all") == b"none at all"


def test_an_endpoint_is_known_by_its_address_alone() -> None:
    assert endpoint_identity("https://me:pw@Host.example:8443/v1/?key=x#y") == "https://host.example:8443/v1"
    assert endpoint_identity("http://[::1]:80/") == "http://[::1]:80"
