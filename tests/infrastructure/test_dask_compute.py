"""Sweep steps on a real Dask cluster of two worker processes: the same bits, whatever dies."""

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domain.clustering.step import Prepared, prepare, run_step
from domain.errors import Rejected, Unavailable
from domain.sweeps import SweepConfig
from infrastructure.compute import ComputePlaces, LocalCompute
from infrastructure.dask_compute import check_address, connected
from tests.support.dask_cluster import DaskCluster, dask_cluster

CONFIG = SweepConfig(method="k-means", k_values=(2, 3, 4, 5), restarts=3, pca_dim=6)
LABELS = tuple("ab" * 150)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    with dask_cluster(tmp_path_factory.mktemp("dask")) as cluster:
        yield cluster


def prepared() -> Prepared:
    chance = np.random.default_rng(0)
    return prepare(
        (np.repeat(np.eye(3, 16), 100, axis=0) + chance.normal(0, 0.2, (300, 16))).astype(np.float32), CONFIG
    )


async def workers_there(cluster: DaskCluster, count: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        with suppress(Unavailable):  # as long as it has no workers
            async with connected(cluster.address) as compute:
                if compute.at_once == count:
                    return
        assert time.monotonic() < deadline, "the workers did not come"
        await asyncio.sleep(0.1)


def process_and_threads(_shared: Any, seconds: float) -> tuple[int, int]:
    """Which process computes, and how many threads its BLAS has meanwhile."""
    from threadpoolctl import threadpool_info

    time.sleep(seconds)
    return os.getpid(), max(each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas")


def fails(_shared: Any) -> None:
    raise Rejected("there is nothing to compute", fields=("k",))


async def test_steps_are_the_same_bits_as_here_on_workers_that_have_one_blas_thread(cluster: DaskCluster) -> None:
    await workers_there(cluster, 2)
    rows, here = prepared(), LocalCompute()
    async with connected(cluster.address) as there:
        shared, labels = await there.share(rows), await there.share(LABELS)
        found = await asyncio.gather(*(there.run(run_step, shared, k, CONFIG, labels, None) for k in CONFIG.k_values))
        told = await asyncio.gather(*(there.run(process_and_threads, shared, 0.2) for _ in range(4)))
        with pytest.raises(Rejected, match="nothing to compute"):
            await there.run(fails, shared)
    for k, result in zip(CONFIG.k_values, found, strict=True):
        expected = await here.run(run_step, rows, k, CONFIG, LABELS, None)
        assert result.metrics == expected.metrics
        assert result.labels.tobytes() == expected.labels.tobytes()
        assert result.centroids.tobytes() == expected.centroids.tobytes()
    assert {process for process, _ in told} <= {worker.pid for worker in cluster.workers}
    assert {threads for _, threads in told} == {1}
    here.close()


async def test_a_worker_that_dies_costs_what_it_was_computing_and_all_of_them_only_time(cluster: DaskCluster) -> None:
    await workers_there(cluster, 2)
    async with connected(cluster.address) as there:
        shared = await there.share(np.zeros(10))
        running = [asyncio.create_task(there.run(process_and_threads, shared, 1.0)) for _ in range(4)]
        await asyncio.sleep(0.5)
        dying = cluster.workers.pop(0)
        dying.kill()
        dying.wait()
        assert {process for process, _ in await asyncio.gather(*running)} == {cluster.workers[0].pid}
        # Now the last one that has what was shared.
        last = asyncio.create_task(there.run(process_and_threads, shared, 1.0))
        await asyncio.sleep(0.3)
        cluster.add_worker()
        cluster.workers[0].kill()
        cluster.workers.pop(0).wait()
        assert (await last)[0] == cluster.workers[0].pid


async def test_a_scheduler_that_is_gone_is_told_with_what_to_do(tmp_path: Path) -> None:
    with dask_cluster(tmp_path, workers=1) as cluster:
        await workers_there(cluster, 1)
        async with connected(cluster.address) as there:
            shared = await there.share(np.zeros(10))
            running = asyncio.create_task(there.run(process_and_threads, shared, 30.0))
            await asyncio.sleep(0.3)
            cluster.scheduler.kill()
            with pytest.raises(Unavailable, match="study sweep resume"):
                await asyncio.wait_for(running, timeout=20)


async def test_what_cannot_be_reached_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infrastructure.dask_compute.CONNECT_SECONDS", 1)
    here = LocalCompute()
    places = ComputePlaces(here)
    with pytest.raises(Unavailable, match="can't be reached"):
        async with places.at("tcp://127.0.0.1:1"):
            pass
    async with places.at("local") as place:
        assert place is here
    here.close()


@pytest.mark.parametrize(
    "address", ["", "here", "http://127.0.0.1:8786", "tcp://127.0.0.1", "tcp://:8786", "tcp://a:b"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(Rejected) as refused:
        check_address(address)
    assert refused.value.fields == ("compute",)


async def test_without_dask_it_is_said_which_extra_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(Rejected, match=r"study-query-llm\[dask\]"):
        async with connected("tcp://127.0.0.1:8786"):
            pass
