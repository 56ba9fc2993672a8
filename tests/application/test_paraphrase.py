"""A sweep's clusters worded by a Python function: what it says, what happens when it fails, and what is recorded."""

from functools import partial
from typing import Any

import pytest
from msgspec import structs

from application.paraphrase import Paraphraser, recorded_name
from domain.calls import CallRequested
from domain.errors import Rejected
from domain.groups import GroupCreated
from domain.sweeps import SweepState
from tests.support.given_when_then import CONTEXT
from tests.support.sweeping import Sweeping, request


async def swept(paraphraser: Any) -> tuple[SweepState, Sweeping]:
    sweeping = Sweeping()
    wanted = request(summarise=recorded_name(paraphraser))
    _, state = await sweeping.run(structs.replace(wanted, paraphraser=paraphraser), CONTEXT)
    return state, sweeping


def counted(texts: list[str]) -> str:
    return f"{len(texts)} texts"


async def counted_later(texts: list[str]) -> str:
    return counted(texts)


class Counts:
    async def __call__(self, texts: list[str]) -> str:
        return counted(texts)

    def method(self, texts: list[str]) -> str:
        return counted(texts)


@pytest.mark.parametrize(
    "paraphraser", [counted, counted_later, Counts(), Counts().method, lambda texts: f"{len(texts)} texts"]
)
async def test_a_function_names_the_clusters_and_no_call_is_made(paraphraser: Paraphraser) -> None:
    state, sweeping = await swept(paraphraser)
    assert state.finished is not None
    assert {cluster.name for cluster in state.finished.clusters} == {"8 texts"}
    assert not any(cluster.fell_back or cluster.named_by_call_id for cluster in state.finished.clusters)
    assert sweeping.store.facts(CallRequested) == []
    created = {fact.group_type for fact in sweeping.store.facts(GroupCreated) if isinstance(fact, GroupCreated)}
    assert created == {"run", "step"}
    assert state.started is not None
    assert state.started.config.summarise == recorded_name(paraphraser)


@pytest.mark.parametrize("given", [None, "", "  ", 7])
async def test_a_function_that_returns_no_text_falls_back(given: object) -> None:
    state, _ = await swept(lambda _texts: given)
    assert state.finished is not None
    assert all(cluster.fell_back and cluster.name == cluster.representatives[0] for cluster in state.finished.clusters)


async def test_a_function_that_raises_falls_back_for_its_cluster_alone() -> None:
    asked: list[list[str]] = []

    def fails_once(texts: list[str]) -> str:
        asked.append(texts)
        if len(asked) == 2:
            raise KeyError("no such word")
        return "named"

    state, _ = await swept(fails_once)
    assert state.finished is not None
    assert [cluster.fell_back for cluster in state.finished.clusters] == [False, True, False]
    assert state.status == "finished"


def test_a_function_is_recorded_by_its_qualified_name_and_its_source() -> None:
    name, _, digest = recorded_name(counted).partition("@")
    assert name == "python:tests.application.test_paraphrase.counted"
    assert len(digest) == 12
    assert recorded_name(Counts()).startswith("python:tests.application.test_paraphrase.Counts@")
    assert recorded_name(counted_later) != recorded_name(counted)
    one, other = (recorded_name(partial(counted, extra)) for extra in "ab")  # type: ignore[arg-type]
    assert one.partition("@")[0] == other.partition("@")[0] == name
    assert len({one, other, recorded_name(counted)}) == 3
    assert recorded_name(len) == "python:builtins.len"  # type: ignore[arg-type]
    with pytest.raises(Rejected, match="not int"):
        recorded_name(7)  # type: ignore[arg-type]


async def test_a_sweep_that_was_named_by_a_function_asks_for_it() -> None:
    with pytest.raises(Rejected, match=r"tests\.counted; run the sweep from Python"):
        await Sweeping().run(request(summarise="python:tests.counted"), CONTEXT)
