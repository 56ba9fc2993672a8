"""k-llmmeans in a sweep: rounds that are recorded, resumed and fall back; calls that are counted."""

from collections import Counter
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec import structs

from application.group_calls import GroupPlace
from application.providers import AttemptFailed, PreparedRequest, ProviderAnswer
from application.sweep_request import SweepRequest
from domain.artifacts import ArtifactKept
from domain.calls import CallRequested
from domain.errors import Rejected
from domain.groups import GroupLinked
from domain.sweeps import SweepConfig, SweepRoundFinished, SweepSource, SweepState, SweepStepFinished
from tests.support.given_when_then import CONTEXT, ListStore
from tests.support.scripted_provider import ScriptedProvider, failure
from tests.support.sweeping import Sweeping

ROUNDS, SAMPLE, K = 3, 4, 3
TEXTS = tuple(
    f"{topic} {number}" for topic in ("train", "a cake to bake", "the rain of yesterday") for number in range(10)
)


class Killed(BaseException):
    """Nobody catches it, as nobody does when the process dies."""


class Summariser(ScriptedProvider):
    """Answers a list with its first line, embeds by the words' letters; counts, and fails where it is told."""

    def __init__(self, *script: AttemptFailed, dies_at_chat: int | None = None) -> None:
        super().__init__(script)
        self.chats: list[str] = []
        self.dies_at_chat = dies_at_chat
        self.says: str | None = None
        self.refuses_to_embed: set[str] = set()

    async def send(self, prepared: PreparedRequest, *, timeout_seconds: float) -> ProviderAnswer:
        asked = msgspec.json.decode(prepared.body)
        if prepared.operation == "chat":
            if len(self.chats) == self.dies_at_chat:
                raise Killed
            self.chats.append(asked["messages"][-1]["content"])
        elif self.refuses_to_embed & set(asked["input"]):
            raise failure("bad_request", transient=False)
        answer = await super().send(prepared, timeout_seconds=timeout_seconds)
        if prepared.operation == "embeddings":
            return structs.replace(answer, vectors=vectors_of(asked["input"]))
        said = self.says if self.says is not None else about(self.chats[-1])
        body = msgspec.json.encode({"choices": [{"message": {"content": said}}]})
        return structs.replace(answer, text=said, body=body)


def listed(prompt: str) -> list[str]:
    return [line.removeprefix("- ") for line in prompt.splitlines() if line.startswith("- ")]


def about(prompt: str) -> str:
    return f"about {listed(prompt)[0]}"


def vectors_of(texts: list[str] | tuple[str, ...]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(n, 8) float32: how often eight letters occur, and nothing is all zeros."""
    return np.array([[text.count(letter) + 0.01 * len(text) for letter in "taeirsny"] for text in texts], np.float32)


def request(**changes: Any) -> SweepRequest:
    parameters = {"rounds": ROUNDS, "sample": SAMPLE, **changes.pop("parameters", {})}
    config = SweepConfig(
        **{
            "method": "k-llmmeans",
            "k_values": (K,),
            "restarts": 2,
            "pca_dim": 4,
            "summarise": "scripted/m",
            "parameters": parameters,
            **changes,
        }
    )
    source = SweepSource(
        vectors_sha256="v", n_samples=30, n_features=8, embedding_provider="scripted", embedding_model="e"
    )
    return SweepRequest(vectors=vectors_of(TEXTS), config=config, source=source, texts=TEXTS)


ELSEWHERE = SweepSource(vectors_sha256="v", n_samples=30, n_features=8)


def rounds_of(state: SweepState) -> list[SweepRoundFinished]:
    return [done for rounds in state.rounds.values() for _, done in sorted(rounds.items())]


def chat_calls(store: ListStore) -> int:
    return sum(isinstance(fact, CallRequested) and fact.operation == "chat" for fact in store.facts())


async def test_a_step_makes_one_call_a_cluster_and_round_of_at_most_so_many_texts_and_the_last_ones_name_it() -> None:
    provider = Summariser()
    sweeping = Sweeping(provider)
    told: list[tuple[str, int, int]] = []

    def tell(stage: str, done: int, total: int, **_more: Any) -> None:
        told.append((stage, done, total))

    _, state = await sweeping.run(request(), CONTEXT, progress=tell)
    assert len(provider.chats) == chat_calls(sweeping.store) == K * ROUNDS
    assert all(1 <= len(listed(prompt)) <= SAMPLE for prompt in provider.chats)
    rounds = rounds_of(state)
    assert [(done.k, done.round) for done in rounds] == [(K, number) for number in range(1, ROUNDS + 1)]
    assert all([summary.cluster for summary in done.summaries] == list(range(K)) for done in rounds)
    assert not any(summary.fell_back for done in rounds for summary in done.summaries)
    assert state.finished is not None
    last = {summary.cluster: summary.call_id for summary in rounds[-1].summaries}
    assert {cluster.cluster: cluster.named_by_call_id for cluster in state.finished.clusters} == last
    assert all(cluster.name.removeprefix("about ") in TEXTS for cluster in state.finished.clusters)
    assert ("rounds", ROUNDS, ROUNDS) in told
    step = state.steps[K]
    assert step.labels_sha256 == rounds[-1].labels_sha256
    assert step.metrics.iterations > sum(done.iterations for done in rounds)


async def test_a_rounds_calls_and_files_belong_to_its_step() -> None:
    sweeping = Sweeping(Summariser())
    sweep_id, state = await sweeping.run(request(), CONTEXT)
    links = [fact for fact in sweeping.store.facts(GroupLinked) if isinstance(fact, GroupLinked)]
    for done in rounds_of(state):
        place = GroupPlace(group_type="summarization_batch", name=f"{sweep_id}/k={K}/round={done.round}")
        assert done.summaries_group_id == place.group_id
        made = {one.child_group_id for one in links if one.parent_group_id == done.step_group_id}
        assert {done.summaries_group_id, done.embedding_group_id} <= made
        assert set(done.artifact_ids) == {"round_labels", "round_centroids", "round_summaries"}
    kept = Counter(fact.artifact_type for fact in sweeping.store.facts(ArtifactKept) if isinstance(fact, ArtifactKept))
    assert kept["round_summaries"] == kept["round_centroids"] == ROUNDS


@pytest.mark.parametrize("dies_at_chat", [0, 1, K, K + 2, 2 * K + 1])
async def test_a_sweep_that_died_in_a_round_goes_on_there_and_ends_with_the_same_bits(dies_at_chat: int) -> None:
    _, expected = await Sweeping(Summariser()).run(request(), CONTEXT)
    killed, again = Summariser(dies_at_chat=dies_at_chat), Summariser()
    broken = Sweeping(killed)
    with pytest.raises(Killed):
        await broken.run(request(), CONTEXT)
    broken.store.claims.clear()  # as a dead process's are taken
    survived = broken.store.facts(SweepRoundFinished)
    assert len(survived) == dies_at_chat // K
    _, state = await Sweeping(again, beside=broken).run(request(), CONTEXT)
    assert len(again.chats) == K * ROUNDS - len(killed.chats)  # what was answered is not asked again
    assert broken.store.facts(SweepRoundFinished)[: len(survived)] == survived
    assert len(broken.store.facts(SweepRoundFinished)) == ROUNDS
    assert [(done.labels_sha256, done.centroids_sha256) for done in rounds_of(state)] == [
        (done.labels_sha256, done.centroids_sha256) for done in rounds_of(expected)
    ]
    assert state.steps[K].metrics == expected.steps[K].metrics


async def test_a_failed_summary_leaves_its_centroid_the_mean_and_is_recorded() -> None:
    provider = Summariser()
    provider.says = "  "
    sweeping = Sweeping(provider)
    _, state = await sweeping.run(request(), CONTEXT)
    assert len(provider.chats) == K * ROUNDS
    summaries = [summary for done in rounds_of(state) for summary in done.summaries]
    assert {(summary.fell_back, summary.status) for summary in summaries} == {(True, "empty")}
    assert all(summary.call_id is not None for summary in summaries)
    assert all(done.changed_rows == 0 for done in rounds_of(state))  # nothing was replaced: k-means stands still
    assert state.finished is not None
    assert all(cluster.fell_back and cluster.name == cluster.representatives[0] for cluster in state.finished.clusters)
    wanted = request()
    k_means = structs.replace(wanted.config, method="k-means", summarise=None, parameters={})
    _, plain = await Sweeping(Summariser()).run(structs.replace(wanted, config=k_means), CONTEXT)
    assert state.steps[K].labels_sha256 == plain.steps[K].labels_sha256


async def test_a_provider_that_fails_costs_its_clusters_nothing_but_the_round() -> None:
    class Fails(Summariser):
        async def send(self, prepared: PreparedRequest, *, timeout_seconds: float) -> ProviderAnswer:
            if prepared.operation == "chat" and len(self.chats) == 1:
                self.chats.append("")
                raise failure(transient=False)
            return await super().send(prepared, timeout_seconds=timeout_seconds)

    provider = Fails()
    _, state = await Sweeping(provider).run(request(), CONTEXT)
    assert len(provider.chats) == K * ROUNDS
    failed = [(done.round, one.status) for done in rounds_of(state) for one in done.summaries if one.fell_back]
    assert failed == [(1, "failed")]
    assert state.status == "finished"


async def test_a_summary_that_nobody_embeds_falls_back_and_the_others_do_not() -> None:
    first = Summariser()
    await Sweeping(first).run(request(), CONTEXT)
    refusing = Summariser()
    refusing.refuses_to_embed = {about(first.chats[0])}
    _, state = await Sweeping(refusing).run(request(), CONTEXT)
    fallen = [(done.round, one.status) for done in rounds_of(state) for one in done.summaries if one.fell_back]
    assert fallen[0] == (1, "not_embedded")
    assert {status for _, status in fallen} == {"not_embedded"}
    assert len([one for one in fallen if one[0] == 1]) == 1
    assert state.finished is not None
    assert not any(cluster.fell_back for cluster in state.finished.clusters)  # the summaries themselves are there


async def test_the_medoid_of_a_sample_needs_no_model_and_no_texts() -> None:
    sweeping = Sweeping(Summariser())
    wanted = request(summarise=None, parameters={"summary": "medoid"})
    _, state = await sweeping.run(structs.replace(wanted, texts=None, source=ELSEWHERE), CONTEXT)
    assert sweeping.store.facts(CallRequested) == []
    assert len(rounds_of(state)) == ROUNDS
    assert all(summary.row is not None for done in rounds_of(state) for summary in done.summaries)
    assert state.finished is not None
    assert [cluster.name for cluster in state.finished.clusters] == [f"cluster {number}" for number in range(K)]
    named = Sweeping(Summariser())
    _, state = await named.run(wanted, CONTEXT)
    assert state.finished is not None
    assert all(cluster.name in TEXTS for cluster in state.finished.clusters)
    asked = Sweeping(Summariser())
    await asked.run(request(parameters={"summary": "medoid"}), CONTEXT)
    assert chat_calls(asked.store) == K  # who is named names the clusters, and nothing else


async def test_a_python_function_may_summarise() -> None:
    seen: list[list[str]] = []

    def first_of(texts: list[str]) -> str:
        seen.append(texts)
        return texts[0]

    sweeping = Sweeping(Summariser())
    wanted = request(summarise="python:tests.first_of")
    _, state = await sweeping.run(structs.replace(wanted, paraphraser=first_of), CONTEXT)
    assert chat_calls(sweeping.store) == 0
    assert len(seen) == K * ROUNDS
    assert all(done.summaries_group_id is None for done in rounds_of(state))


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"texts": None}, "texts", "summarises texts"),
        ({"source": ELSEWHERE}, "embedding", "made elsewhere"),
        ({"vectors": np.ones((30, 5), np.float32)}, "embedding", "vectors of 8 dimensions, and the sweep's have 5"),
    ],
)
async def test_what_cannot_be_summarised_or_embedded_is_refused_before_anything_is_computed(
    changes: dict[str, Any], field: str, said: str
) -> None:
    sweeping = Sweeping(Summariser())
    with pytest.raises(Rejected, match=said) as rejected:
        await sweeping.run(structs.replace(request(), **changes), CONTEXT)
    assert field in rejected.value.fields
    assert sweeping.store.facts(SweepStepFinished, SweepRoundFinished) == []
    assert chat_calls(sweeping.store) == 0


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"summarise": None}, "summarise"),
        ({"summarise": "scripted"}, "summarise"),
        ({"summarise": "python:mine.name"}, "paraphraser"),
        ({"parameters": {"embedding": "scripted"}}, "embedding"),
        ({"parameters": {"rounds": 0}}, "rounds"),
        ({"parameters": {"sample": 0}}, "sample"),
        ({"parameters": {"summary": "mean"}}, "summary"),
    ],
)
async def test_a_configuration_that_cannot_be_run_is_refused(changes: dict[str, Any], field: str) -> None:
    sweeping = Sweeping(Summariser())
    with pytest.raises(Rejected) as rejected:
        await sweeping.run(request(**changes), CONTEXT)
    assert field in rejected.value.fields
    assert sweeping.store.facts() == []
