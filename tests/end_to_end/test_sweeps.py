"""Sweeps that are killed, for real: whenever it happens, what comes out is the same bits, and no step is done twice.

STUDY_TEST_SCALE multiplies the number of kills; where they hit is the same at every run unless it is above 1.
"""

import json
import os
import random
import signal
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

import study_query_llm as sq
from infrastructure.event_store.mapper import FactMapper
from tests.conftest import Database
from tests.support.dask_cluster import dask_cluster
from tests.support.warm_process import WarmCommand

SCALE = float(os.environ.get("STUDY_TEST_SCALE", "1"))
KILLS = round(4 * SCALE)
STEPS = 24
WORDS = ("--k-max", str(STEPS + 1), "--restarts", "16", "--pca-dim", "0", "--json")


def rows() -> np.ndarray[Any, np.dtype[np.float32]]:
    chance = np.random.default_rng(7)
    return (np.repeat(np.eye(6), 150, axis=0) + chance.normal(0, 0.4, (900, 6))).astype(np.float32)


def environment(database: Database, home: Path) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")},
        "DATABASE_URL": database.application_uri,
        "STUDY_HOME": str(home),
        "STUDY_IN_DOUBT_AFTER_S": "0.2",
    }


def command(database: Database, folder: Path, *words: str) -> WarmCommand:
    return WarmCommand(*words, folder=folder, environment=environment(database, folder / "home"))


def steps_of(database: Database) -> Counter[tuple[str, int]]:
    """How often each step of each sweep was recorded as finished."""
    mapper = FactMapper()
    with psycopg.connect(database.owner_uri) as owner:
        found = owner.execute(
            "SELECT originator_id, topic, state FROM events.events WHERE topic = 'sweep.step_finished.v1'"
        ).fetchall()
    return Counter((str(sweep), mapper.decode(topic, state)[1].metrics.k) for sweep, topic, state in found)  # type: ignore[attr-defined]


def bits(sweep: dict[str, Any]) -> list[Any]:
    """All that must not depend on how often it was begun."""
    made = [{name: value for name, value in step.items() if name not in UNEQUAL} for step in sweep["steps"]]
    return [sweep["chosen_k"], sweep["explanation"], *made]


UNEQUAL = ("duration_s", "finished_at", "step_group_id", "artifact_ids")


def test_killed_at_any_moment_a_sweep_goes_on_by_command_or_by_id_and_ends_in_the_same_bits(
    database: Database, tmp_path: Path
) -> None:
    np.save(tmp_path / "rows.npy", rows())
    again = ("sweep", "run", "--vectors", "rows.npy", *WORDS)
    chance = random.Random(None if SCALE > 1 else 1)
    done_at = sorted(chance.choices(range(1, STEPS // 2), k=KILLS))
    words, killed = again, 0
    for steps in done_at:
        with closing(command(database, tmp_path, *words)) as running:
            deadline = time.monotonic() + 120
            while sum(steps_of(database).values()) < steps and running.exit_code is None:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.05))
            running.kill()
            killed += running.exit_code == -signal.SIGKILL
        sweep_id = next(iter(steps_of(database)))[0]
        words = again if chance.random() < 0.5 else ("sweep", "resume", sweep_id, "--json")
    assert killed == len(done_at)
    with sq.open(database_url=database.application_uri, home=tmp_path / "home") as study:
        left = study.find_sweep(sweep_id)
        assert left.status in ("running", "interrupted")
        told: list[tuple[str, int, int]] = []

        def tell(stage: str, done: int, total: int, /, *, remaining_s: float | None = None) -> None:
            told.append((stage, done, total))

        finished = study.resume_sweep(sweep_id, progress=tell)
        assert finished.status == "finished"
        assert told[0] == ("clustering", len(left.document["steps"]), STEPS)
        assert told[-1][1] == told[-1][2]
        assert steps_of(database) == Counter({(sweep_id, k): 1 for k in range(2, STEPS + 2)})
        whole = study.sweep(rows(), k=range(2, STEPS + 2), restarts=16, pca_dim=None, force=True)
        assert bits(whole.document) == bits(finished.document)
        assert all((whole.labels(k) == finished.labels(k)).all() for k in range(2, STEPS + 2))
        found = study.sweep(rows(), k=range(2, STEPS + 2), restarts=16, pca_dim=None)
        assert found.sweep_id == sweep_id


def test_a_sweep_is_cancelled_from_another_process_and_a_dead_one_is_not_running_for_ever(
    database: Database, tmp_path: Path
) -> None:
    np.save(tmp_path / "rows.npy", rows())
    long = ("sweep", "run", "--vectors", "rows.npy", "--k-max", "300", "--restarts", "4", "--pca-dim", "0", "--json")
    with sq.open(database_url=database.application_uri, home=tmp_path / "home") as study:
        with closing(command(database, tmp_path, *long)) as running:
            deadline = time.monotonic() + 60
            while not (found := steps_of(database)):
                assert time.monotonic() < deadline, running.exit_code
                time.sleep(0.05)
            sweep_id = next(iter(found))[0]
            with pytest.raises(sq.Conflict, match="is under way in process"):
                study.resume_sweep(sweep_id)
            began = time.monotonic()
            assert study.cancel_sweep(sweep_id)["status"] == "cancelled"
            code, out, error = running.ended(60)
        assert code == 2, error
        assert "was cancelled by" in json.loads(out)["detail"]
        assert time.monotonic() - began < 10
        assert study.find_sweep(sweep_id).status == "cancelled"
        before = sum(steps_of(database).values())
        with closing(command(database, tmp_path, "sweep", "resume", sweep_id, "--json")) as resumed:
            deadline = time.monotonic() + 60
            while sum(steps_of(database).values()) <= before:
                assert time.monotonic() < deadline, resumed.exit_code
                time.sleep(0.05)
    time.sleep(0.3)
    statuses = []
    for _ in range(2):  # the two looks at who is dead
        with closing(command(database, tmp_path, "sweep", "show", sweep_id, "--json")) as shown:
            statuses.append(json.loads(shown.ended()[1])["status"])
        time.sleep(0.3)
    assert statuses[-1] == "interrupted"
    assert max(steps_of(database).values()) == 1


def test_a_sweep_on_a_cluster_is_the_same_bits_though_a_worker_is_killed(database: Database, tmp_path: Path) -> None:
    made = {"k": range(2, 10), "restarts": 4, "pca_dim": None}
    with dask_cluster(tmp_path) as cluster, sq.open(database_url=database.application_uri, home=tmp_path) as study:
        here = study.sweep(rows(), **made)
        deadline = time.monotonic() + 60
        while True:
            try:
                # One step, so that both workers are there and have loaded what they need.
                study.sweep(rows(), k=[2], restarts=1, pca_dim=None, compute=cluster.address, force=True)
                break
            except sq.Unavailable:
                assert time.monotonic() < deadline
                time.sleep(0.2)

        def kill_one(stage: str, done: int, total: int, /, *, remaining_s: float | None = None) -> None:
            if stage == "clustering" and done == 2:
                cluster.workers[0].kill()

        there = study.sweep(rows(), **made, compute=cluster.address, force=True, progress=kill_one)
        assert cluster.workers[0].wait() == -signal.SIGKILL
        assert bits(here.document) == bits(there.document)
        assert all((here.labels(k) == there.labels(k)).all() for k in made["k"])
        assert max(steps_of(database).values()) == 1
        cluster.scheduler.kill()
        cluster.scheduler.wait()
        with pytest.raises(sq.Unavailable, match="can't be reached"):
            study.sweep(rows(), **made, compute=cluster.address, force=True)
