"""Sweeps over HTTP: asked for, run by a process of the server's, watched, cancelled, gone on with."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import psycopg
import pytest

from infrastructure.settings import Settings
from tests.conftest import Database
from tests.interfaces.http.conftest import serving
from tests.interfaces.serving.test_serving import process
from tests.support.swept import TEXTS

SMALL = {"provider": "local", "k_max": 4, "restarts": 2, "pca_dim": 4, "dataset": "things"}


@pytest.fixture
def busy(settings: Settings) -> Iterator[httpx.Client]:
    """A server with a dataset of its own."""
    with serving(settings) as address, httpx.Client(base_url=address, timeout=30) as client:
        with_dataset(client)
        yield client


def with_dataset(client: httpx.Client) -> None:
    rows = [{"text": text, "topic": "travel" if place < 12 else "baking"} for place, text in enumerate(TEXTS)]
    body = "\n".join(json.dumps(row) for row in rows)
    imported = client.post(
        "/api/datasets",
        files={"file": ("things.jsonl", body)},
        data={"name": "things", "text_column": "text", "label_column": "topic"},
    )
    assert imported.status_code == 201, imported.text


def blobs(rows: int, *, seed: int = 0) -> list[list[float]]:
    chance = np.random.default_rng(seed)
    return (np.repeat(np.eye(8), rows // 8, axis=0) + chance.normal(0, 0.4, (rows, 8))).tolist()


def watched(client: httpx.Client, sweep_id: str, **headers: str) -> list[tuple[str, str, Any]]:
    """The id, name and content of every event, to the end."""
    events, number, name = [], "", ""
    with client.stream("GET", f"/api/sweeps/{sweep_id}/progress", headers=headers, timeout=60) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            field, _, value = line.partition(": ")
            match field:
                case "id":
                    number = value
                case "event":
                    name = value
                case "data" if value != "[DONE]":
                    events.append((number, name, json.loads(value)))
                    number, name = "", ""
                case "data":
                    events.append(("", "[DONE]", None))
    return events


def test_a_sweep_is_asked_for_watched_to_its_end_and_found_again(busy: httpx.Client) -> None:
    asked = busy.post("/api/sweeps", json=SMALL)
    assert asked.status_code == 202, asked.text
    sweep_id = asked.json()["sweep_id"]
    assert asked.headers["location"] == f"/api/sweeps/{sweep_id}"
    waiting = busy.get(asked.headers["location"], params={"at_least": asked.json()["position"]}).json()
    assert (waiting["status"], waiting["method"]) in [("requested", "k-means"), ("running", "k-means")]
    events = watched(busy, sweep_id)
    named = [name for _, name, _ in events]
    assert [name for name in named if name != "progress"] == [
        "requested",
        "started",
        *["step_finished"] * 3,
        "finished",
        "sweep",
        "[DONE]",
    ]
    assert [number for number, _, _ in events if number] == ["1", "2", "3", "4", "5", "6"]
    steps = [content for _, name, content in events if name == "step_finished"]
    assert [(step["done"], step["of"]) for step in steps] == [(1, 3), (2, 3), (3, 3)]
    assert steps[-1]["remaining_s"] == 0
    sweep = events[-2][2]
    assert (sweep["status"], sweep["sweep_id"], len(sweep["steps"])) == ("finished", sweep_id, 3)
    assert sweep["steps"][0]["acc"] is not None
    page = busy.get(f"/api/sweeps/{sweep_id}/report", timeout=60)  # the first one loads what draws
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "sandbox allow-scripts" in page.headers["content-security-policy"]
    assert "The clusters of things" in page.text
    text = busy.get(f"/api/sweeps/{sweep_id}/report", params={"format": "md"})
    assert text.headers["content-type"] == "text/markdown; charset=utf-8"
    assert text.text.startswith("# The clusters of things\n")
    assert busy.get(f"/api/sweeps/{sweep_id}/report", params={"format": "pdf"}).status_code == 400
    early = busy.get(f"/api/sweeps/{sweep_id}/report", params={"as_of": asked.json()["position"]})
    assert (early.status_code, early.json()["fields"]) == (400, ["sweep_id"])
    # From where a client that lost its line had come.
    assert [number for number, _, _ in watched(busy, sweep_id, **{"Last-Event-ID": "4"}) if number] == ["5", "6"]
    again = busy.post("/api/sweeps", json=SMALL)
    assert (again.status_code, again.json()["sweep_id"], again.json()["status"]) == (202, sweep_id, "finished")
    anew = busy.post("/api/sweeps", json={**SMALL, "force": True}).json()
    assert anew["sweep_id"] != sweep_id
    forced = watched(busy, anew["sweep_id"])[-2][2]
    assert [step["labels_sha256"] for step in forced["steps"]] == [step["labels_sha256"] for step in sweep["steps"]]


def test_two_sweeps_at_once_leave_the_server_time_to_answer_and_are_cancelled_and_resumed(busy: httpx.Client) -> None:
    big = {"k_min": 2, "k_max": 100, "restarts": 8, "pca_dim": 0}
    asked = [
        busy.post("/api/sweeps", json={**big, "vectors": blobs(1600, seed=seed), "seed": seed}).json()
        for seed in (0, 1)
    ]
    ids = [each["sweep_id"] for each in asked]
    busy.get(f"/api/sweeps/{ids[1]}", params={"at_least": asked[1]["position"]})

    def statuses() -> list[str]:
        return [busy.get(f"/api/sweeps/{sweep_id}").json()["status"] for sweep_id in ids]

    deadline = time.monotonic() + 40
    while statuses() != ["running", "running"]:
        assert time.monotonic() < deadline, statuses()
        time.sleep(0.05)
    latencies = []
    for _ in range(20):
        began = time.monotonic()
        assert busy.get("/health/ready").status_code == 200
        latencies.append(time.monotonic() - began)
        time.sleep(0.02)
    assert sorted(latencies)[10] < 0.25, latencies
    for sweep_id in ids:
        done = busy.post(f"/api/sweeps/{sweep_id}/cancel")
        assert (done.status_code, done.json()["status"]) == (200, "cancelled")
    ended = [watched(busy, sweep_id) for sweep_id in ids]
    assert [events[-2][2]["status"] for events in ended] == ["cancelled", "cancelled"]
    finished = len(ended[0][-2][2]["steps"])
    assert busy.post(f"/api/sweeps/{ids[0]}/resume").status_code == 202
    deadline = time.monotonic() + 40
    while len(steps := busy.get(f"/api/sweeps/{ids[0]}").json()["steps"]) <= finished:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    busy.post(f"/api/sweeps/{ids[0]}/cancel")
    assert len({step["k"] for step in steps}) == len(steps)


def test_what_finds_the_number_of_clusters_itself_is_watched_to_its_end_too(busy: httpx.Client) -> None:
    chance = np.random.default_rng(0)
    rows = np.repeat(np.eye(3, 8), 12, axis=0) + chance.normal(0, 0.05, (36, 8))
    body = {"vectors": rows.tolist(), "method": "hdbscan", "parameters": {"min_cluster_size": 6}, "unit_norm": False}
    sweep_id = busy.post("/api/sweeps", json=body).json()["sweep_id"]
    assert [name for _, name, _ in watched(busy, sweep_id)][-1] == "[DONE]"
    sweep = busy.get(f"/api/sweeps/{sweep_id}").json()
    assert (sweep["status"], sweep["chosen_k"], sweep["chosen_by"]) == ("finished", 3, "hdbscan")
    assert [(step["k"], step["noise"]) for step in sweep["steps"]] == [(3, 36 - sum(map(size_of, sweep["clusters"])))]
    assert sweep["config"]["preparation"] == {"unit_norm": False}


def size_of(cluster: dict[str, Any]) -> int:
    return int(cluster["size"])


def test_a_client_that_leaves_is_let_go(busy: httpx.Client) -> None:
    body = {"vectors": blobs(1600), "k_max": 100, "restarts": 8, "pca_dim": 0}
    sweep_id = busy.post("/api/sweeps", json=body).json()["sweep_id"]
    with busy.stream("GET", f"/api/sweeps/{sweep_id}/progress") as answer:
        next(answer.iter_lines())
    assert busy.post(f"/api/sweeps/{sweep_id}/cancel").status_code == 200


def test_a_killed_server_takes_its_runner_along_and_the_next_one_goes_on(database: Database, tmp_path: Path) -> None:
    variables = {"DATABASE_URL": database.application_uri, "STUDY_IN_DOUBT_AFTER_S": "0.5"}
    # Gap makes a step slow enough to be killed between two.
    body = {"vectors": blobs(1600), "k_max": 20, "restarts": 8, "pca_dim": 0, "choose_by": "gap"}
    with process("--home", str(tmp_path), **variables) as (server, address, _):
        with httpx.Client(base_url=address, timeout=30) as client:
            asked = client.post("/api/sweeps", json=body).json()
            sweep_id = asked["sweep_id"]
            client.get(f"/api/sweeps/{sweep_id}", params={"at_least": asked["position"]})
            deadline = time.monotonic() + 40
            while not client.get(f"/api/sweeps/{sweep_id}").json()["steps"]:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        (runner,) = children_of(server.pid, "interfaces.runner")
        server.kill()
        server.wait()
        deadline = time.monotonic() + 20
        while is_alive(runner):
            assert time.monotonic() < deadline, "the runner has outlived its server"
            time.sleep(0.1)
    with psycopg.connect(database.owner_uri) as owner:
        before = step_events(owner)
    with process("--home", str(tmp_path), **variables) as (_, address, _), httpx.Client(base_url=address) as client:
        events = watched(client, sweep_id)
    assert events[-2][2]["status"] == "finished"
    assert len(events[-2][2]["steps"]) == 19
    with psycopg.connect(database.owner_uri) as owner:
        assert step_events(owner) == 19
    assert before < 19
    assert [name for _, name, _ in events].count("step_finished") == 19


def step_events(owner: psycopg.Connection[Any]) -> int:
    row = owner.execute("SELECT count(*) FROM events.events WHERE topic = 'sweep.step_finished.v1'").fetchone()
    assert row is not None
    return int(row[0])


def children_of(parent: int, module: str) -> list[int]:
    """The processes that a process has started to run a module."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            status, line = (folder / "status").read_text(), (folder / "cmdline").read_text().split("\0")
            if f"\nPPid:\t{parent}\n" in status and module in line:
                found.append(int(folder.name))
    return found


def is_alive(number: int) -> bool:
    with suppress(OSError):
        return "\nState:\tZ" not in Path(f"/proc/{number}/status").read_text()
    return False


NO_SWEEP = f"/api/sweeps/{uuid4()}"


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 400, "dataset"),
        ({"dataset": "none"}, 404, None),
        ({"dataset": "none", "vectors": [[1.0]]}, 400, "dataset"),
        ({"dataset": "none", "texts": ["a"]}, 400, "texts"),
        ({"vectors": [[1.0], [2.0, 3.0]]}, 400, "vectors"),
        ({"vectors": [[1.0, 2.0]], "provider": "local"}, 400, "provider"),
        ({"vectors": [[1.0, 2.0]]}, 400, "k_max"),
        ({"vectors": [[1.0, 2.0]] * 9, "k_min": 5, "k_max": 4}, 400, "k_min"),
        ({"vectors": [[1.0, 2.0]] * 9, "k_max": 4, "method": "magic"}, 400, "method"),
        ({"vectors": [[1.0, 2.0]] * 9, "k_max": 4, "parameters": {"rank": 2}}, 400, "rank"),
        ({"vectors": [[1.0, 2.0]] * 9, "k_max": 4, "texts": ["a"]}, 400, "texts"),
        ({"vectors": [[1.0, 2.0]] * 9, "k_max": 4, "summarise": "local"}, 400, "summarise"),
        ({"vectors": [[1.0, 2.0]] * 9, "k_max": 4, "compute": "tcp://10.0.0.1:8786"}, 400, "compute"),
        ({"vectors": [[1.0, 2.0]] * 9, "restarts": 0}, 400, "restarts"),
        ({"vectors": [[1.0, 2.0]] * 9, "unknown": 1}, 400, "unknown"),
        ({"vectors": [[1.0, 2.0]] * 9, "k_max": 4, "choose_by": "elbow"}, 400, "choose_by"),
        ({"vectors": [[1.0, 2.0]] * 9, "k_max": 4, "choose_by": "gap", "choose_parameters": {"b": 3}}, 400, "b"),
        ({"vectors": [[1.0, 2.0]] * 9, "k_max": 4, "also_measure": ["bic"]}, 400, "choose_by"),
        ({"vectors": [[1.0, 2.0]] * 9, "k_max": 4, "method": "hdbscan"}, 400, "k_max"),
        ({"vectors": [[1.0, 2.0]] * 9, "k_max": 4, "view": "tsne"}, 400, "view"),
    ],
)
def test_what_cannot_be_swept_is_refused_at_once(
    reader: httpx.Client, body: dict[str, Any], status: int, field: str | None
) -> None:
    answer = reader.post("/api/sweeps", json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    if field is not None:
        assert any(field in each for each in answer.json()["fields"]), answer.text


def test_there_is_nothing_to_cancel_resume_or_watch_where_there_is_no_sweep(reader: httpx.Client) -> None:
    for answer in (
        reader.post(f"{NO_SWEEP}/cancel"),
        reader.post(f"{NO_SWEEP}/resume"),
        reader.get(f"{NO_SWEEP}/progress"),
        reader.post("/api/sweeps/nonsense/cancel"),
    ):
        assert (answer.status_code, answer.json()["status"]) == (404, 404), answer.text
    refused = reader.get(f"{NO_SWEEP}/progress", headers={"Last-Event-ID": "yesterday"})
    assert (refused.status_code, refused.json()["fields"]) == (400, ["Last-Event-ID"])
