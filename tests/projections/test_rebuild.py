"""Rebuilding gives the same rows, verifying finds the ones that were changed by hand."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import pytest

from domain.calls import CallFoundInDoubt, CallJoined
from domain.errors import NotFound, Unavailable
from projections.advance import advance
from projections.follow import Follower
from projections.generations import building, drop, generations, install, opened, prepare, sweep_out
from projections.pages import SharedPages
from projections.read_model import FEWEST_ROWS_TO_COPY
from projections.read_models import READ_MODELS
from projections.rebuild import rebuild
from projections.replay import ProjectionFailed
from projections.status import status
from projections.swap import swap
from projections.verify import verify
from tests.projections.log import NOON, PROCESS, answered, attempt_failed, chat, failed, requested
from tests.projections.tallies import STREAM, Stumbles, happened, tally_model
from tests.support.facts import EXAMPLES

ROOT = Path(__file__).parents[2]
REBUILDS = """
import sys
import psycopg
from projections import pages
from projections.read_models import READ_MODELS
from projections.follow import Follower
from projections.rebuild import rebuild
from tests.projections.log import Log

pages.FIRST_BATCH = pages.LARGEST_BATCH = 250
uri = sys.argv[1]
rebuild(Follower(Log(uri), lambda: psycopg.connect(uri), READ_MODELS))
"""
TABLES = [(model.name, table.name) for model in READ_MODELS for table in model.tables]


@pytest.fixture
def full_log(log):
    """Every fact there is, and calls in every state."""
    for number, fact in enumerate(EXAMPLES, start=100):
        log.write(UUID(int=100 if fact.stored_name.startswith("call.") else number), fact)
    chat(log, 1, attempt_failed(), answered(attempt=2))
    chat(log, 2, attempt_failed(), failed())
    chat(log, 3, CallFoundInDoubt(dead_process=PROCESS, first_seen_dead_at=NOON))
    asked = chat(log, 4)
    log.write(UUID(int=5), CallJoined(call_id=asked, modality="text", provider="openai", model="m", request_hash="ab"))
    return log


@pytest.fixture
def tally(log, connect):
    """A follower of the tally model alone."""
    changes = Stumbles()
    with connect() as connection:
        install(connection, [tally_model()])
    follower = Follower(log, connect, [tally_model(changes)])
    yield follower, changes
    follower.close()


def all_rows(sql):
    return {table: sorted(map(repr, sql(f"SELECT * FROM projections.{table}"))) for _, table in TABLES}


def test_a_rebuild_gives_the_same_rows(full_log, follower, sql):
    follower.catch_up()
    before = all_rows(sql)
    assert not [table for table, rows in before.items() if not rows and table != "embedding_vectors"]
    rebuild(follower)
    assert all_rows(sql) == before
    assert {(each.state, each.generation) for each in status(follower)} == {("live", 2)}


def test_rows_do_not_depend_on_how_the_log_was_cut(full_log, follower, connect, sql):
    """Nor on how they travel: of many at once by COPY, of one alone unnested."""
    for number in range(1000, 1000 + 2 * FEWEST_ROWS_TO_COPY):
        hard = requested(model=f"m\x00\t\\N {number} é", metadata={"tab\t": ["\x00", None, 1.5, {"ü": "\\"}]})
        full_log.write(UUID(int=number), hard, attempt_failed(), answered(attempt=2))
    follower.catch_up()
    whole = all_rows(sql)
    sql("UPDATE projections.generations SET state = 'retired'")
    with connect() as connection:
        install(connection, READ_MODELS)
    one_by_one = Follower(full_log, connect, READ_MODELS, largest_batch=1)
    one_by_one.catch_up()
    one_by_one.close()
    assert all_rows(sql) == whole


def test_an_untouched_store_verifies_as_equal_and_leaves_nothing_behind(full_log, follower, sql):
    follower.catch_up()
    report = verify(follower)
    assert report.equal
    assert report.position == full_log.last_position()
    assert [(each.read_model, each.table) for each in report.tables] == TABLES
    assert sum(each.rows for each in report.tables) > 15
    assert {each.state for each in status(follower)} == {"live"}
    assert sql("SELECT nspname FROM pg_namespace WHERE nspname ~ '_g2$'") == []


def test_rows_that_were_changed_by_hand_are_named(full_log, follower, sql):
    follower.catch_up()
    changed, removed = UUID(int=1), UUID(int=2)
    sql("UPDATE projections.calls SET model = 'another' WHERE call_id = %s", changed)
    sql("DELETE FROM projections.calls WHERE call_id = %s", removed)
    sql("INSERT INTO projections.call_attempts SELECT %s, 9, 9, 'failed', 1, 1, NULL, at, 1 FROM "
        "projections.call_attempts LIMIT 1", UUID(int=3))  # fmt: skip
    report = verify(follower, "raw_calls")
    assert not report.equal
    found = {each.table: [(row.key, row.kind) for row in each.differences] for each in report.tables}
    assert found == {
        "calls": [(str(changed), "different"), (str(removed), "missing")],
        "call_attempts": [(f"{UUID(int=3)}/9", "extra")],
        "grouped_calls": [],
    }
    assert verify(follower, "group_links").equal
    rebuild(follower, "raw_calls")
    assert verify(follower).equal


def test_verify_compares_up_to_where_the_live_tables_are(full_log, follower):
    follower.catch_up()
    full_log.write(UUID(int=4), answered())  # not followed yet
    report = verify(follower)
    assert report.equal
    assert report.position == full_log.last_position() - 1


def test_an_interrupted_rebuild_goes_on_where_it_stopped(log, connect, tally, sql):
    follower, _ = tally
    log.write(STREAM, *(happened() for _ in range(20)))
    follower.catch_up()
    connection = opened(connect)
    model = follower.read_models[0]
    half_built = building(connection, model)
    advance(connection, SharedPages(log), model, half_built, batch_size=2000, until=12)
    connection.close()
    seen = []
    rebuild(follower, "tally", lambda name, position, of: seen.append((name, position, of)))
    assert seen[0] == ("tally", 20, 20)
    assert [(each.state, each.generation) for each in status(follower)] == [("live", half_built.generation)]
    assert sql("SELECT seen FROM study.tallies") == [(20,)]


def test_events_that_arrive_while_generations_are_swapped_are_neither_lost_nor_doubled(log, connect, tally, sql):
    follower, _ = tally
    stop = threading.Event()

    def follow():
        while not stop.is_set():
            follower.step()

    def write():
        for _ in range(60):
            log.write(STREAM, *(happened() for _ in range(10)))

    rebuilds = 0
    with ThreadPoolExecutor(2) as threads:
        following, writing = threads.submit(follow), threads.submit(write)
        while not writing.done() or rebuilds == 0:
            rebuild(follower, "tally")
            rebuilds += 1
        stop.set()
    assert (following.result(), writing.result()) == (None, None)
    follower.catch_up()
    assert sql("SELECT seen FROM study.tallies") == [(600,)]
    assert [each.generation for each in status(follower)] == [rebuilds + 1]


def test_a_swap_waits_for_the_batch_under_way_and_reads_what_it_read(log, connect, tally, sql):
    follower, _ = tally
    model = follower.read_models[0]
    log.write(STREAM, *(happened() for _ in range(12)))
    follower.catch_up()
    connection = opened(connect)
    half_built = building(connection, model)
    holder = opened(connect)
    with ThreadPoolExecutor(1) as thread:
        with holder.transaction():
            log.write(STREAM, *(happened() for _ in range(3)))
            (live,) = generations(holder, "live")
            advance(holder, SharedPages(log), model, live, batch_size=2000)
            swapping = thread.submit(swap, connection, SharedPages(log), model, half_built)
            with pytest.raises(TimeoutError):
                swapping.result(timeout=0.3)
        assert swapping.result()
    assert sql("SELECT seen FROM study.tallies") == [(15,)]  # time never runs backwards for readers
    assert not swap(connection, SharedPages(log), model, half_built)  # it is done once
    connection.close()
    holder.close()


def test_a_rebuild_whose_generation_was_dropped_meanwhile_says_so(log, connect, tally):
    follower, _ = tally
    log.write(STREAM, *(happened() for _ in range(3000)))

    def another_version_opens(*_):
        with connect() as connection:
            prepare(connection)
            for each in generations(connection, "building"):
                drop(connection, each)

    with pytest.raises(Unavailable, match="tally_g2 was dropped meanwhile"):
        rebuild(follower, "tally", another_version_opens)


def test_a_verifier_at_work_is_not_taken_for_a_dead_one(log, connect, tally):
    follower, _ = tally
    log.write(STREAM, happened())
    follower.catch_up()

    def another_process_opens(*_):
        with connect() as connection:
            prepare(connection)
            sweep_out(connection)

    assert verify(follower, "tally", another_process_opens).equal


def test_one_read_model_that_fails_holds_up_no_other(log, connect, follower, sql):
    changes = Stumbles()
    models = (tally_model(changes), *READ_MODELS)
    with connect() as connection:
        install(connection, models)
    both = Follower(log, connect, models)
    chat(log, 1, answered())
    log.write(STREAM, happened("bad"))
    both.catch_up()
    with pytest.raises(ProjectionFailed, match="The read model tally can't be replayed past event 3: ValueError"):
        rebuild(both)
    both.close()
    found = {each.name: each.generation for each in status(follower) if each.state == "live"}
    assert found == {"tally": 1} | dict.fromkeys((model.name for model in READ_MODELS), 2)


def test_indexes_are_made_at_the_end_and_all_are_there(full_log, follower, sql):
    def index_columns():
        return sql(
            "SELECT tablename, regexp_replace(indexdef, '.* USING', '') FROM pg_indexes "
            "WHERE schemaname ~ '_g[0-9]+$' ORDER BY 1, 2"
        )

    follower.catch_up()
    before = index_columns()
    assert len(before) == sum(1 + len(table.indexes) for model in READ_MODELS for table in model.tables)
    seen = []
    rebuild(follower, "raw_calls", lambda *_: seen.append(len(index_columns())))
    assert len(before) < seen[0] < 2 * len(before)  # the tables of both, the indexes of one
    assert index_columns() == before


def test_a_rebuild_that_is_killed_again_and_again_goes_on_to_the_same_rows(database, log, follower, sql):
    for number in range(1, 1500):
        chat(log, number, attempt_failed(), answered(attempt=2))
    follower.catch_up()
    before = all_rows(sql)
    reached = []
    while not reached or reached[-1] > 0:
        process = subprocess.Popen([sys.executable, "-c", REBUILDS, database.application_uri], cwd=ROOT)
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            behind = [each.position for each in status(follower) if each.state == "building"]
            if behind and max(behind) > max(reached, default=0) and len(reached) < 4:
                process.kill()
                process.wait()
                reached.append(max(behind))
            time.sleep(0.002)
        if process.returncode == 0:
            break
    assert len(reached) >= 2
    assert reached == sorted(reached)  # each went on from where the one before it died
    assert all_rows(sql) == before
    assert {(each.state, each.generation) for each in status(follower)} == {("live", 2)}


def test_a_rebuild_that_fails_leaves_the_live_one_as_it_was(log, tally, sql):
    follower, changes = tally
    changes.broken = False
    log.write(STREAM, happened(), happened("bad"))
    follower.catch_up()
    changes.broken = True
    with pytest.raises(ProjectionFailed, match="past event 2: ValueError: a bad reason"):
        rebuild(follower, "tally")
    assert sql("SELECT seen FROM study.tallies") == [(2,)]
    with pytest.raises(ProjectionFailed):
        verify(follower, "tally")
    assert [(each.state, each.failed_position) for each in status(follower)] == [("live", None), ("building", 2)]


def test_old_tables_that_are_still_read_are_dropped_later(log, connect, tally, sql):
    follower, _ = tally
    log.write(STREAM, happened())
    follower.catch_up()
    with connect() as reader:
        reader.execute("SELECT * FROM tally_g1.tallies")
        rebuild(follower, "tally")
        assert sql("SELECT seen FROM study.tallies") == [(1,)]
        assert sql("SELECT to_regnamespace('tally_g1') IS NOT NULL") == [(True,)]
    rebuild(follower, "tally")
    assert sql("SELECT to_regnamespace('tally_g1') IS NULL") == [(True,)]


def test_a_swap_waits_for_a_long_query_and_holds_up_no_other(log, connect, tally, sql):
    follower, _ = tally
    log.write(STREAM, happened())
    follower.catch_up()
    with connect() as reader:
        reader.execute("SELECT * FROM study.tallies")
        rebuilding = threading.Thread(target=rebuild, args=(follower, "tally"))
        rebuilding.start()
        sql("SET statement_timeout = '2s'")
        for _ in range(12):
            assert sql("SELECT seen FROM study.tallies") == [(1,)]
            rebuilding.join(timeout=0.05)
        assert rebuilding.is_alive()
    rebuilding.join()
    assert [(each.state, each.generation) for each in status(follower)] == [("live", 2)]


def test_status_tells_how_far_behind_each_read_model_is(full_log, follower):
    behind = status(follower)
    assert {each.lag_events for each in behind} == {full_log.last_position()}
    assert all(each.lag_seconds > 0 for each in behind)
    follower.catch_up()
    assert {(each.lag_events, each.lag_seconds) for each in status(follower)} == {(0, 0.0)}


def test_an_unknown_read_model_is_named_with_the_known_ones(follower):
    with pytest.raises(NotFound, match="no read model 'dreams'; there are raw_calls"):
        rebuild(follower, "dreams")
