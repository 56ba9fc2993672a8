"""Following the log: together, in turns, past failures, and in the background."""

import asyncio
import subprocess
import sys
import threading
import time
from uuid import UUID

import psycopg
import pytest

from domain.errors import Unavailable
from projections import generations
from projections.follow import GATHER_MORE_SECONDS, GATHER_SECONDS, Follower, FollowerThread
from projections.generations import install, opened
from projections.positions import PositionWaits
from projections.raw_calls import RAW_CALLS
from projections.read_models import READ_MODELS
from tests.projections.log import answered, chat, requested
from tests.projections.tallies import STREAM, Stumbles, happened, tally_model

HOLDS_THE_LEASE = """
import sys, time
import psycopg
with psycopg.connect(sys.argv[1]) as connection:
    connection.execute("SELECT FROM projections.generations WHERE name = 'tally' FOR UPDATE")
    print("held", flush=True)
    time.sleep(60)
"""
SEEN = "SELECT seen FROM study.tallies"
POSITION = "SELECT position, failed_position, failed_reason FROM projections.generations WHERE name = %s"


@pytest.fixture
def tallying(log, connect):
    """Makes followers of the tally model and of calls; all are closed at the end."""
    made = []

    def make(changes=None, *, largest_batch=2000):
        models = (tally_model(changes), RAW_CALLS)
        with connect() as connection:
            install(connection, models)
        made.append(Follower(log, connect, models, largest_batch=largest_batch))
        return made[-1]

    yield make
    for follower in made:
        follower.close()


def test_a_page_is_read_once_for_all_read_models(log, follower):
    chat(log, 1, answered())
    log.pages_read = 0
    assert follower.step() == 2 * len(READ_MODELS)
    assert log.pages_read == 1
    assert follower.step() == 0
    assert log.pages_read == 1


def test_the_position_moves_even_for_ignored_events(log, tallying, sql):
    chat(log, 1)
    assert tallying().catch_up().position == 1
    assert sql(POSITION, "tally") == [(1, None, None)]


def test_two_followers_never_count_an_event_twice(log, tallying, sql):
    log.write(STREAM, *(happened() for _ in range(2000)))
    followers = [tallying(largest_batch=37) for _ in range(2)]
    threads = [threading.Thread(target=follower.catch_up) for follower in followers]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sql(SEEN) == [(2000,)]


def test_a_failing_read_model_stops_alone_at_its_event_and_resumes(log, tallying, sql):
    changes = Stumbles()
    log.write(STREAM, *(happened() for _ in range(10)), happened("bad"), *(happened() for _ in range(5)))
    chat(log, 1, answered())
    follower = tallying(changes)
    caught_up = follower.catch_up()
    assert [(each.read_model, each.position, each.reason) for each in caught_up.failures] == [
        ("tally", 11, "ValueError: a bad reason")
    ]
    assert sql(SEEN) == [(10,)]  # those before it are applied
    assert sql(POSITION, "tally") == [(10, 11, "ValueError: a bad reason")]
    assert sql("SELECT status FROM study.raw_calls") == [("success",)]  # the other one went on
    changes.broken = False
    assert follower.catch_up().failures == ()
    assert sql(SEEN) == [(16,)]
    assert sql(POSITION, "tally") == [(18, None, None)]


def test_a_row_too_large_for_an_index_stops_its_read_model_alone(log, tallying, sql):
    model = "".join(chr(0x4E00 + (number * 7919) % 20000) for number in range(4000))
    log.write(UUID(int=1), requested(model=model))
    log.write(STREAM, happened())
    (failure,) = tallying().catch_up().failures
    assert (failure.read_model, failure.position) == ("raw_calls", 1)
    assert "ProgramLimitExceeded" in failure.reason
    assert sql(SEEN) == [(1,)]


def test_a_failed_read_model_is_not_tried_at_every_step(log, tallying):
    log.write(STREAM, happened("bad"))
    follower = tallying()
    follower.step()
    log.pages_read = 0
    assert follower.step() == 0
    assert log.pages_read == 0


def test_a_follower_that_dies_in_the_middle_of_a_batch_is_followed_by_another_within_seconds(
    database, log, tallying, sql
):
    log.write(STREAM, *(happened() for _ in range(50)))
    follower = tallying()
    dying = subprocess.Popen(
        [sys.executable, "-c", HOLDS_THE_LEASE, database.application_uri], stdout=subprocess.PIPE, text=True
    )
    assert dying.stdout is not None
    assert dying.stdout.readline() == "held\n"
    follower.step()
    assert sql(POSITION, "tally") == [(0, None, None)]
    dying.kill()
    dying.communicate()
    began = time.monotonic()
    follower.catch_up()
    assert time.monotonic() - began < 5
    assert sql(SEEN) == [(50,)]


def test_a_follower_that_is_suspended_in_the_middle_of_a_batch_loses_its_lease(
    log, connect, tallying, sql, monkeypatch
):
    monkeypatch.setattr(generations, "LEASE_SECONDS", 1)
    log.write(STREAM, happened())
    follower = tallying()
    suspended = generations.opened(connect)
    with pytest.raises(psycopg.Error), suspended.transaction():  # noqa: PT012
        suspended.execute("SELECT FROM projections.generations WHERE name = 'tally' FOR UPDATE")
        follower.catch_up(patience_seconds=10)
        assert sql(SEEN) == [(1,)]
        suspended.execute("UPDATE projections.generations SET position = 0")  # it wakes up, too late
    assert sql(POSITION, "tally") == [(1, None, None)]


def test_a_read_model_that_is_new_to_a_long_log_is_filled_while_the_others_serve(
    log, connect, follower, sql, monkeypatch
):
    monkeypatch.setattr(generations, "LONGEST_LOG_READ_AT_ONCE", 20)
    log.write(STREAM, *(happened() for _ in range(30)))
    follower.catch_up()
    models = (*READ_MODELS, tally_model())
    with connect() as connection:
        install(connection, models)
    newer = Follower(log, connect, models, largest_batch=7)
    chat(log, 1, answered())
    newer.catch_up(backfill=False)
    assert sql("SELECT status FROM study.raw_calls") == [("success",)]
    assert sql(POSITION, "tally") == [(0, None, None)]
    assert sql("SELECT to_regclass('study.tallies') IS NULL") == [(True,)]
    while newer.step():
        assert sql("SELECT status FROM study.raw_calls") == [("success",)]
    assert sql(SEEN) == [(30,)]
    newer.close()


async def test_a_read_model_that_is_being_built_says_so_when_asked(log, queries, sql):
    sql("DROP VIEW projections.sweeps CASCADE")
    with pytest.raises(Unavailable, match="still being built"):
        await queries.sweeps.sweeps()


def test_catching_up_says_who_holds_it_up(log, connect, tallying):
    log.write(STREAM, happened())
    follower = tallying()
    holder = opened(connect)
    with holder.transaction():
        holder.execute("SELECT FROM projections.generations WHERE name = 'tally' FOR UPDATE")
        with pytest.raises(Unavailable, match="holds tally_g1"):
            follower.catch_up(patience_seconds=0.2)
    assert follower.catch_up().failures == ()
    holder.close()


def test_trouble_with_the_store_is_not_the_read_models_failure(log, database, tallying, sql):
    follower = tallying()
    log.write(STREAM, happened())
    sql("REVOKE INSERT, UPDATE ON tally_g1.tallies FROM CURRENT_USER")
    with pytest.raises(Unavailable, match="lacks a right"):
        follower.catch_up()
    assert sql(POSITION, "tally") == [(0, None, None)]
    sql("GRANT INSERT, UPDATE ON tally_g1.tallies TO CURRENT_USER")
    assert follower.catch_up().failures == ()
    assert sql(SEEN) == [(1,)]


def test_a_follower_connects_anew_when_its_connection_was_lost(log, connect, database, tallying, sql):
    follower = tallying()
    follower.catch_up()
    log.write(STREAM, happened())
    with psycopg.connect(database.owner_uri, autocommit=True) as owner:
        pid = follower._connection.info.backend_pid
        owner.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    with pytest.raises(Unavailable):
        follower.catch_up()
    follower.catch_up()
    assert sql(SEEN) == [(1,)]


async def test_the_thread_follows_when_woken_and_waiters_share_one_poll(log, tallying, sql):
    follower, wake = tallying(), threading.Event()
    thread = FollowerThread(follower, wake)
    thread.start()
    position = await asyncio.to_thread(log.write, STREAM, happened(), happened())
    wake.set()
    await asyncio.gather(*(follower.wait_until(position, 5.0) for _ in range(50)))
    assert sql(SEEN) == [(2,)]
    assert follower.positions() == {"raw_calls": 2, "tally": 2}
    await asyncio.to_thread(thread.stop)


async def test_the_thread_gathers_for_longer_while_events_keep_coming(log, tallying, monkeypatch, sql):
    follower, gathered = tallying(), []

    class WokenAtRest(threading.Event):
        def wait(self, timeout=None):
            if not gathered:
                log.write(STREAM, happened())
                self.set()
            return super().wait(timeout)

    def gather(seconds):
        gathered.append(seconds)
        if len(gathered) == 2:
            log.write(STREAM, happened())

    monkeypatch.setattr(follower, "gather", gather)
    thread = FollowerThread(follower, WokenAtRest())
    thread.start()
    await follower.wait_until(2, 5.0)
    await asyncio.to_thread(thread.stop)
    assert gathered[:3] == [GATHER_SECONDS, GATHER_MORE_SECONDS, GATHER_MORE_SECONDS]
    assert sql(SEEN) == [(2,)]


async def test_a_thread_that_gathers_stops_at_once(log, tallying, monkeypatch):
    monkeypatch.setattr("projections.follow.GATHER_MORE_SECONDS", 600.0)
    follower = tallying()
    position = await asyncio.to_thread(log.write, STREAM, happened())
    thread = FollowerThread(follower, threading.Event())
    thread.start()
    deadline = time.monotonic() + 20
    while min(follower.positions().values()) < position:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    await asyncio.wait_for(asyncio.to_thread(thread.stop), 20)


async def test_the_thread_survives_a_lost_connection(log, database, tallying, sql):
    follower, wake = tallying(), threading.Event()
    thread = FollowerThread(follower, wake)
    thread.start()
    with psycopg.connect(database.owner_uri, autocommit=True) as owner:
        deadline = time.monotonic() + 5
        while follower._connection is None and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        owner.execute("SELECT pg_terminate_backend(%s, 5000)", (follower._connection.info.backend_pid,))
    position = await asyncio.to_thread(log.write, STREAM, happened())
    wake.set()
    await follower.wait_until(position, 5.0)
    await asyncio.to_thread(thread.stop)
    assert sql(SEEN) == [(1,)]


async def test_waiting_is_bounded_and_says_who_is_behind(log, tallying):
    follower = tallying()
    position = log.write(STREAM, happened())
    with pytest.raises(Unavailable, match=r"stored, but not to be read after 0\.05 s: raw_calls is at 0"):
        await follower.wait_until(position, 0.05)


async def test_a_poll_that_outlives_its_waiter_opens_no_connection_once_closed(log, connect, tallying):
    made: list[psycopg.Connection] = []

    def counted() -> psycopg.Connection:
        made.append(connect())
        return made[-1]

    waits = PositionWaits(counted)
    tallying()
    with pytest.raises(Unavailable):
        await waits.wait_until(log.write(STREAM, happened()), 0.05)
    waits.close()
    with pytest.raises(Unavailable, match="the study is closed"):
        waits.positions()
    await asyncio.wait_for(waits._polling, 5.0)
    assert [connection.closed for connection in made] == [True]


def test_a_connection_that_can_not_be_prepared_is_closed(connect):
    made: list[psycopg.Connection] = []

    def broken() -> psycopg.Connection:
        made.append(connect())
        made[-1].execute("SELECT 1")  # begins a transaction, in which autocommit can't be set
        return made[-1]

    with pytest.raises(psycopg.ProgrammingError):
        opened(broken)
    assert made[0].closed


async def test_waiting_for_a_failed_read_model_ends_at_once_and_for_another_one_not_at_all(log, tallying):
    follower = tallying()
    position = log.write(STREAM, happened("bad"))
    follower.catch_up()
    with pytest.raises(Unavailable, match="tally stopped at event 1: ValueError"):
        await follower.wait_until(position, 5.0)
    await follower.wait_until(position, 5.0, ("raw_calls",))


def test_an_unknown_event_stops_the_follower_with_its_name(log, tallying, sql):
    follower = tallying()
    log.connection.execute(
        "INSERT INTO events.events VALUES (%s, 1, 'call.teleported.v9', '', 1, clock_timestamp())", (UUID(int=5),)
    )
    with pytest.raises(Exception, match=r"call\.teleported\.v9"):
        follower.catch_up()
