"""OpenAI's JSON, which every provider here speaks: requests out, answers in. Nobody else knows it.

Answers are read leniently, since servers differ and an answer has been paid for: only what would make a text or a
vector a wrong one is an error.
"""

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
from domain.errors import Rejected

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
    """The body is not the answer to what was asked; the text says why, `transient` whether another may be."""

    def __init__(self, reason: str, *, transient: bool = True) -> None:
        super().__init__(reason)
        self.transient = transient


class _Message(Struct):
    content: Any = None
    refusal: Any = None


class _Choice(Struct):
    message: _Message | None = None
    finish_reason: Any = None
    index: Any = None


class _Chat(Struct):
    choices: list[_Choice]
    model: Any = None
    usage: Any = None


class _Embedding(Struct):
    embedding: str | list[float]
    index: int | None = None


class _Embeddings(Struct):
    data: list[_Embedding]
    model: Any = None
    usage: Any = None


class _Model(Struct):
    id: str


class _Models(Struct):
    data: list[_Model]


def chat_body(model: str, request: ChatRequest) -> bytes:
    """The JSON of a chat completion: nothing in it that was not asked for. Raises Rejected for what can't be sent."""
    asked = {
        name: value
        for name, value in request.parameters.items()
        if value is not None and name not in {"model", "messages"}
    }
    if asked.pop("stream", False):
        raise Rejected("stream is no parameter of the model: ask for a stream instead", fields=("stream",))
    if request.stream:
        asked |= {"stream": True, "stream_options": {"include_usage": True}}
    return _encoded({"model": model, "messages": request.messages, **asked}, field="messages")


def embeddings_body(model: str, request: EmbeddingsRequest) -> bytes:
    """The JSON of an embedding request; base64 keeps every bit of the vectors. Raises Rejected as chat_body does."""
    body: dict[str, Any] = {"model": model, "input": request.texts, "encoding_format": "base64"}
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    return _encoded(body, field="texts")


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
    found: _Chat | _Embeddings
    text: tuple[str | None, tuple[str, ...] | None, str | None] = None, None, None
    vectors = None
    try:
        body.decode()  # what is skipped must be UTF-8 too, or the record could not be read as JSON
        if prepared.operation == "chat":
            found = msgspec.json.decode(body, type=_Chat)
            text = _first_text(found.choices)
        else:
            found = msgspec.json.decode(body, type=_Embeddings)
            asked = msgspec.json.decode(prepared.body)
            vectors = _in_order(found.data, count=_inputs(asked["input"]), dimensions=asked.get("dimensions"))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"the answer is no {prepared.operation} answer: {error}") from None
    return ProviderAnswer(
        body=body,
        media_type="application/json",
        http_status=status,
        headers=kept_headers(headers),
        model=_string(found.model) or prepared.model,
        tokens=_tokens(found.usage),
        latency_ms=latency_ms,
        text=text[0],
        text_path=text[1],
        finish_reason=text[2],
        vectors=vectors,
    )


def read_models(body: bytes) -> list[str]:
    """The ids in an answer to GET /models, sorted; servers answer with {"data": […]} or a bare list."""
    try:
        found = msgspec.json.decode(body, type=_Models | list[_Model])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"the answer is no list of models: {error}") from None
    return sorted({model.id for model in (found.data if isinstance(found, _Models) else found)})


def _encoded(body: dict[str, Any], *, field: str) -> bytes:
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:
        raise Rejected(f"The {field} hold half a character (a lone surrogate): clean them", fields=(field,)) from None
    except (TypeError, ValueError) as error:
        raise Rejected(f"The request can't be written as JSON: {error}", fields=("parameters",)) from None


def _first_text(choices: list[_Choice]) -> tuple[str | None, tuple[str, ...] | None, str | None]:
    """The text of the choice with index 0, its path, and why it ended; a refusal is a text, a tool call is none."""
    if not choices:
        raise Malformed("the answer has no choices")
    place = next((place for place, choice in enumerate(choices) if choice.index == 0), 0)
    choice, path = choices[place], ("choices", str(place), "message")
    message, ended = choice.message or _Message(), _string(choice.finish_reason)
    if isinstance(message.content, list):
        parts = [
            (str(at), part["text"])
            for at, part in enumerate(message.content)
            if isinstance(part, dict) and isinstance(part.get("text"), str)
        ]
        if len(parts) == 1:
            return parts[0][1], (*path, "content", parts[0][0], "text"), ended
        return ("".join(said for _, said in parts) or None), None, ended
    if isinstance(message.content, str):
        return message.content, (*path, "content"), ended
    if isinstance(message.refusal, str):
        return message.refusal, (*path, "refusal"), ended
    return None, None, ended


def _inputs(given: Any) -> int:
    """How many vectors an input wants: one for a text or for its tokens, else one for each."""
    one = isinstance(given, str) or (isinstance(given, list) and bool(given) and isinstance(given[0], int))
    return 1 if one else len(given)


def _in_order(data: list[_Embedding], *, count: int, dimensions: int | None) -> NDArray[np.float32]:
    """(count, d) float32, each row where its `index` says; without any index, in the order of the texts."""
    if len(data) != count:
        raise Malformed(f"{len(data)} vectors for {count} texts")
    # One may be missing, since servers that omit zeros do so; of two, nobody can say which is whose.
    if 1 < sum(each.index is None for each in data) < count:
        raise Malformed("some vectors have an index and several have none")
    rows: list[NDArray[np.float32] | None] = [None] * count
    for place, each in enumerate(data):
        index = place if each.index is None else each.index
        if not 0 <= index < count or rows[index] is not None:
            raise Malformed(f"the index {index} stands twice or names no text")
        rows[index] = _vector(each.embedding)
    filled = [row for row in rows if row is not None]
    found = {len(row) for row in filled}
    if len(found) != 1 or 0 in found:
        raise Malformed(f"vectors of {sorted(found)} dimensions in one answer")
    if dimensions is not None and found != {dimensions}:
        # Asking again would cost again: the model has this length and no other.
        raise Malformed(f"vectors of {found.pop()} dimensions, not {dimensions} as asked", transient=False)
    vectors = np.stack(filled)
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        raise Malformed(f"the vector of text {int(np.argmin(finite))} is not finite")
    return vectors


def _vector(value: str | list[float]) -> NDArray[np.float32]:
    if isinstance(value, list):
        with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is found by that
            return np.array(value, dtype=np.float32)
    try:
        return np.frombuffer(base64.b64decode(value, validate=True), dtype="<f4").astype(np.float32)
    except (binascii.Error, ValueError):
        raise Malformed("a vector is not base64 of 32-bit floats") from None


def _tokens(usage: Any) -> Tokens:
    if not isinstance(usage, dict):
        return Tokens()
    details = usage.get("prompt_tokens_details")
    return Tokens(
        prompt=_count(usage.get("prompt_tokens")),
        completion=_count(usage.get("completion_tokens")),
        total=_count(usage.get("total_tokens")),
        cached=_count(details.get("cached_tokens")) if isinstance(details, dict) else None,
    )


def _count(value: Any) -> int | None:
    """A count, also one written as 12.0; None for anything else."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and value >= 0 else None


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) else None
