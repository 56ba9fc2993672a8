"""Given a sweep's events, then its row, its steps and its status at every position."""

from uuid import UUID

import pytest
from msgspec.structs import replace

from domain.errors import NotFound
from domain.sweeps import (
    SweepCancelled,
    SweepFailed,
    SweepFinished,
    SweepInterrupted,
    SweepRequested,
    SweepResumed,
    SweepStarted,
    SweepStepFinished,
)
from projections.paging import Paging
from tests.support.facts import EXAMPLES

BY_TYPE = {type(fact): fact for fact in EXAMPLES}
STARTED, STEP, FINISHED = BY_TYPE[SweepStarted], BY_TYPE[SweepStepFinished], BY_TYPE[SweepFinished]
SWEEP = UUID(int=1)


def step(k):
    return replace(STEP, metrics=replace(STEP.metrics, k=k))


@pytest.fixture
def eventful_sweep(log, follower):
    log.write(SWEEP, STARTED, step(3), SweepFailed(reason="the disk is full"), SweepResumed(finished_steps=1))
    follower.catch_up()
    log.write(SWEEP, step(2), FINISHED)
    follower.catch_up()


async def test_a_finished_sweep_has_the_promised_shape(eventful_sweep, queries):
    sweep = await queries.sweeps.sweep(SWEEP)
    assert (sweep["sweep_id"], sweep["status"], sweep["method"]) == (str(SWEEP), "finished", "k-subspaces")
    assert (sweep["chosen_k"], sweep["chosen_by"], sweep["duration_s"]) == (3, "silhouette", 3.25)
    assert [step["k"] for step in sweep["steps"]] == [2, 3]
    metrics = {"objective", "iterations", "silhouette", "stability_ari_mean", "stability_ari_std", "dispersion"}
    assert set(sweep["steps"][0]) >= metrics | {"k", "coverage", "acc", "nmi", "ari", "labels_sha256"}
    assert set(sweep["clusters"][0]) >= {"cluster", "size", "name", "representatives"}


async def test_as_of_each_position_the_sweep_is_what_it_was(eventful_sweep, queries):
    seen = [await queries.sweeps.sweep(SWEEP, as_of=position) for position in range(1, 7)]
    assert [each["status"] for each in seen] == ["running", "running", "failed", "running", "running", "finished"]
    assert [len(each["steps"]) for each in seen] == [0, 1, 1, 1, 2, 2]
    assert [each["chosen_k"] for each in seen] == [None, None, None, None, None, 3]
    assert seen[2]["reason"] == "the disk is full"
    assert seen[4]["clusters"] == []
    with pytest.raises(NotFound, match="no sweep"):
        await queries.sweeps.sweep(SWEEP, as_of=0)


async def test_of_a_step_that_two_processes_finished_the_later_one_stands(log, follower, queries, sql):
    slower = replace(step(2), duration_s=9.5)
    log.write(SWEEP, STARTED, step(2), slower)
    follower.catch_up()
    seen = [(await queries.sweeps.sweep(SWEEP, as_of=position))["steps"] for position in (1, 2, 3)]
    assert [[each["duration_s"] for each in steps] for steps in seen] == [[], [0.75], [9.5]]
    assert sql("SELECT steps FROM study.sweeps") == [(1,)]
    assert sql("SELECT k, duration_s FROM study.sweep_steps") == [(2, 9.5)]


async def test_sweeps_are_listed_newest_first(log, follower, queries):
    for number in range(1, 4):
        log.write(UUID(int=number), STARTED)
    follower.catch_up()
    page = await queries.sweeps.sweeps(page=Paging(2))
    rest = await queries.sweeps.sweeps(page=Paging(2, page["next_cursor"]))
    found = [UUID(sweep["sweep_id"]).int for sweep in page["items"] + rest["items"]]
    assert found == [3, 2, 1]
    assert rest["next_cursor"] is None
    assert len((await queries.sweeps.sweeps(as_of=1))["items"]) == 1


async def test_a_sweep_that_was_asked_for_is_shown_before_it_starts_and_once_when_it_has(log, follower, queries, sql):
    asked = BY_TYPE[SweepRequested]
    log.write(SWEEP, asked, STARTED, SweepCancelled(reason="asked for"), replace(asked, compute=None))
    log.write(SWEEP, SweepResumed(finished_steps=0), SweepInterrupted(reason="it died"))
    follower.catch_up()
    seen = [await queries.sweeps.sweep(SWEEP, as_of=position) for position in range(1, 7)]
    statuses = ["requested", "running", "cancelled", "requested", "running", "interrupted"]
    assert [each["status"] for each in seen] == statuses
    assert (seen[0]["method"], seen[0]["started_at"], seen[0]["source"]) == ("k-means", None, None)
    assert (seen[0]["compute"], seen[0]["steps"], seen[0]["clusters"]) == ("tcp://127.0.0.1:8786", [], [])
    assert seen[5]["compute"] is None
    assert seen[1]["source"]["n_samples"] == 4500
    assert seen[5]["reason"] == "it died"
    assert [len((await queries.sweeps.sweeps(as_of=position))["items"]) for position in (1, 2)] == [1, 1]
    assert sql("SELECT count(*) FROM study.sweep_requests") == [(2,)]


async def test_what_is_left_to_servers_and_what_runs_is_found_in_the_order_in_which_it_was_asked_for(
    log, follower, queries
):
    asked, ids = BY_TYPE[SweepRequested], [UUID(int=number) for number in range(1, 8)]
    for sweep_id in ids[:-1]:
        log.write(sweep_id, asked)
    log.write(ids[0], STARTED)
    log.write(ids[1], STARTED, SweepInterrupted(reason="it died"))
    log.write(ids[2], STARTED, SweepFailed(reason="no"))
    log.write(ids[3], SweepCancelled(reason="asked for"))
    log.write(ids[4], STARTED, FINISHED)
    log.write(ids[6], STARTED)  # by a command, which nobody asked a server for
    follower.catch_up()
    left = await queries.sweeps.left_to_servers()
    assert left == [(ids[0], "ada"), (ids[1], "ada"), (ids[5], "ada")]
    assert {running.sweep_id for running in await queries.sweeps.running_sweeps()} == {ids[0], ids[6]}


def test_the_views_show_sweeps_and_steps(eventful_sweep, sql):
    assert sql("SELECT status, chosen_k, steps, dataset_name, fingerprint FROM study.sweeps") == [
        ("finished", 3, 2, "clinc", STARTED.fingerprint)
    ]
    assert sql("SELECT k, silhouette, labels_sha256 FROM study.sweep_steps ORDER BY k") == [
        (2, 0.25, STEP.labels_sha256),
        (3, 0.25, STEP.labels_sha256),
    ]


async def test_a_nul_in_what_a_cluster_says_stops_nothing(log, follower, queries):
    finished = replace(FINISHED, clusters=tuple(replace(each, name="a\x00b") for each in FINISHED.clusters))
    log.write(UUID(int=1), STARTED, step(2), step(3), finished)
    follower.catch_up()
    found = await queries.sweeps.sweep(UUID(int=1))
    assert {cluster["name"] for cluster in found["clusters"]} == {"a\ufffdb"}
