"""Size on disk by what was stored, and the rates of appending and reading while the log grows.

    python -m benchmarks.growth [--database-url URL] [--seconds 5] [--json] [--millions 1,5,10,20]

The log is filled inside the server with copies of a real event under fresh time-ordered ids, through the real table and
its indexes. At each size the rates are measured through our own code: 1,000 tasks that append one event each, and pages
of 5,000 read and decoded, among the newest events and anywhere. A few seconds go by before each measurement, so that
the fill's own writing is over.
"""

import os
import random
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg

from application.ports import Append, Payload
from benchmarks.append import BODY, FACT, IDS, an_event, appended, events
from benchmarks.server import options, server, show
from domain.calls import CallAnswered, Tokens, VectorBlock
from domain.events import Fact, PayloadRef
from infrastructure.event_store.datastore import Datastore, configure
from infrastructure.event_store.mapper import FactMapper
from infrastructure.event_store.recorder import Recorder

CALLS = 2_000
DIMENSION = 1_536
TASKS = 1_000
PAGE = 5_000
NEWEST = 100_000  # what followers read: the end of the log, which is in memory
FILL_AT_ONCE = 500_000
WORDS = "".join(random.Random(2).choices("abcdefghijklmnopqrstuvwxyz ", k=200_000))

# A UUIDv7 from a position: later rows sort after earlier ones, as the ids of real events do.
FILL = """
INSERT INTO events.events
SELECT
    (lpad(to_hex(n >> 12), 12, '0') || '7' || lpad(to_hex(n & 4095), 3, '0')
        || '8' || substr(md5(n::text), 1, 15))::uuid,
    1, %(topic)s, %(state)s, n, clock_timestamp()
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
"""
SIZES = """
SELECT pg_table_size('events.events'), pg_indexes_size('events.events'),
    pg_table_size('events.payloads'), pg_indexes_size('events.payloads')
"""


def chat_calls() -> Iterator[Append]:
    """A request and an answer, with a body of 2.5 KB each."""
    while True:
        stream_id = IDS.new()
        yield Append(events=(an_event(FACT, stream_id, 1, _body("request", text=_text())),))
        yield Append(events=(an_event(_answer(), stream_id, 2, _body("response", text=_text())),))


def embedding_calls(texts: int) -> Iterator[Append]:
    """A request with so many texts of 100 characters and an answer with as many vectors of 1,536 dimensions."""
    while True:
        stream_id, at = IDS.new(), random.randrange(100_000)
        request = _body("request", text=WORDS[at : at + 100 * texts].encode())
        vectors = random.randbytes(4 * DIMENSION * texts)
        response = Payload(part="response", body=b"{}", vectors=vectors, media_type="application/json", is_json=True)
        block = VectorBlock(count=texts, dimension=DIMENSION, norms=bytes(4 * texts))
        yield Append(events=(an_event(FACT, stream_id, 1, request),))
        yield Append(events=(an_event(_answer(block), stream_id, 2, response),))


def _text() -> bytes:
    at = random.randrange(len(WORDS) - len(BODY))
    return WORDS[at : at + len(BODY)].encode()


def _body(part: str, text: bytes) -> Payload:
    return Payload(part=part, body=text, media_type="application/json", is_json=True)


def _answer(vectors: VectorBlock | None = None) -> Fact:
    return CallAnswered(
        attempt=1,
        latency_ms=210.25,
        total_ms=250.5,
        tokens=Tokens(prompt=400, completion=400, total=800),
        response=PayloadRef(
            part="response", sha256="ef" * 32, size=len(BODY), media_type="application/json", is_json=True
        ),
        served_model="gpt-4o-mini-2024-07-18",
        http_status=200,
        headers={"x-request-id": "req_0123456789abcdef"},
        finish_reason="stop",
        text_path=("choices", "0", "message", "content"),
        vectors=vectors,
    )


def bytes_a_call(uri: str, recorder: Recorder, what: str, work: Iterator[Append], calls: int) -> dict[str, Any]:
    """What the log grows by for one call: two events and their bodies, with indexes. Read models are apart."""
    with psycopg.connect(uri) as connection:
        configure(connection)
        before = connection.execute(SIZES).fetchone() or ()
        for _ in range(0, 2 * calls, 100):
            recorder.insert_appends(connection, [recorder.encode(next(work)) for _ in range(100)], process=1)
        after = connection.execute(SIZES).fetchone() or ()
    grown = [round((new - old) / calls) for new, old in zip(after, before, strict=True)]
    names = ("events", "events_indexes", "payloads", "payloads_indexes")
    return {"call": what, **dict(zip(names, grown, strict=True)), "bytes_a_call": sum(grown)}


def fill(connection: psycopg.Connection[Any], until: int) -> None:
    """Copy one event until the log has so many."""
    stored = FactMapper().to_stored_event(an_event(FACT, UUID(int=0)))
    row = connection.execute("SELECT coalesce(max(notification_id), 0) FROM events.events").fetchone()
    first = int(row[0]) + 1 if row else 1
    while first <= until:
        last = min(until, first + FILL_AT_ONCE - 1)
        span = {"first": first, "last": last}
        connection.execute(FILL, {"topic": stored.topic, "state": stored.state, **span})
        first = last + 1
    connection.execute("VACUUM (ANALYZE) events.events")
    connection.execute("CHECKPOINT")


def pages_read(recorder: Recorder, first: int, last: int, seconds: float) -> int:
    """Events a second, read and decoded a page at a time, from random places between two positions."""
    read, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        read += len(recorder.page(after=random.randrange(first, last - PAGE), limit=PAGE))
    return round(read / (time.perf_counter() - began))


def rates(uri: str, recorder: Recorder, millions: float, seconds: float, fsyncs: int) -> dict[str, Any]:
    """Fill up to a size, then append and read, twice each; the better of two counts, since others use the machine."""
    with psycopg.connect(uri, autocommit=True) as connection:
        fill(connection, round(millions * 1e6))
        size = connection.execute("SELECT pg_total_relation_size('events.events')").fetchone() or (0,)
    time.sleep(seconds)
    until = recorder.last_position()
    appends = [appended("", recorder, uri, events, TASKS, seconds, fsyncs)["events_per_second"] for _ in range(2)]
    newest = [pages_read(recorder, until - NEWEST, until, seconds) for _ in range(2)]
    anywhere = [pages_read(recorder, 0, until, seconds) for _ in range(2)]
    return {
        "million_events": millions,
        "gigabytes": round(size[0] / 1e9, 2),
        "appended_per_second": max(appends),
        "newest_read_per_second": max(newest),
        "any_read_per_second": max(anywhere),
        "load": round(os.getloadavg()[0], 1),
    }


def main() -> None:
    """Sizes first, while the log is small; then the curve."""
    parser = options(__doc__, seconds=5.0)
    parser.add_argument("--millions", default="1,2,5", help="sizes of the log to measure at, in million events")
    chosen = parser.parse_args()
    with server(chosen.database_url) as (uri, machine):
        recorder = Recorder(Datastore(uri), FactMapper())
        sizes = [
            bytes_a_call(uri, recorder, "chat, 2.5 KB each way", chat_calls(), CALLS),
            bytes_a_call(uri, recorder, "embedding, 1 text", embedding_calls(1), CALLS),
            bytes_a_call(uri, recorder, "embedding, 16 texts", embedding_calls(16), CALLS // 4),
        ]
        curve = [
            rates(uri, recorder, float(each), chosen.seconds, machine["fsyncs_per_second"])
            for each in chosen.millions.split(",")
        ]
        recorder.datastore.close()
        show(machine, {"bytes on disk": sizes, "growth": curve}, as_json=chosen.json)


if __name__ == "__main__":
    main()
