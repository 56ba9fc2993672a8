"""A chat server on loopback in a process of its own, which answers the same words after a delay, streamed or whole.

python -m benchmarks.chat_server --delay-ms 50      prints its URL, then serves until it is killed
GET /count says how many chats were asked for.
"""

import argparse
import asyncio
from contextlib import AbstractContextManager

import msgspec
from aiohttp import web

from benchmarks.server import other_process

WORDS = "A gateway passes on what it is given and keeps a record of every word that goes through it .".split()
ABOUT = {"id": "chatcmpl-bench", "created": 1_770_000_000, "model": "bench", "system_fingerprint": "fp_bench"}
USAGE = {"prompt_tokens": 12, "completion_tokens": len(WORDS), "total_tokens": 12 + len(WORDS)}
HEADERS = {"x-request-id": "req_bench", "x-ratelimit-remaining-requests": "9999"}


def whole() -> bytes:
    """An answer of one piece."""
    message = {"role": "assistant", "content": " ".join(WORDS), "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return msgspec.json.encode({**ABOUT, "object": "chat.completion", "choices": [choice], "usage": USAGE})


def chunks() -> list[bytes]:
    """The same as a stream: a word to a chunk, why it ended, what it took, and that this was all."""
    deltas: list[dict[str, str]] = [{"role": "assistant", "content": WORDS[0]}]
    deltas += [{"content": f" {word}"} for word in WORDS[1:]]
    choices = [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"})
    about = {**ABOUT, "object": "chat.completion.chunk"}
    events = [{**about, "choices": [choice]} for choice in choices] + [{**about, "choices": [], "usage": USAGE}]
    return [b"data: " + msgspec.json.encode(event) + b"\n\n" for event in events] + [b"data: [DONE]\n\n"]


def running(delay_ms: float) -> AbstractContextManager[str]:
    """The root URL of a server that runs for as long as the block."""
    return other_process("benchmarks.chat_server", "--delay-ms", str(delay_ms))


class _Server:
    def __init__(self, delay_seconds: float) -> None:
        self._delay_seconds = delay_seconds
        self._whole, self._chunks = whole(), chunks()
        self._count = 0

    async def chat(self, request: web.Request) -> web.StreamResponse:
        asked = msgspec.json.decode(await request.read())
        self._count += 1
        if self._delay_seconds:
            await asyncio.sleep(self._delay_seconds)
        if not asked.get("stream"):
            return web.Response(body=self._whole, content_type="application/json", headers=HEADERS)
        response = web.StreamResponse(headers={"content-type": "text/event-stream", **HEADERS})
        await response.prepare(request)
        for chunk in self._chunks:
            await response.write(chunk)
        await response.write_eof()
        return response

    async def count(self, _request: web.Request) -> web.Response:
        return web.json_response({"count": self._count})


async def _serve(delay_ms: float) -> None:
    server, app = _Server(delay_ms / 1000), web.Application()
    app.router.add_post("/v1/chat/completions", server.chat)
    app.router.add_get("/count", server.count)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delay-ms", type=float, default=0)
    asyncio.run(_serve(parser.parse_args().delay_ms))
