"""Searching, reading and exporting many vectors: how long it takes, and how much memory an export holds.

    python -m benchmarks.vectors [--texts 100000] [--dimension 384] [--no-index] [--database-url URL] [--json]

The log holds embeddings of 256 made-up texts a call, as the program makes them, whose vectors lie around 500 centres,
as those of real texts do around what they are about. A given database that holds a log is taken as it is. Then:

- follow: the read model of the cache, built from the log. index: the one of pgvector, its HNSW index included.
- search: the ten most similar texts to 300 vectors, with their texts, by the index and by looking at all vectors (30),
  one after the other; `agreement` is the share of the ten that both find.
- read: vectors as one array, by their hashes in a random order and all of the model, beside a plain copy in memory.
- export: by a process of its own, whose resident memory at its highest is told; `before` is that of a process that has
  loaded the same code and exported nothing.
"""

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import numpy as np
import psycopg
from psycopg_pool import AsyncConnectionPool

from application.export_embeddings import ExportEmbeddings
from application.ports import Append, NewEvent, Payload
from application.stored_vectors import VectorFilter
from application.text_batches import TEXTS_PER_REQUEST
from benchmarks.server import options, server, show
from domain.calls import CallAnswered, CallRequested, Tokens, VectorBlock
from domain.events import Envelope
from domain.identity import sha256_hex
from infrastructure.clock import TimeOrderedIds
from infrastructure.event_store.datastore import Datastore
from infrastructure.event_store.mapper import FactMapper
from infrastructure.event_store.recorder import Recorder
from infrastructure.vector_files import StreamedVectorEncoders
from infrastructure.whole_files import whole_file
from projections.follow import Follower
from projections.generations import install
from projections.queries import Queries
from projections.read_models import READ_MODELS, optional_read_models
from projections.rebuild import rebuild
from projections.replay import WholeLog

CENTRES = 500
SPREAD = 0.7
SEARCHES = 300
EXACT_SEARCHES = 30
LIMIT = 10
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
FORMATS = ("npy", "parquet")


class MadeUp:
    """Embedding calls of made-up texts."""

    def __init__(self, dimension: int) -> None:
        self._rng = np.random.default_rng(1)
        self._ids = TimeOrderedIds()
        self._centres = self._rng.standard_normal((CENTRES, dimension)).astype(np.float32)
        self._dimension = dimension

    def vectors(self, count: int) -> Any:
        """(count, d) float32 around the centres."""
        noise = self._rng.standard_normal((count, self._dimension), dtype=np.float32)
        return self._centres[self._rng.integers(0, CENTRES, count)] + np.float32(SPREAD) * noise

    def calls(self, texts: int) -> Iterator[Append]:
        """Requests with their answers."""
        for first in range(0, texts, TEXTS_PER_REQUEST):
            yield self._call(
                [f"made-up text number {number}" for number in range(first, min(first + TEXTS_PER_REQUEST, texts))]
            )

    def _call(self, texts: list[str]) -> Append:
        vectors = self.vectors(len(texts)).astype("<f4")
        asked = msgspec.json.encode({"model": "made-up", "input": texts, "encoding_format": "base64"})
        request = Payload(part="request", body=asked, media_type="application/json", is_json=True)
        response = Payload(
            part="response", body=b"{}", media_type="application/json", is_json=True, vectors=vectors.tobytes()
        )
        norms = np.linalg.norm(vectors, axis=1).astype("<f4").tobytes()
        requested = CallRequested(
            modality="embedding",
            provider="benchmark",
            endpoint="memory",
            model="made-up",
            operation="embeddings",
            request=request.ref(),
            request_hash=sha256_hex(asked),
            max_attempts=1,
            attempt_timeout_seconds=60.0,
            input_hashes=b"".join(bytes.fromhex(hash_of(text)) for text in texts),
        )
        answered = CallAnswered(
            attempt=1,
            latency_ms=1.0,
            total_ms=1.0,
            tokens=Tokens(),
            response=response.ref(),
            vectors=VectorBlock(count=len(texts), dimension=self._dimension, norms=norms),
        )
        call_id, envelope = self._ids.new(), Envelope(NOON, "benchmark", "benchmark", uuid4())
        return Append(
            events=(
                NewEvent(stream_id=call_id, version=1, fact=requested, envelope=envelope, payloads=(request,)),
                NewEvent(stream_id=call_id, version=2, fact=answered, envelope=envelope, payloads=(response,)),
            )
        )


def hash_of(text: str) -> str:
    """What the cache knows a text by; any hash will do."""
    return sha256_hex(text.encode())


def resident_mb() -> float:
    """The most memory that this process has held."""
    held = Path("/proc/self/status").read_text().split("VmHWM:")[1]
    return int(held.split()[0]) / 1024


def timed(name: str, work: Callable[[], Any]) -> float:
    """Seconds."""
    print(f"{name} …", file=sys.stderr)
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def build(uri: str, texts: int, dimension: int, *, index: bool) -> list[dict[str, Any]]:
    """Fill an empty store and build its read models."""
    recorder = Recorder(Datastore(uri, pool_size=3), FactMapper())

    def connect() -> psycopg.Connection[Any]:
        return psycopg.connect(uri)

    def write() -> None:
        with connect() as connection:
            connection.autocommit = True
            for append in MadeUp(dimension).calls(texts):
                recorder.insert_appends(connection, [recorder.encode(append)], process=1)
            connection.execute("ANALYZE events.events")
            connection.execute("ANALYZE events.payloads")

    with connect() as connection:
        optional = optional_read_models(connection) if index else ()
        install(connection, (*READ_MODELS, *optional))
    rows = []
    if recorder.last_position() == 0:
        rows.append({"step": "write", "seconds": round(timed("write", write), 1)})
    follower = Follower(recorder, connect, READ_MODELS)
    rows.append({"step": "follow", "seconds": round(timed("follow", follower.catch_up), 1)})
    if optional:
        whole = WholeLog(recorder, connect, optional)
        rows.append({"step": "index", "seconds": round(timed("index", lambda: rebuild(whole)), 1)})
    follower.close()
    recorder.datastore.close()
    return [{**row, "texts_per_second": round(texts / max(row["seconds"], 1e-3))} for row in rows]


async def searches(by_index: Queries, by_all: Queries, dimension: int) -> list[dict[str, Any]]:
    """Latencies of the two ways, and how far they agree."""
    wanted = VectorFilter()
    queries = MadeUp(dimension).vectors(SEARCHES)

    async def latencies(asked: Queries, count: int) -> tuple[list[float], list[list[str]]]:
        taken, found = [], []
        for query in queries[:count]:
            began = time.perf_counter()
            page = await asked.similar_texts.similar(query, wanted, limit=LIMIT)
            taken.append((time.perf_counter() - began) * 1000)
            found.append([item["text"] for item in page["items"]])
        return taken, found

    await latencies(by_index, 20)  # so that nothing is planned or read from the disk for the first time
    rows, found = [], {}
    for name, asked, count in (("index", by_index, SEARCHES), ("all", by_all, EXACT_SEARCHES)):
        print(f"search by {name} …", file=sys.stderr)
        taken, found[name] = await latencies(asked, count)
        rows.append(
            {
                "search": name,
                "p50_ms": round(statistics.median(taken), 2),
                "p95_ms": round(sorted(taken)[int(len(taken) * 0.95)], 2),
            }
        )
    pairs = list(zip(found["index"], found["all"], strict=False))
    rows[0]["agreement"] = sum(len({*one} & {*other}) for one, other in pairs) / (LIMIT * len(pairs))
    return rows


async def reads(queries: Queries, texts: int, dimension: int) -> list[dict[str, Any]]:
    """Vectors into one array."""
    order = np.random.default_rng(2).permutation(min(texts, 100_000))
    hashes = [hash_of(f"made-up text number {number}") for number in order]
    wanted = VectorFilter()
    space = await queries.vectors_in_bulk.space(wanted)

    async def read(wanted_hashes: list[str]) -> int:
        found = await queries.embeddings.lookup(wanted_hashes)
        rows = np.empty((len(wanted_hashes), found.dimension()), dtype=np.float32)
        await queries.embeddings.read_into(found, rows)
        return len(found.places)

    async def by_hash() -> int:
        return await read(hashes)

    async def in_order() -> int:
        return await read(sorted_hashes)

    async def everything() -> int:
        out, done = np.empty((texts, dimension), dtype=np.float32), 0
        async for block in queries.vectors_in_bulk.blocks(space, wanted, position=2**62):
            out[done : done + len(block.vectors)] = block.vectors
            done += len(block.vectors)
        return done

    async def copied() -> int:
        return len(np.ones((texts, dimension), dtype=np.float32).copy())

    sorted_hashes = [hash_of(f"made-up text number {number}") for number in range(len(hashes))]
    ways: dict[str, Callable[[], Awaitable[int]]] = {
        "by hash, shuffled": by_hash,
        "by hash, in order": in_order,
        "all of a model": everything,
        "copied in memory": copied,
    }
    rows = []
    for name, way in ways.items():
        print(f"read {name} …", file=sys.stderr)
        began = time.perf_counter()
        count = await way()
        seconds = time.perf_counter() - began
        rows.append(
            {
                "read": name,
                "rows": count,
                "rows_per_second": round(count / seconds),
                "mb_per_second": round(count * dimension * 4 / 2**20 / seconds),
            }
        )
    return rows


def exports(uri: str) -> list[dict[str, Any]]:
    """Each format, by a process of its own."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in FORMATS:
            print(f"export {kind} …", file=sys.stderr)
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.vectors", "--export", kind, folder, uri],
                capture_output=True,
                text=True,
                check=True,
            )
            rows.append(msgspec.json.decode(done.stdout))
    return rows


async def export(kind: str, folder: str, uri: str) -> dict[str, Any]:
    """One export, and what it held."""
    before = resident_mb()
    out = Path(folder) / f"vectors.{kind}"
    async with AsyncConnectionPool(uri, min_size=1, max_size=2, open=False) as pool:
        began = time.perf_counter()
        exporting = ExportEmbeddings(Queries(pool).vectors_in_bulk, StreamedVectorEncoders())
        done = await exporting(kind, VectorFilter(), position=2**62)
        with whole_file(out) as file:
            async for chunk in done.chunks():
                file.write(chunk)
        seconds = time.perf_counter() - began
    return {
        "export": kind,
        "rows": done.rows,
        "seconds": round(seconds, 1),
        "rows_per_second": round(done.rows / seconds),
        "file_mb": round(out.stat().st_size / 2**20),
        "resident_mb_before": round(before),
        "resident_mb_most": round(resident_mb()),
    }


async def measure(uri: str, texts: int, dimension: int, *, index: bool) -> dict[str, list[dict[str, Any]]]:
    """Everything but the exports."""
    async with AsyncConnectionPool(uri, min_size=1, max_size=4, open=False) as pool:
        found = {}
        if index:
            found["search"] = await searches(Queries(pool, indexed=True), Queries(pool), dimension)
        found["read"] = await reads(Queries(pool), texts, dimension)
    return found


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["--export"]:
        print(msgspec.json.encode(asyncio.run(export(*sys.argv[2:5]))).decode())
        return
    parser = options(__doc__, seconds=0)
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--no-index", action="store_true", help="leave pgvector out, and the searches with it")
    asked = parser.parse_args()
    index = not asked.no_index
    with server(asked.database_url) as (uri, machine):
        tables = {"build": build(uri, asked.texts, asked.dimension, index=index)}
        tables |= asyncio.run(measure(uri, asked.texts, asked.dimension, index=index))
        tables["export"] = exports(uri)
    show({**machine, "texts": asked.texts, "dimension": asked.dimension}, tables, as_json=asked.json)


if __name__ == "__main__":
    main()
