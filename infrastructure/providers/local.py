"""The provider that needs no key and no network. It is not a language model: it neither understands nor writes.

local-ngrams compares texts by their words and spelling; local-extract answers with pieces of the prompt. Both give the
same bytes for the same request, always. They let everything else be tried out; don't take them for a baseline of what
language models can do.
"""

import asyncio
from base64 import b64encode
from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

from application.providers import (
    AttemptFailed,
    ChatRequest,
    EmbeddingsRequest,
    Operation,
    PreparedRequest,
    ProviderAnswer,
    Transcript,
)
from domain.calls import AttemptError, Tokens
from domain.errors import Rejected
from domain.identity import sha256_hex
from infrastructure.providers import local_extract
from infrastructure.providers.event_stream import DONE, ChunkedChat, ServerEvent
from infrastructure.providers.local_ngrams import (
    DEFAULT_DIMENSIONS,
    LEAST_DIMENSIONS,
    MOST_DIMENSIONS,
    embed_ngrams,
)
from infrastructure.providers.wire_format import chat_body, embeddings_body

EXTRACT, NGRAMS = "local-extract", "local-ngrams"
TEXT_PATH = ("choices", "0", "message", "content")

# Beyond this, the event loop would notice; below it, a thread costs more than the work.
MOST_TEXTS_ON_THE_LOOP = 32
MOST_CHARACTERS_ON_THE_LOOP = 8_000


class _Chat(Struct):
    messages: list[dict[str, Any]]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None


class _Embeddings(Struct):
    input: list[str]
    dimensions: int = DEFAULT_DIMENSIONS


class LocalProvider:
    """Implements the port Provider in this process. A token is what stands between blanks."""

    name = "local"
    endpoint = "local"

    def prepare_chat(self, request: ChatRequest) -> PreparedRequest:
        """Raises Rejected for another model, no messages, or a limit that isn't a positive whole number.

        Of the parameters only max_tokens and max_completion_tokens have an effect; all are recorded.
        """
        _check_model(request.model, EXTRACT, "chats")
        if not request.messages:
            raise Rejected("local-extract needs at least one message to answer", fields=("messages",))
        for limit in ("max_tokens", "max_completion_tokens"):
            value = request.parameters.get(limit)
            if value is not None and (type(value) is not int or value < 1):
                raise Rejected(f"{limit} must be a whole number of at least 1, not {value!r}", fields=(limit,))
        return self._prepared("chat", EXTRACT, chat_body(EXTRACT, request))

    def prepare_embeddings(self, request: EmbeddingsRequest) -> PreparedRequest:
        """Raises Rejected for another model, no texts, or dimensions out of range."""
        _check_model(request.model, NGRAMS, "embeddings")
        if not request.texts:
            raise Rejected("local-ngrams needs at least one text to embed", fields=("texts",))
        if request.dimensions is not None and not LEAST_DIMENSIONS <= request.dimensions <= MOST_DIMENSIONS:
            raise Rejected(
                f"local-ngrams embeds into {LEAST_DIMENSIONS} to {MOST_DIMENSIONS} dimensions, "
                f"not {request.dimensions}",
                fields=("dimensions",),
            )
        return self._prepared("embeddings", NGRAMS, embeddings_body(NGRAMS, request))

    async def send(self, prepared: PreparedRequest, *, timeout_seconds: float) -> ProviderAnswer:
        """Answer, in a thread when it takes long. Raises AttemptFailed for a body of another shape, or too slow."""
        started = perf_counter()
        work = _answer_chat if prepared.operation == "chat" else _answer_embeddings
        try:
            async with asyncio.timeout(timeout_seconds):
                if _is_small(prepared):
                    return work(prepared, started)
                return await asyncio.to_thread(work, prepared, started)
        except TimeoutError:
            message = f"local did not answer within {timeout_seconds:g} s; send fewer texts at once"
            error = AttemptError(kind="timeout", message=message, transient=True)
        except msgspec.MsgspecError as reason:
            message = f"local can't read this {prepared.operation} request: {reason}"
            error = AttemptError(kind="bad_request", message=message, transient=False)
        raise AttemptFailed(error, latency_ms=_ms_since(started))

    async def stream(
        self, prepared: PreparedRequest, *, timeout_seconds: float, transcript: Transcript
    ) -> ProviderAnswer:
        """The same answer, a word to a chunk, in the bytes that a server would send."""
        started = perf_counter()
        answer = await self.send(prepared, timeout_seconds=timeout_seconds)
        chat = ChunkedChat()
        try:
            for chunk in _chunks(answer):
                transcript.body += b"data: " + chunk + b"\n\n"
                if text := chat.take(ServerEvent("", chunk)):
                    transcript.first_token_ms = transcript.first_token_ms or _ms_since(started)
                    transcript.tell(text)
                await asyncio.sleep(0)  # so that each word is seen before the next one comes
            transcript.body += b"data: " + DONE + b"\n\n"
        finally:
            transcript.completion = chat.completion()
            transcript.latency_ms = _ms_since(started)
        return structs.replace(
            answer,
            body=transcript.body,
            media_type=transcript.media_type,
            completion=transcript.completion,
            latency_ms=transcript.latency_ms,
            first_token_ms=transcript.first_token_ms,
        )

    async def models(self) -> list[str]:
        """Both, always."""
        return [EXTRACT, NGRAMS]

    async def aclose(self) -> None:
        """There is nothing to close."""

    def _prepared(self, operation: Operation, model: str, body: bytes) -> PreparedRequest:
        return PreparedRequest(provider=self.name, endpoint=self.endpoint, operation=operation, model=model, body=body)


def _check_model(asked: str | None, offered: str, purpose: str) -> None:
    if asked not in (None, offered):
        raise Rejected(
            f"local has no model {asked!r} for {purpose}; it has {EXTRACT} for chats and {NGRAMS} for embeddings",
            fields=("model",),
        )


def _is_small(prepared: PreparedRequest) -> bool:
    return len(prepared.body) <= MOST_CHARACTERS_ON_THE_LOOP and (
        prepared.operation == "chat" or prepared.body.count(b'","') < MOST_TEXTS_ON_THE_LOOP
    )


def _answer_chat(prepared: PreparedRequest, started: float) -> ProviderAnswer:
    chat = msgspec.json.decode(prepared.body, type=_Chat)
    words = local_extract.answer(_last_user_message(chat.messages)).split()
    limits = [limit for limit in (chat.max_tokens, chat.max_completion_tokens) if limit is not None]
    kept = words[: min(limits, default=len(words))]
    text, finish_reason = " ".join(kept), "length" if len(kept) < len(words) else "stop"
    prompt_tokens = sum(len(_text_of(message).split()) for message in chat.messages)
    tokens = Tokens(prompt=prompt_tokens, completion=len(kept), total=prompt_tokens + len(kept))
    body = {
        "id": f"chatcmpl-{sha256_hex(prepared.body)[:32]}",
        "object": "chat.completion",
        "created": 0,  # a time would make equal answers differ
        "model": EXTRACT,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}],
        "usage": {
            "prompt_tokens": tokens.prompt,
            "completion_tokens": tokens.completion,
            "total_tokens": tokens.total,
        },
    }
    return ProviderAnswer(
        body=msgspec.json.encode(body),
        media_type="application/json",
        http_status=None,
        headers={},
        model=EXTRACT,
        tokens=tokens,
        latency_ms=_ms_since(started),
        text=text,
        text_path=TEXT_PATH,
        finish_reason=finish_reason,
    )


def _chunks(answer: ProviderAnswer) -> Iterator[bytes]:
    """A chat answer as chunks: its words, why it ended, and what it cost."""
    whole = msgspec.json.decode(answer.body)
    about = {"id": whole["id"], "object": "chat.completion.chunk", "created": 0, "model": EXTRACT}
    words = (answer.text or "").split(" ")
    deltas = [({"content": f" {word}" if place else word}, None) for place, word in enumerate(words)]
    for delta, finish_reason in [*deltas, ({}, answer.finish_reason)]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        yield msgspec.json.encode({**about, "choices": [choice]})
    yield msgspec.json.encode({**about, "choices": [], "usage": whole["usage"]})


def _answer_embeddings(prepared: PreparedRequest, started: float) -> ProviderAnswer:
    asked = msgspec.json.decode(prepared.body, type=_Embeddings)
    vectors = embed_ngrams(asked.input, asked.dimensions)
    count = sum(len(text.split()) for text in asked.input)
    body = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": encoded}
            for index, encoded in enumerate(_base64_rows(vectors))
        ],
        "model": NGRAMS,
        "usage": {"prompt_tokens": count, "total_tokens": count},
    }
    return ProviderAnswer(
        body=msgspec.json.encode(body),
        media_type="application/json",
        http_status=None,
        headers={},
        model=NGRAMS,
        tokens=Tokens(prompt=count, total=count),
        latency_ms=_ms_since(started),
        vectors=vectors,
    )


def _last_user_message(messages: Sequence[dict[str, Any]]) -> str:
    spoken = [message for message in messages if message.get("role") == "user"] or messages
    return _text_of(spoken[-1])


def _text_of(message: dict[str, Any]) -> str:
    """The message's text, also where it comes in OpenAI's content parts; pictures and sound have none."""
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(str(part["text"]) for part in content if isinstance(part, dict) and "text" in part)
    return content if isinstance(content, str) else ""


def _base64_rows(vectors: NDArray[np.float32]) -> list[str]:
    return [b64encode(row.tobytes()).decode("ascii") for row in vectors.astype("<f4")]


def _ms_since(started: float) -> float:
    return (perf_counter() - started) * 1000
