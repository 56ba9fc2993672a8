"""Streamed answers of the server that misbehaves: what breaks does so after two words."""

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

Json = dict[str, Any]
WORDS_BEFORE_IT_BREAKS = 2
ENDS_OF_LINES = {"returns_only": "\r", "returns_and_feeds": "\r\n"}
ODD_CHUNKS = {
    "error_chunk": (
        2,
        json.dumps({"error": {"message": "The model fell over", "code": "server_error"}, "choices": []}),
    ),
    "error_first": (0, json.dumps({"error": {"message": "Upstream is busy", "code": 503}})),
    "malformed_chunk": (2, '{"choices": ['),
}


async def reset(writer: asyncio.StreamWriter) -> bool:
    """Send what was written, then have the connection end in a reset."""
    await writer.drain()
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


async def send_stream(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    asked: Json,
    answer: Json,
    behaviour: str,
    delay_seconds: float,
) -> bool:
    """The first choice of this answer, a word to a chunk; says whether the connection lives on."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    if behaviour == "silent_stream":
        return await _say_nothing(reader, writer, delay_seconds)
    odd_place, odd_chunk = ODD_CHUNKS.get(behaviour, (None, ""))
    for place, chunk in enumerate(_chunks(answer, with_tools=behaviour == "tool_calls")):
        if place == WORDS_BEFORE_IT_BREAKS and behaviour in BREAKS:
            return await BREAKS[behaviour](reader, writer)
        if place == odd_place:
            await _write_event(writer, odd_chunk, behaviour)
        await _write_event(writer, json.dumps(_about(answer) | chunk, ensure_ascii=False, indent=1), behaviour)
        if behaviour == "slow_stream":
            await asyncio.sleep(delay_seconds)
    if behaviour == "finished_then_reset":
        return await reset(writer)
    if (asked.get("stream_options") or {}).get("include_usage") and "usage" in answer:
        usage = {"choices": [], "usage": answer["usage"]}
        await _write_event(writer, json.dumps(_about(answer) | usage), behaviour)
    if behaviour == "no_last_line":
        await _write_part(writer, b"data: [DONE]")
    elif behaviour != "no_done":
        await _write_event(writer, "[DONE]", behaviour)
    return await _end(reader, writer)


async def _end(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"0\r\n\r\n")
    await writer.drain()
    return True


async def _cut(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    await writer.drain()
    return False


async def _reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    return await reset(writer)


async def _stall(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> bool:
    await reader.read()  # until the client leaves
    return False


async def _say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_seconds: float) -> bool:
    while not reader.at_eof():
        await _write_part(writer, b": still here\n\n")
        await asyncio.sleep(delay_seconds / 10)
    return False


BREAKS: dict[str, Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]]] = {
    "cut_stream": _cut,
    "early_end": _end,
    "reset_stream": _reset,
    "stalled_stream": _stall,
}
STREAM_BEHAVIOURS = {
    *BREAKS,
    *ODD_CHUNKS,
    *ENDS_OF_LINES,
    *"slow_stream silent_stream whole_instead split_bytes comments lines_of_data no_done no_last_line".split(),
    *"tool_calls finished_then_reset".split(),
}


def _about(answer: Json) -> Json:
    return {"id": answer["id"], "object": "chat.completion.chunk", "created": 1, "model": answer["model"]}


def _chunks(answer: Json, *, with_tools: bool) -> list[Json]:
    """As OpenAI sends them: the role with the first, the words or the pieces of a tool call, then why it ended."""
    words = (answer["choices"][0]["message"]["content"] or "").split(" ")
    deltas: list[Json] = [{"content": f" {word}" if place else word} for place, word in enumerate(words)]
    if with_tools:
        first = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "add", "arguments": ""}}
        rest = [{"index": 0, "function": {"arguments": piece}} for piece in ('{"a": 1,', ' "b": 2}')]
        deltas = [{"content": None, "tool_calls": [each]} for each in (first, *rest)]
    deltas[0] = {"role": "assistant", "refusal": None, **deltas[0]}
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    ended = {"index": 0, "delta": {}, "finish_reason": "tool_calls" if with_tools else "stop"}
    return [{"choices": [choice]} for choice in (*choices, ended)]


async def _write_event(writer: asyncio.StreamWriter, data: str, behaviour: str) -> None:
    end = ENDS_OF_LINES.get(behaviour, "\n")
    lines = data.split("\n") if behaviour == "lines_of_data" else [data.replace("\n", "")]
    event = "".join(f"data: {line}{end}" for line in lines) + end
    if behaviour == "comments":
        event = f": keep alive{end}{end}id: 7{end}retry: 10{end}: again{end}{event}"
    if behaviour != "split_bytes":
        await _write_part(writer, event.encode())
        return
    for byte in event.encode():
        await _write_part(writer, bytes([byte]))
        await asyncio.sleep(0)


async def _write_part(writer: asyncio.StreamWriter, part: bytes) -> None:
    writer.write(b"%x\r\n%s\r\n" % (len(part), part))
    await writer.drain()
