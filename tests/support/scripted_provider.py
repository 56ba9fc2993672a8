"""A provider that does as it is told, for tests of use cases; the real ones are tested over HTTP."""

import asyncio
from collections.abc import Iterable

import msgspec
import numpy as np
from msgspec import structs

from application.providers import (
    AttemptFailed,
    ChatRequest,
    EmbeddingsRequest,
    PreparedRequest,
    ProviderAnswer,
    Transcript,
)
from domain.calls import AttemptError, ErrorKind, Tokens


def failure(
    kind: ErrorKind = "server_error", *, transient: bool = True, retry_after: float | None = None
) -> AttemptFailed:
    """A failed attempt."""
    error = AttemptError(
        kind=kind, message=f"told to fail: {kind}", transient=transient, retry_after_seconds=retry_after
    )
    return AttemptFailed(error, latency_ms=5.0, body=b'{"error": "told to"}', media_type="application/json")


class ScriptedProvider:
    """Fails as scripted, then answers: chats with "echo: …", embeddings with a vector made of the text's length."""

    name = "scripted"
    endpoint = "memory"

    def __init__(self, script: Iterable[AttemptFailed] = (), *, hangs: bool = False) -> None:
        self.script = list(script)
        self.hangs = hangs
        self.words: tuple[str, ...] = ("echo:", " ?")  # that the next stream tells before it fails or answers
        self.sent: list[PreparedRequest] = []

    def prepare_chat(self, request: ChatRequest) -> PreparedRequest:
        body = msgspec.json.encode({"model": request.model or "m", "messages": request.messages, **request.parameters})
        return PreparedRequest(
            provider=self.name, endpoint=self.endpoint, operation="chat", model=request.model or "m", body=body
        )

    def prepare_embeddings(self, request: EmbeddingsRequest) -> PreparedRequest:
        body = msgspec.json.encode({"model": request.model or "e", "input": request.texts})
        return PreparedRequest(
            provider=self.name, endpoint=self.endpoint, operation="embeddings", model=request.model or "e", body=body
        )

    async def send(self, prepared: PreparedRequest, *, timeout_seconds: float) -> ProviderAnswer:
        self.sent.append(prepared)
        if self.hangs:
            await asyncio.Event().wait()
        if self.script:
            raise self.script.pop(0)
        asked = msgspec.json.decode(prepared.body)
        texts = asked.get("input")
        said = None if texts else f"echo: {asked['messages'][-1]['content']}"
        return ProviderAnswer(
            body=msgspec.json.encode({"choices": [{"message": {"content": said}}]}),
            media_type="application/json",
            http_status=200,
            headers={},
            model=prepared.model,
            tokens=Tokens(prompt=1, completion=1, total=2),
            latency_ms=3.0,
            text=said,
            text_path=None if texts else ("choices", "0", "message", "content"),
            vectors=np.array([vector_of(text) for text in texts], dtype=np.float32) if texts else None,
        )

    async def stream(
        self, prepared: PreparedRequest, *, timeout_seconds: float, transcript: Transcript
    ) -> ProviderAnswer:
        """Tell the words, then fail as scripted, or answer; with `hangs`, do neither."""
        hangs, self.hangs = self.hangs, False
        words, self.words = self.words, ("echo:", " ?")
        try:
            for word in words:
                transcript.body += b"data: " + word.encode() + b"\n\n"
                transcript.completion = msgspec.json.encode({"choices": [{"message": {"content": "".join(words)}}]})
                transcript.first_token_ms = 2.0
                transcript.tell(word)
            if hangs:
                self.sent.append(prepared)
                await asyncio.Event().wait()
            answer = await self.send(prepared, timeout_seconds=timeout_seconds)
        finally:
            transcript.latency_ms = 3.0
        return structs.replace(
            answer,
            body=transcript.body,
            media_type=transcript.media_type,
            completion=answer.body,
            first_token_ms=transcript.first_token_ms,
        )

    async def models(self) -> list[str]:
        return ["m", "e"]

    async def aclose(self) -> None:
        return None


def vector_of(text: str) -> list[float]:
    """A vector that tells texts apart."""
    return [float(len(text)), float(sum(map(ord, text))), 1.0]


class Directory:
    """A directory of one provider."""

    def __init__(self, provider: ScriptedProvider) -> None:
        self.provider = provider

    def create(self, name: str | None) -> ScriptedProvider:
        return self.provider
