"""Installing read models: by several openers at once, by a plain role, and in a new shape."""

import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg
import pytest
from msgspec.structs import replace

from domain.errors import Unavailable
from projections.follow import Follower
from projections.generations import building, create, install, opened, sweep_out
from projections.read_model import View
from projections.read_models import READ_MODELS
from tests.projections.tallies import STREAM, happened, tally_model

LIVE = "SELECT count(*), count(DISTINCT name) FROM projections.generations WHERE state = 'live'"


def test_four_openers_at_once_install_once(connect, sql):
    barrier = threading.Barrier(4)

    def open_store():
        with connect() as connection:
            barrier.wait()
            install(connection, READ_MODELS)

    with ThreadPoolExecutor(4) as threads:
        openings = [threads.submit(open_store) for _ in range(4)]
    assert [opening.result() for opening in openings] == [None] * 4
    assert sql(LIVE) == [(len(READ_MODELS), len(READ_MODELS))]


def test_a_role_that_may_only_create_schemas_installs_follows_and_reads(database, log, sql):
    role = f"plain_{uuid4().hex[:12]}"
    with psycopg.connect(database.owner_uri, autocommit=True) as owner:
        name = owner.info.dbname
        for statement in (
            f"CREATE ROLE {role} LOGIN",
            f'GRANT CREATE, CONNECT ON DATABASE "{name}" TO {role}',
            f"GRANT USAGE ON SCHEMA events TO {role}",
            f"GRANT SELECT, INSERT ON events.events, events.payloads TO {role}",
        ):
            owner.execute(statement.encode())

        def connect():
            return psycopg.connect(database.owner_uri, options=f"-c role={role}")

        log.write(STREAM, happened())
        with connect() as connection:
            install(connection, [tally_model()])
        follower = Follower(log, connect, [tally_model()])
        follower.catch_up()
        with connect() as connection:
            assert connection.execute("SELECT seen FROM study.tallies").fetchall() == [(1,)]
        follower.close()
        owner.execute(f"DROP OWNED BY {role}".encode())
        owner.execute(f"DROP ROLE {role}".encode())


def test_a_role_that_may_create_nothing_is_told_so(database):
    role = f"reader_{uuid4().hex[:12]}"
    with psycopg.connect(database.owner_uri, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {role} LOGIN".encode())
        with (
            psycopg.connect(database.owner_uri, options=f"-c role={role}") as connection,
            pytest.raises(Unavailable, match="study db grant"),
        ):
            install(connection, [tally_model()])
        owner.execute(f"DROP ROLE {role}".encode())


def test_a_changed_shape_is_built_beside_the_old_one_and_swapped_in_when_caught_up(log, connect, sql):
    old = tally_model()
    log.write(STREAM, happened(), happened())
    with connect() as connection:
        install(connection, [old])
    before = Follower(log, connect, [old])
    before.catch_up()
    new = tally_model(version=2)
    new = replace(
        new,
        views=(View(name="tallies", select="SELECT seen, stream_id FROM {schema}.tallies"),),
    )
    with connect() as connection:
        install(connection, [new])
    assert sql("SELECT stream_id, seen FROM study.tallies") == [(STREAM, 2)]  # the old one is still served
    log.write(STREAM, happened())
    after = Follower(log, connect, [new])
    after.catch_up()
    assert sql("SELECT * FROM study.tallies") == [(3, STREAM)]
    assert sql("SELECT generation, state FROM projections.generations ORDER BY 1") == [(1, "retired"), (2, "live")]
    assert sql("SELECT to_regnamespace('tally_g1')") == [(None,)]
    with (
        connect() as connection,
        pytest.raises(Unavailable, match="at version 2, and this version of study-query-llm knows 1"),
    ):
        install(connection, [old])
    before.close()
    after.close()


def test_a_changed_view_alone_needs_no_rebuild(connect, sql):
    model = tally_model()
    with connect() as connection:
        install(connection, [model])
    changed = replace(model, views=(View(name="tallies", select="SELECT seen FROM {schema}.tallies"),))
    with connect() as connection:
        install(connection, [changed])
    assert sql("SELECT generation, state FROM projections.generations") == [(1, "live")]
    assert sql("SELECT * FROM study.tallies") == []


def test_a_view_that_a_users_own_view_needs_is_not_dropped_silently(connect, sql):
    model = tally_model()
    with connect() as connection:
        install(connection, [model])
    sql("CREATE SCHEMA notebook")
    sql("CREATE VIEW notebook.mine AS SELECT reason FROM study.tallies")
    changed = replace(model, views=(View(name="tallies", select="SELECT seen FROM {schema}.tallies"),))
    with connect() as connection, pytest.raises(Unavailable, match=r"view notebook\.mine depends"):
        install(connection, [changed])


def test_a_half_built_generation_of_another_shape_is_thrown_away(connect, sql):
    model, newer = tally_model(), tally_model(version=2)
    with connect() as connection:
        install(connection, [model])
        first = building(connection, model)
        second = building(connection, newer)
        assert building(connection, newer) == second
    assert (first.generation, second.generation) == (2, 3)
    assert sql("SELECT to_regnamespace('tally_g2')") == [(None,)]


def test_what_a_dead_verifier_left_is_swept_out(connect, sql):
    model = tally_model()
    with connect() as connection:
        install(connection, [model])
    connection = opened(connect)
    create(connection, model, "verifying")
    sweep_out(connection)
    connection.close()
    assert sql("SELECT state FROM projections.generations WHERE generation = 2") == [("retired",)]
    assert sql("SELECT to_regnamespace('tally_g2')") == [(None,)]
