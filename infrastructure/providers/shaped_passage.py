"""A client's request to a provider that does not speak OpenAI's protocol: put into the port's words, and back.

What the client gets is in OpenAI's shape: the provider's own JSON where that is so already, else made of its text or
vectors.
"""

import time
from base64 import b64encode
from typing import Any

import msgspec
import numpy as np

from application.providers import (
    AttemptFailed,
    ChatRequest,
    ClientsRequest,
    EmbeddingsRequest,
    PreparedRequest,
    Provider,
    ProviderAnswer,
    Reply,
    Transcript,
)
from domain.calls import Tokens
from domain.errors import Rejected
from domain.identity import sha256_hex
from infrastructure.providers.attempt import milliseconds_since

JSON_HEADERS = ((b"content-type", b"application/json"),)
DONE_EVENT = b"data: [DONE]\n\n"
STREAM_HEADERS = ((b"content-type", b"text/event-stream"),)
# What the answer's shape is made by, and no parameter of the model.
APART = frozenset({"model", "messages", "stream", "stream_options", "metadata", "n"})


class ShapedPassage:
    """Implements the port Passage for any provider."""

    def __init__(self, provider: Provider, request: ClientsRequest) -> None:
        self.reply: Reply | None = None
        self.ended = True  # there is no connection that could break
        self.provider_ms = 0.0
        self._provider = provider
        self._request = request
        self._streams = request.pass_on is not None and hasattr(provider, "stream")
        self._rest = b""
        self._about: dict[str, Any] = {}
        self.prepared = self._prepared_chat() if request.operation == "chat" else self._prepared_embeddings()

    async def send(self, prepared: PreparedRequest, *, timeout_seconds: float) -> ProviderAnswer:
        """See the port."""
        began = time.perf_counter()
        try:
            answer = await self._provider.send(prepared, timeout_seconds=timeout_seconds)
        finally:
            self.provider_ms += milliseconds_since(began)
        self.reply = Reply(status=200, headers=JSON_HEADERS, body=self._shaped(answer))
        return answer

    async def stream(
        self, prepared: PreparedRequest, *, timeout_seconds: float, transcript: Transcript
    ) -> ProviderAnswer:
        """See the port. A provider that can't stream has its answer passed on in one chunk."""
        self.reply = None
        self._about = {
            "id": f"chatcmpl-{sha256_hex(prepared.body)[:32]}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": prepared.model,
        }
        began = time.perf_counter()
        telling = Transcript(lambda text: self._pass_on(transcript, text))
        try:
            if self._streams:
                answer = await self._provider.stream(prepared, timeout_seconds=timeout_seconds, transcript=telling)
            else:
                answer = await self._provider.send(prepared, timeout_seconds=timeout_seconds)
                self._pass_on(transcript, answer.text or "")
        except AttemptFailed:
            self.reply = None  # what is wrong is ours to say, since the provider has no words for it
            raise
        finally:
            self.provider_ms += milliseconds_since(began)
            for name in ("body", "media_type", "completion", "latency_ms", "first_token_ms"):
                setattr(transcript, name, getattr(telling, name))
        self._rest = self._chunk({}, answer.finish_reason or "stop")
        if _wants_usage(self._request):
            self._rest += _event({**self._about, "choices": [], "usage": _usage(answer.tokens)})
        self._rest += DONE_EVENT
        return answer

    def rest(self) -> bytes:
        """See the port."""
        return self._rest

    def again(self, answer: ProviderAnswer) -> Reply:
        """See the port."""
        return as_reply(self._shaped(answer), self._request)

    def _shaped(self, answer: ProviderAnswer) -> bytes:
        shape = completion_of if self.prepared.operation == "chat" else self._embeddings_of
        return shape(self.prepared, answer)

    def _prepared_chat(self) -> PreparedRequest:
        members = self._request.members
        messages = members.get("messages")
        if not isinstance(messages, list) or not all(isinstance(each, dict) for each in messages):
            raise Rejected("messages must be a list of objects", fields=("messages",))
        if members.get("n") not in (None, 1):
            raise Rejected(f"{self._provider.name} gives one answer at a time: leave n away", fields=("n",))
        parameters = {name: value for name, value in members.items() if name not in APART}
        return self._provider.prepare_chat(
            ChatRequest(
                model=self._request.model, messages=tuple(messages), parameters=parameters, stream=self._streams
            )
        )

    def _prepared_embeddings(self) -> PreparedRequest:
        given, dimensions = self._request.members.get("input"), self._request.members.get("dimensions")
        texts = [given] if isinstance(given, str) else given
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise Rejected(f"input must be a text or a list of texts for {self._provider.name}", fields=("input",))
        if not isinstance(dimensions, int | None):
            raise Rejected("dimensions must be a whole number", fields=("dimensions",))
        return self._provider.prepare_embeddings(
            EmbeddingsRequest(model=self._request.model, texts=tuple(texts), dimensions=dimensions)
        )

    def _pass_on(self, transcript: Transcript, text: str) -> None:
        first = not transcript.told
        transcript.tell(text)
        if self.reply is None:
            self.reply = Reply(status=200, headers=STREAM_HEADERS)
        if self._request.pass_on is not None:
            self._request.pass_on(self._chunk(({"role": "assistant"} if first else {}) | {"content": text}, None))

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return _event({**self._about, "choices": [choice]})

    def _embeddings_of(self, prepared: PreparedRequest, answer: ProviderAnswer) -> bytes:
        in_base64 = self._request.members.get("encoding_format") == "base64"
        vectors = np.empty((0, 0), dtype="<f4") if answer.vectors is None else answer.vectors.astype("<f4")
        data = [
            {
                "object": "embedding",
                "index": index,
                "embedding": b64encode(row.tobytes()).decode() if in_base64 else row.tolist(),
            }
            for index, row in enumerate(vectors)
        ]
        usage = {"prompt_tokens": answer.tokens.prompt or 0, "total_tokens": answer.tokens.total or 0}
        model = answer.model or prepared.model
        return msgspec.json.encode({"object": "list", "data": data, "model": model, "usage": usage})


def as_reply(body: bytes, request: ClientsRequest) -> Reply:
    """An answer that is there already: as it is, or in the chunks of a stream if that was asked for."""
    if request.pass_on is None:
        return Reply(status=200, headers=JSON_HEADERS, body=body)
    completion = msgspec.json.decode(body)
    about = {name: value for name, value in completion.items() if name not in ("object", "choices", "usage")}
    about["object"] = "chat.completion.chunk"
    events = [_event({**about, "choices": [chunk]}) for choice in completion["choices"] for chunk in _chunks_of(choice)]
    if _wants_usage(request):
        events.append(_event({**about, "choices": [], "usage": completion.get("usage")}))
    return Reply(status=200, headers=STREAM_HEADERS, body=b"".join([*events, DONE_EVENT]))


def _chunks_of(choice: dict[str, Any]) -> list[dict[str, Any]]:
    """A choice in two chunks: its message with tool calls numbered, and why it ended."""
    delta = {**(choice.get("message") or {})}
    if delta.get("tool_calls"):
        delta["tool_calls"] = [{"index": index, **call} for index, call in enumerate(delta["tool_calls"])]
    whole = {name: value for name, value in choice.items() if name not in ("message", "finish_reason")}
    return [
        {**whole, "delta": delta, "finish_reason": None},
        {"index": choice.get("index", 0), "delta": {}, "finish_reason": choice.get("finish_reason")},
    ]


def _wants_usage(request: ClientsRequest) -> bool:
    options = request.members.get("stream_options")
    return isinstance(options, dict) and bool(options.get("include_usage"))


def completion_of(prepared: PreparedRequest, answer: ProviderAnswer) -> bytes:
    """A chat's answer in OpenAI's shape."""
    try:
        shown = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        shown = None
    if isinstance(shown, dict) and {"id", "object", "created", "model", "choices"} <= shown.keys():
        return answer.body
    message = {"role": "assistant", "content": answer.text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish_reason or "stop"}
    return msgspec.json.encode(
        {
            "id": f"chatcmpl-{sha256_hex(prepared.body)[:32]}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": answer.model or prepared.model,
            "choices": [choice],
            "usage": _usage(answer.tokens),
        }
    )


def _usage(tokens: Tokens) -> dict[str, int]:
    prompt, completion = tokens.prompt or 0, tokens.completion or 0
    total = prompt + completion if tokens.total is None else tokens.total
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}


def _event(content: Any) -> bytes:
    return b"data: " + msgspec.json.encode(content) + b"\n\n"
