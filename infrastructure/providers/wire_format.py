"""OpenAI's JSON, which every provider here speaks: requests out, answers in. Nobody else knows it."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from application.providers import ChatRequest, EmbeddingsRequest, PreparedRequest, ProviderAnswer
from domain.calls import Tokens

TEXT_PATH = ("choices", "0", "message", "content")
KEPT_HEADERS = frozenset(
    {
        "x-request-id",
        "apim-request-id",
        "x-ms-region",
        "openai-processing-ms",
        "openai-version",
        "openai-model",
        "retry-after",
    }
)
KEPT_PREFIX = "x-ratelimit-"


class Malformed(Exception):
    """The body is not the answer to what was asked; the text says why."""


class _Details(Struct):
    cached_tokens: int | None = None


class _Usage(Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _Details | None = None


class _Message(Struct):
    content: Any = None
    refusal: str | None = None


class _Choice(Struct):
    message: _Message
    finish_reason: str | None = None


class _Chat(Struct):
    choices: list[_Choice]
    model: str | None = None
    usage: _Usage | None = None


class _Embedding(Struct):
    embedding: str | list[float]
    index: int | None = None


class _Embeddings(Struct):
    data: list[_Embedding]
    model: str | None = None
    usage: _Usage | None = None


def chat_body(model: str, request: ChatRequest) -> bytes:
    """The JSON of a chat completion: nothing in it that was not asked for."""
    return msgspec.json.encode({"model": model, "messages": request.messages, **request.parameters})


def embeddings_body(model: str, request: EmbeddingsRequest) -> bytes:
    """The JSON of an embedding request; base64 keeps every bit of the vectors."""
    body: dict[str, Any] = {"model": model, "input": request.texts, "encoding_format": "base64"}
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    return msgspec.json.encode(body)


def kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers worth keeping: request id, rate limits, versions; never a cookie or a key."""
    return {
        name.lower(): value
        for name, value in headers.items()
        if name.lower() in KEPT_HEADERS or name.lower().startswith(KEPT_PREFIX)
    }


def read_answer(
    prepared: PreparedRequest, body: bytes, *, status: int | None, headers: Mapping[str, str], latency_ms: float
) -> ProviderAnswer:
    """Read a successful answer. Raises Malformed when it isn't one, above all when a vector could be a wrong one."""
    try:
        if prepared.operation == "chat":
            return _read_chat(prepared, body, status, headers, latency_ms)
        return _read_embeddings(prepared, body, status, headers, latency_ms)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"the answer is no {prepared.operation} answer: {error}") from None


def _read_chat(
    prepared: PreparedRequest, body: bytes, status: int | None, headers: Mapping[str, str], latency_ms: float
) -> ProviderAnswer:
    found = msgspec.json.decode(body, type=_Chat)
    if not found.choices:
        raise Malformed("the answer has no choices")
    first = found.choices[0]
    text = first.message.content if isinstance(first.message.content, str) else None
    return ProviderAnswer(
        body=body,
        media_type="application/json",
        http_status=status,
        headers=kept_headers(headers),
        model=found.model or prepared.model,
        tokens=_tokens(found.usage),
        latency_ms=latency_ms,
        text=text,
        text_path=TEXT_PATH if text is not None else None,
        finish_reason=first.finish_reason,
    )


def _read_embeddings(
    prepared: PreparedRequest, body: bytes, status: int | None, headers: Mapping[str, str], latency_ms: float
) -> ProviderAnswer:
    found = msgspec.json.decode(body, type=_Embeddings)
    asked = msgspec.json.decode(prepared.body)
    return ProviderAnswer(
        body=body,
        media_type="application/json",
        http_status=status,
        headers=kept_headers(headers),
        model=found.model or prepared.model,
        tokens=_tokens(found.usage),
        latency_ms=latency_ms,
        vectors=_in_order(found.data, count=len(asked["input"]), dimensions=asked.get("dimensions")),
    )


def _in_order(data: list[_Embedding], *, count: int, dimensions: int | None) -> NDArray[np.float32]:
    """(count, d) float32, each row where its `index` says."""
    if len(data) != count:
        raise Malformed(f"{len(data)} vectors for {count} texts")
    rows: list[NDArray[np.float32] | None] = [None] * count
    for place, each in enumerate(data):
        index = place if each.index is None else each.index
        if not 0 <= index < count or rows[index] is not None:
            raise Malformed(f"the index {index} stands twice or names no text")
        rows[index] = _vector(each.embedding)
    filled = [row for row in rows if row is not None]
    found = {len(row) for row in filled}
    if len(found) != 1 or 0 in found or (dimensions is not None and found != {dimensions}):
        raise Malformed(f"vectors of {sorted(found)} dimensions" + (f", not {dimensions}" if dimensions else ""))
    vectors = np.stack(filled)
    if not np.isfinite(vectors).all():
        raise Malformed(f"the vector of text {int(np.argmin(np.isfinite(vectors).all(axis=1)))} is not finite")
    return vectors


def _vector(value: str | list[float]) -> NDArray[np.float32]:
    if isinstance(value, list):
        return np.array(value, dtype=np.float32)
    try:
        return np.frombuffer(base64.b64decode(value, validate=True), dtype="<f4").astype(np.float32)
    except (binascii.Error, ValueError):
        raise Malformed("a vector is not base64 of 32-bit floats") from None


def _tokens(usage: _Usage | None) -> Tokens:
    if usage is None:
        return Tokens()
    return Tokens(
        prompt=usage.prompt_tokens,
        completion=usage.completion_tokens,
        total=usage.total_tokens,
        cached=usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else None,
    )
