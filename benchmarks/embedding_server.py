"""An embedding server on loopback without delay, in a process of its own: OpenAI's protocol, vectors from a table.

python -m benchmarks.embedding_server --dimensions 384      prints its URL, then serves until it is killed
"""

import argparse
import asyncio
import base64
import zlib
from contextlib import AbstractContextManager
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.server import other_process

DIFFERENT_VECTORS = 4_096


class _Asked(msgspec.Struct):
    input: list[str] | str
    encoding_format: str = "float"


def vectors_of(texts: list[str], dimensions: int) -> NDArray[np.float32]:
    """(n_texts, dimensions) float32, unit rows: what the server answers."""
    return _table(dimensions)[[_row(text) for text in texts]]


def running(dimensions: int) -> AbstractContextManager[str]:
    """The URL of a server that runs for as long as the block."""
    return other_process("benchmarks.embedding_server", "--dimensions", str(dimensions))


def _table(dimensions: int) -> NDArray[np.float32]:
    table = np.random.default_rng(0).standard_normal((DIFFERENT_VECTORS, dimensions)).astype(np.float32)
    return table / np.linalg.norm(table, axis=1, keepdims=True)


def _row(text: str) -> int:
    return zlib.crc32(text.encode()) % DIFFERENT_VECTORS


class _Server:
    def __init__(self, dimensions: int) -> None:
        table = _table(dimensions)
        self._base64 = [base64.b64encode(row.astype("<f4").tobytes()) for row in table]
        self._floats = [msgspec.json.encode(row.tolist()) for row in table]

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = int(head.partition("content-length:")[2].partition("\r\n")[0])
                body = self._answer(await reader.readexactly(length))
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
                )
                writer.write(body)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.close()

    def _answer(self, asked_bytes: bytes) -> bytes:
        asked = msgspec.json.decode(asked_bytes, type=_Asked)
        texts = [asked.input] if isinstance(asked.input, str) else asked.input
        if asked.encoding_format == "base64":
            vectors = [b'"' + self._base64[_row(text)] + b'"' for text in texts]
        else:
            vectors = [self._floats[_row(text)] for text in texts]
        data = b",".join(
            b'{"object":"embedding","index":%d,"embedding":%b}' % (index, vector)
            for index, vector in enumerate(vectors)
        )
        return b'{"object":"list","model":"bench","data":[%b],"usage":{"prompt_tokens":%d,"total_tokens":%d}}' % (
            data,
            len(texts),
            len(texts),
        )


async def _serve(dimensions: int) -> None:
    serving: Any = await asyncio.start_server(_Server(dimensions).connection, "127.0.0.1", 0, limit=2**26)
    print(f"http://127.0.0.1:{serving.sockets[0].getsockname()[1]}/v1", flush=True)
    await serving.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dimensions", type=int, default=384)
    asyncio.run(_serve(parser.parse_args().dimensions))
