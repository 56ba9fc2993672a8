"""Exporting calls: how fast, and how much memory it takes for few calls and for many.

    python -m benchmarks.exports [--calls 20000 200000] [--search quick] [--database-url URL] [--json]

The log holds made-up chats of about 600 and 900 bytes, written and followed as the program does it. Each
export is made by a process of its own, whose resident memory at its highest is told; `before` is that of the process
with the same code loaded and nothing exported. An export of the first N calls is one as of the position of the N-th.
With a search, such as for `quick`, which is in all texts, calls are exported as they are found in the index of words.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import psycopg
from psycopg_pool import AsyncConnectionPool

from application.export_calls import ExportCalls
from application.export_rows import OF_ROWS
from application.ports import Append, NewEvent, Payload
from benchmarks.server import options, server, show
from benchmarks.vectors import NOON, resident_mb
from domain.calls import CallAnswered, CallRequested, Tokens
from domain.events import Envelope
from domain.identity import sha256_hex
from infrastructure.clock import TimeOrderedIds
from infrastructure.event_store.datastore import Datastore
from infrastructure.event_store.mapper import FactMapper
from infrastructure.event_store.recorder import Recorder
from infrastructure.row_encoders import StreamedRowEncoders
from infrastructure.whole_files import whole_file
from projections.call_queries import EVERY_CALL
from projections.exported_calls import COLUMNS
from projections.follow import Follower
from projections.generations import install
from projections.group_links import GROUP_LINKS
from projections.queries import Queries
from projections.raw_calls import RAW_CALLS
from projections.read_model import ReadModel
from projections.search import SEARCH
from projections.search_eras import CallSearch

AT_ONCE = 1000
READ = (RAW_CALLS, GROUP_LINKS)  # what an export reads
SENTENCE = "The quick brown fox number {} jumps over the lazy dog and thinks about it for a while. "


def chats(count: int) -> Iterator[Append]:
    """Requests with their answers, a second apart."""
    ids = TimeOrderedIds()
    for first in range(0, count, AT_ONCE):
        events: list[NewEvent] = []
        for number in range(first, min(first + AT_ONCE, count)):
            events += _chat(ids, number)
        yield Append(events=tuple(events))


def _chat(ids: TimeOrderedIds, number: int) -> Iterator[NewEvent]:
    message = {"role": "user", "content": SENTENCE.format(number) * 6}
    asked = msgspec.json.encode({"model": "made-up", "messages": [message]})
    text = SENTENCE.format(-number) * 9
    answer = msgspec.json.encode({"choices": [{"message": {"content": text}}], "usage": {"total_tokens": 300}})
    request = Payload(part="request", body=asked, media_type="application/json", is_json=True)
    response = Payload(part="response", body=answer, media_type="application/json", is_json=True)
    requested = CallRequested(
        modality="text",
        provider="benchmark",
        endpoint="memory",
        model="made-up",
        operation="chat",
        request=request.ref(),
        request_hash=sha256_hex(asked),
        max_attempts=1,
        attempt_timeout_seconds=60.0,
    )
    answered = CallAnswered(
        attempt=1,
        latency_ms=1.0,
        total_ms=1.0,
        tokens=Tokens(prompt=120, completion=180, total=300),
        response=response.ref(),
        text_path=("choices", "0", "message", "content"),
    )
    call_id = ids.new()
    envelope = Envelope(NOON + timedelta(seconds=number), "benchmark", "benchmark", uuid4())
    yield NewEvent(stream_id=call_id, version=1, fact=requested, envelope=envelope, payloads=(request,))
    yield NewEvent(stream_id=call_id, version=2, fact=answered, envelope=envelope, payloads=(response,))


def build(uri: str, count: int, read: tuple[ReadModel, ...]) -> None:
    """Fill an empty store and follow it."""
    recorder = Recorder(Datastore(uri, pool_size=3), FactMapper())
    with psycopg.connect(uri) as connection:
        install(connection, read)
    with psycopg.connect(uri, autocommit=True) as connection:
        for append in chats(count):
            recorder.insert_appends(connection, [recorder.encode(append)], process=1)
        connection.execute("ANALYZE events.payloads")
    follower = Follower(recorder, lambda: psycopg.connect(uri), read)
    follower.catch_up()
    follower.close()
    recorder.datastore.close()


async def export(kind: str, calls: int, uri: str, search: str) -> dict[str, Any]:
    """One export, and what it held."""
    wanted = CallSearch(search=search) if search else EVERY_CALL
    before = resident_mb()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / f"calls.{kind}"
        async with AsyncConnectionPool(uri, min_size=1, max_size=2, open=False) as pool:
            began = time.perf_counter()
            exporting = ExportCalls(Queries(pool).calls_in_bulk, COLUMNS, StreamedRowEncoders())
            done = await exporting(kind, wanted, position=2 * calls)
            with whole_file(out) as file:
                async for chunk in done.chunks():
                    file.write(chunk)
            seconds = time.perf_counter() - began
        size = out.stat().st_size
    assert done.rows == calls
    return {
        "export": kind,
        "rows": done.rows,
        "seconds": round(seconds, 1),
        "rows_per_second": round(done.rows / seconds),
        "file_mb": round(size / 2**20, 1),
        "resident_mb_before": round(before),
        "resident_mb_most": round(resident_mb()),
    }


def exports(uri: str, counts: list[int], search: str) -> list[dict[str, Any]]:
    """Each format and number, by a process of its own."""
    rows = []
    for kind in OF_ROWS:
        for calls in counts:
            print(f"export {calls} as {kind} …", file=sys.stderr)
            command = [sys.executable, "-m", "benchmarks.exports", "--export", kind, str(calls), uri, search]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows.append(msgspec.json.decode(done.stdout))
            print(done.stdout.strip(), file=sys.stderr)
    return rows


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["--export"]:
        kind, calls, uri, search = sys.argv[2:6]
        print(msgspec.json.encode(asyncio.run(export(kind, int(calls), uri, search))).decode())
        return
    parser = options(__doc__, seconds=0)
    parser.add_argument("--calls", type=int, nargs="+", default=[20_000, 200_000])
    parser.add_argument("--search", default="", help="words that every call has, to export what they find")
    asked = parser.parse_args()
    with server(asked.database_url) as (uri, machine):
        build(uri, max(asked.calls), (*READ, SEARCH) if asked.search else READ)
        tables = {"export": exports(uri, asked.calls, asked.search)}
    show({**machine, "calls": max(asked.calls)}, tables, as_json=asked.json)


if __name__ == "__main__":
    main()
