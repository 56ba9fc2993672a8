"""Fills an empty store with made-up calls as fast as it takes them, and its read models with it.

Several processes make a chunk of calls each, copy its events and bodies into the log, and write the rows that every
read model's own `changes` makes of them into a generation that is being built; what adds to rows that are there, one
process at a time. Indexes are made at the end and the generations put in the place of the live ones, as after a
rebuild. `verify` replays the log and compares: for small stores, since it takes long.
"""

import multiprocessing
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from benchmarks.made_calls import CHUNK, DAYS, Made, Study
from domain.events import RecordedEvent
from infrastructure.event_store.datastore import Datastore
from infrastructure.event_store.mapper import FactMapper
from infrastructure.event_store.recorder import Recorder
from projections.follow import Follower
from projections.generations import Generation, building, create_indexes, generations, install, opened
from projections.group_links import GROUP_LINKS
from projections.pages import SharedPages, without_collecting
from projections.raw_calls import RAW_CALLS
from projections.read_model import ReadModel
from projections.read_models import READ_MODELS
from projections.rebuild import rebuild
from projections.search import SEARCH
from projections.swap import swap
from projections.verify import verify

ROWS_ALONE = (RAW_CALLS, GROUP_LINKS, SEARCH)  # of which no row depends on what was there before the chunk
OTHERS = tuple(model for model in READ_MODELS if model not in ROWS_ALONE)
ONE_AT_A_TIME = 7454
SAY_SECONDS = 20
EVENTS = (
    "COPY events.events (originator_id, originator_version, topic, state, notification_id, recorded_at) "
    "FROM STDIN (FORMAT BINARY)"
)
BODIES = "COPY events.payloads (originator_id, originator_version, part, body) FROM STDIN (FORMAT BINARY)"
# For the filling alone: the store is worth nothing until it is whole.
HASTE = {
    "fsync": "off",
    "full_page_writes": "off",
    "wal_compression": "off",
    "max_wal_size": "4GB",
    "autovacuum": "off",
}
INDEXING = "SET maintenance_work_mem = '2GB'; SET max_parallel_maintenance_workers = 2; SET lock_timeout = 0"


def fill(uri: str, calls: int, *, processes: int, seconds: float) -> int:
    """Write so many calls, or as many as there is time for, and all read models, into a store that has none yet.

    Tells on stderr how far it is; returns how many calls it wrote.
    """
    begin = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(days=DAYS)
    study = Study(calls, begin)
    with closing(opened(lambda: psycopg.connect(uri))) as connection:
        install(connection, READ_MODELS)
        with in_haste(connection):
            built = [(model, building(connection, model)) for model in READ_MODELS]
            schemas = {model.name: generation.schema for model, generation in built}
            _write(connection, 0, [study.beginning()], schemas)
            chunks = _write_chunks(uri, study, schemas, processes, seconds)
            for model, generation in built:
                _finish(uri, connection, model, generation, study.events_before(chunks))
            _say("analysing")
            connection.execute("VACUUM ANALYZE")
        _say("writing it all to disk")
        connection.execute("CHECKPOINT")
    return chunks * CHUNK


def bring_up_to_date(uri: str) -> None:
    """Rebuild the read models whose rows are of another version than this one's."""
    recorder = Recorder(Datastore(uri, pool_size=3), FactMapper())
    with psycopg.connect(uri) as connection:
        install(connection, READ_MODELS)
        outdated = [each.name for each in generations(connection, "building")]
    with closing(Follower(recorder, lambda: psycopg.connect(uri), READ_MODELS)) as follower:
        for name in outdated:
            _say(f"rebuilding {name}")
            rebuild(follower, name)
    recorder.datastore.close()


def verified(uri: str) -> bool:
    """Whether a replay of the log makes the same rows as are there."""
    recorder = Recorder(Datastore(uri, pool_size=3), FactMapper())
    with closing(Follower(recorder, lambda: psycopg.connect(uri), READ_MODELS)) as follower:
        follower.catch_up()
        equal = verify(follower, None, lambda *_: None).equal
    recorder.datastore.close()
    return equal


@contextmanager
def in_haste(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Settings that a crash would make one pay for, for as long as the block."""
    for name, value in HASTE.items():
        connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
    connection.execute("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        for name in HASTE:
            connection.execute(f"ALTER SYSTEM RESET {name}".encode())
        connection.execute("SELECT pg_reload_conf()")
        time.sleep(1)


def _write_chunks(uri: str, study: Study, schemas: dict[str, str], processes: int, seconds: float) -> int:
    """How many chunks were written: all, or those that were begun before the time was over."""
    began = said = time.monotonic()
    numbers, under_way, done = iter(range(study.chunks)), set[Future[None]](), 0
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        while True:
            while len(under_way) < 2 * processes and time.monotonic() - began < seconds:
                number = next(numbers, None)
                if number is None:
                    break
                under_way.add(pool.submit(_write_chunk, uri, study, number, schemas))
            if not under_way:
                break
            ended, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            for each in ended:
                each.result()
            done += len(ended)
            if time.monotonic() - said > SAY_SECONDS:
                said = time.monotonic()
                _say(f"{done * CHUNK:,} calls in {said - began:,.0f} s")
    _say(f"{done * CHUNK:,} calls written in {time.monotonic() - began:,.0f} s")
    return done


def _write_chunk(uri: str, study: Study, number: int, schemas: dict[str, str]) -> None:
    """In a process of its own."""
    with closing(opened(lambda: psycopg.connect(uri))) as connection, without_collecting():
        connection.execute("SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0")
        _write(connection, study.events_before(number), study.chunk(number), schemas)


def _write(connection: psycopg.Connection[Any], before: int, made: list[Made], schemas: dict[str, str]) -> None:
    """Events behind a position, their bodies, and what the read models make of them, in one transaction."""
    encode = FactMapper().encode
    placed = list(enumerate(made, start=before + 1))
    recorded = [
        RecordedEvent(
            position=position,
            stream_id=event.stream_id,
            version=event.version,
            recorded_at=at,
            envelope=event.envelope,
            fact=event.fact,
        )
        for position, (event, at) in placed
    ]
    with connection.transaction(), connection.cursor() as cursor:
        with cursor.copy(EVENTS) as copy:
            copy.set_types(["uuid", "int8", "text", "bytea", "int8", "timestamptz"])
            for position, (event, at) in placed:
                row = (event.stream_id, event.version, event.fact.stored_name, encode(event), position, at)
                copy.write_row(row)
        with cursor.copy(BODIES) as copy:
            copy.set_types(["uuid", "int8", "text", "bytea"])
            for _, (event, _at) in placed:
                for body in event.payloads:
                    copy.write_row((event.stream_id, event.version, body.part, body.body))
        for model in ROWS_ALONE:
            _apply(cursor, model, recorded, schemas[model.name])
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (ONE_AT_A_TIME,))
        for model in OTHERS:
            _apply(cursor, model, recorded, schemas[model.name])


def _apply(cursor: psycopg.Cursor[Any], model: ReadModel, events: list[RecordedEvent], schema: str) -> None:
    read = set(model.reads)
    for change in model.changes([event for event in events if type(event.fact) in read]):
        change.apply(cursor, schema)


def _finish(
    uri: str, connection: psycopg.Connection[Any], model: ReadModel, generation: Generation, position: int
) -> None:
    """Indexes, the position, and into the place of the live one."""
    began = time.monotonic()
    recorder = Recorder(Datastore(uri, pool_size=1), FactMapper())
    connection.execute(
        "UPDATE projections.generations SET position = %s WHERE name = %s AND generation = %s",
        (position, model.name, generation.generation),
    )
    _say(f"indexing {model.name}")
    with closing(opened(lambda: psycopg.connect(uri))) as indexing, closing(SharedPages(recorder)) as pages:
        indexing.execute(INDEXING)
        create_indexes(indexing, model, generation)
        swap(connection, pages, model, generation)
    recorder.datastore.close()
    _say(f"{model.name} made ready in {time.monotonic() - began:,.0f} s")


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)
