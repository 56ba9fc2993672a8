from typing import Any
from uuid import UUID

import numpy as np
import pytest
from msgspec import structs

from application.ports import Claim
from application.sweep_turns import SweepUnderWay
from domain.artifacts import ArtifactKept
from domain.calls import CallRequested
from domain.clustering.methods import METHODS, Method, NoParameters
from domain.errors import Rejected
from domain.groups import GroupCreated, GroupLinked, group_id_of
from domain.sweeps import (
    Choosing,
    Preparation,
    SweepFailed,
    SweepFinished,
    SweepResumed,
    SweepStarted,
    SweepStepFinished,
    sweep_id_of,
)
from tests.support.given_when_then import CONTEXT
from tests.support.scripted_provider import ScriptedProvider, failure
from tests.support.sweeping import Sweeping, blobs, request


async def test_a_sweep_finds_the_clusters_names_them_and_keeps_everything() -> None:
    sweeping = Sweeping()
    sweep_id, state = await sweeping.run(request(), CONTEXT)
    assert state.status == "finished"
    assert state.finished is not None
    assert state.finished.chosen_k == 3
    assert state.steps[3].metrics.acc == 1.0
    assert {cluster.size for cluster in state.finished.clusters} == {10}
    assert all(cluster.name.startswith("echo: Name the topic") for cluster in state.finished.clusters)
    assert sweeping.count(SweepStarted, SweepStepFinished, SweepFinished) == 5
    assert sweeping.count(ArtifactKept) == 3 * 4 + 3
    assert all(cluster.keywords == ("text",) for cluster in state.finished.clusters)
    created = {fact.group_type for fact in sweeping.store.facts(GroupCreated) if isinstance(fact, GroupCreated)}
    assert created == {"run", "step", "summarization_batch"}
    said = {
        fact.group_type: fact.metadata for fact in sweeping.store.facts(GroupCreated) if isinstance(fact, GroupCreated)
    }
    account = {"algorithm", "config", "embedding_model", "sweep_id"}
    assert account == said["run"].keys()
    assert said["step"].keys() == account | {"parent_run_id", "k"}
    assert said["step"]["parent_run_id"] == str(group_id_of("run", str(sweep_id)))
    links = [fact.link_type for fact in sweeping.store.facts(GroupLinked) if isinstance(fact, GroupLinked)]
    assert sorted(links) == ["generates", "step", "step", "step"]
    assert sweep_id == sweep_id_of(state.started.fingerprint if state.started else "")


async def test_the_same_sweep_is_found_again_and_nothing_is_done_twice() -> None:
    sweeping = Sweeping()
    first = await sweeping.run(request(), CONTEXT)
    events, steps = len(sweeping.store.events), list(sweeping.compute.steps)
    assert await sweeping.run(request(), CONTEXT) == first
    assert (len(sweeping.store.events), sweeping.compute.steps) == (events, steps)


async def test_another_seed_is_another_sweep() -> None:
    sweeping = Sweeping()
    first, _ = await sweeping.run(request(), CONTEXT)
    second, _ = await sweeping.run(request(seed=1), CONTEXT)
    assert first != second


async def test_a_broken_sweep_goes_on_with_the_missing_steps_and_ends_the_same() -> None:
    whole, broken = Sweeping(), Sweeping()
    _, expected = await whole.run(request(), CONTEXT)
    broken.compute.breaks_at = 4
    with pytest.raises(RuntimeError, match="caught fire"):
        await broken.run(request(), CONTEXT)
    (failed,) = broken.store.facts(SweepFailed)
    assert isinstance(failed, SweepFailed)
    assert "caught fire" in failed.reason
    finished_before = broken.count(SweepStepFinished)
    broken.compute.breaks_at = None
    broken.compute.steps.clear()
    _, state = await broken.run(request(), CONTEXT)
    assert broken.store.facts(SweepResumed) == [SweepResumed(finished_steps=finished_before)]
    assert len(broken.compute.steps) == 3 - finished_before
    assert state.status == "finished"
    assert [step.labels_sha256 for _, step in sorted(state.steps.items())] == [
        step.labels_sha256 for _, step in sorted(expected.steps.items())
    ]


async def test_one_process_runs_a_sweep_at_a_time() -> None:
    sweeping = Sweeping()
    _, state = await Sweeping().run(request(), CONTEXT)
    assert state.started is not None
    sweep_id = sweep_id_of(state.started.fingerprint)
    sweeping.store.claims[f"sweep:{sweep_id}"] = Claim(key=f"sweep:{sweep_id}", holder=UUID(int=99))
    with pytest.raises(SweepUnderWay, match=f"study sweep cancel {sweep_id}"):
        await sweeping.run(request(), CONTEXT)
    assert sweeping.store.events == []


async def test_a_failed_name_falls_back_and_says_so() -> None:
    sweeping = Sweeping(ScriptedProvider([failure(transient=False)]))
    _, state = await sweeping.run(request(), CONTEXT)
    assert state.finished is not None
    fallen = [cluster for cluster in state.finished.clusters if cluster.fell_back]
    assert len(fallen) == 1
    assert fallen[0].name == fallen[0].representatives[0]
    assert sweeping.count(CallRequested) == 3


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"method": "magic"}, "method"),
        ({"parameters": {"rank": 2}}, "rank"),
        ({"k_values": ()}, "k_min"),
        ({"k_values": (0, 1)}, "k_min"),
        ({"k_values": (31,)}, "k_max"),
        ({"restarts": 0}, "restarts"),
        ({"choose_by": "elbow"}, "choose_by"),
        ({"choose_by": "gap", "choosing": Choosing(parameters={"draws": 3})}, "draws"),
        ({"method": "hdbscan"}, "k_min"),
    ],
)
async def test_a_sweep_that_cannot_run_is_rejected_before_anything_is_written(
    changes: dict[str, Any], field: str
) -> None:
    sweeping = Sweeping()
    with pytest.raises(Rejected) as rejected:
        await sweeping.run(request(**changes), CONTEXT)
    assert field in rejected.value.fields
    assert sweeping.store.events == []


async def test_a_rules_numbers_are_recorded_with_the_steps_and_it_chooses() -> None:
    sweeping = Sweeping()
    choosing = Choosing(parameters={"references": 2}, also_measure=("prediction-strength",))
    _, state = await sweeping.run(request(choose_by="gap", choosing=choosing, summarise=None), CONTEXT)
    assert state.finished is not None
    assert (state.finished.chosen_k, state.finished.chosen_by) == (3, "gap")
    for step in state.steps.values():
        numbers = step.metrics.flat()
        assert numbers["gap"] is not None
        assert numbers["prediction_strength"] is not None


async def test_a_method_that_finds_the_number_of_clusters_makes_one_step_and_its_noise_belongs_to_none() -> None:
    sweeping = Sweeping()
    rows = blobs()
    rows[29] = 9.0 * np.arange(6) ** 2
    asked = request(
        method="hdbscan", k_values=(), summarise=None, preparation=Preparation(unit_norm=False), pca_dim=None
    )
    _, state = await sweeping.run(structs.replace(asked, vectors=rows), CONTEXT)
    assert state.finished is not None
    assert (state.finished.chosen_k, state.finished.chosen_by) == (3, "hdbscan")
    assert "1 rows belong to none" in state.finished.explanation
    assert sorted(cluster.size for cluster in state.finished.clusters) == [9, 10, 10]
    assert all(29 not in cluster.representative_rows for cluster in state.finished.clusters)
    assert list(state.steps) == [3]
    sweeping.compute.steps.clear()
    again, _ = await sweeping.run(structs.replace(asked, vectors=rows), CONTEXT)
    assert sweeping.compute.steps == []
    assert state.started is not None
    assert again == sweep_id_of(state.started.fingerprint)


async def test_a_method_of_another_distribution_is_run_and_recorded_with_its_version() -> None:
    sweeping = Sweeping()
    sweeping.run.methods = {
        "halves": Method("halves", NoParameters, METHODS["k-means"].run, distribution="lenders 1.2")
    }
    _, state = await sweeping.run(request(method="halves", summarise=None), CONTEXT)
    assert state.started is not None
    assert state.started.software == {"numpy": "2", "lenders": "1.2"}
    assert state.finished is not None
    assert state.finished.chosen_k == 3
