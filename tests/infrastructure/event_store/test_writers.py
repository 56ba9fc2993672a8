"""Writers that dawdle, change their mind, lose their connection and are killed, and readers that tail the log.

STUDY_TEST_SCALE=50 makes it a million events.
"""

import hashlib
import multiprocessing
import os
import random
import signal
import socket
import time
from multiprocessing.synchronize import Event
from typing import Any

import psycopg

from infrastructure.event_store.datastore import Datastore
from infrastructure.event_store.mapper import FactMapper
from infrastructure.event_store.recorder import Recorder
from tests.conftest import Database
from tests.support.appends import append_of

EVENTS = int(20_000 * float(os.environ.get("STUDY_TEST_SCALE", "1")))
WRITERS, READERS = 4, 2
MOST_AT_ONCE = 300
LAST_BREATH = 10  # the batch in whose middle a writer's first life ends


def write(uri: str, seed: int, first_life: bool) -> None:
    """A process that appends in transactions of its own until the log is long enough."""
    recorder = Recorder(Datastore(uri), FactMapper())
    chance = random.Random(seed)
    batches = 0
    while recorder.last_position() < EVENTS:
        connection = psycopg.connect(uri)
        for _ in range(20):
            appends = [append_of() for _ in range(chance.randint(1, MOST_AT_ONCE))]
            recorder.insert_appends(connection, [recorder.encode(each) for each in appends], process=seed + 1)
            time.sleep(chance.choice([0, 0, 0.001, 0.02]))
            batches += 1
            if batches == LAST_BREATH and first_life:
                os.kill(os.getpid(), signal.SIGKILL)
            fate = chance.random()
            if fate < 0.05:
                with socket.socket(fileno=os.dup(connection.fileno())) as line:
                    line.shutdown(socket.SHUT_RDWR)
                break
            if fate < 0.15:
                connection.rollback()
            else:
                connection.commit()
        connection.close()


def read(uri: str, seed: int, finished: Event, answers: "multiprocessing.Queue[Any]") -> None:
    """A process that tails the log in pages of any size; what it saw, in order, as a count and a digest."""
    recorder = Recorder(Datastore(uri), FactMapper())
    chance = random.Random(seed)
    seen, last, in_order, digest = 0, 0, True, hashlib.sha256()
    while True:
        was_finished = finished.is_set()
        page = recorder.page(after=last, limit=chance.choice([1, 10, 1_000, 5_000]))
        for event in page:
            in_order = in_order and event.position == last + 1
            last = event.position
            digest.update(event.stream_id.bytes)
        seen += len(page)
        if was_finished and not page:
            break
    answers.put((seen, last, in_order, digest.hexdigest()))


def test_readers_see_every_event_once_and_in_the_same_order_whatever_befalls_the_writers(database: Database) -> None:
    spawn = multiprocessing.get_context("spawn")
    finished, answers = spawn.Event(), spawn.Queue()
    readers = [
        spawn.Process(target=read, args=(database.application_uri, seed, finished, answers)) for seed in range(READERS)
    ]
    writers = [spawn.Process(target=write, args=(database.application_uri, seed, True)) for seed in range(WRITERS)]
    for process in [*readers, *writers]:
        process.start()
    ended = []
    while writers:
        for writer in [each for each in writers if not each.is_alive()]:
            writers.remove(writer)
            ended.append(writer.exitcode)
            if writer.exitcode == -signal.SIGKILL:
                writers.append(spawn.Process(target=write, args=(database.application_uri, 100 + len(ended), False)))
                writers[-1].start()
        time.sleep(0.05)
    finished.set()
    first, second = (answers.get(timeout=300) for _ in readers)
    for reader in readers:
        reader.join()
    assert sorted(ended) == [-signal.SIGKILL] * WRITERS + [0] * WRITERS
    assert first == second
    with psycopg.connect(database.owner_uri) as owner, owner.cursor("stored", binary=True) as stored:
        digest = hashlib.sha256()
        stored.itersize = 10_000
        stored.execute("SELECT originator_id FROM events.events ORDER BY notification_id")
        for (stream_id,) in stored:
            digest.update(stream_id.bytes)
        count = owner.execute("SELECT count(*) FROM events.events").fetchone() or (0,)
    assert count[0] >= EVENTS
    assert first == (*count, *count, True, digest.hexdigest())
