"""Given what a study writes, then the way from a cluster to the bytes, and back from the bytes to the cluster."""

from uuid import UUID, uuid4

import numpy as np
import pytest
from msgspec.structs import replace

from domain.artifacts import ArtifactKept
from domain.calls import CallJoined, CallRequested, CallServedFromCache, VectorBlock
from domain.conversations import ConversationForked, ConversationStarted, ConversationTurnTaken
from domain.datasets import DatasetImported, VectorsImported
from domain.errors import NotFound, Rejected
from domain.groups import LINKS_STREAM_ID, GroupCreated, GroupDescribed, GroupLinked, GroupMembersAdded, Member
from domain.provenance import KINDS, Thing
from domain.sweeps import Cluster, RoundSummary, SweepFinished, SweepRoundFinished, SweepStarted, SweepStepFinished
from projections.paging import Paging
from projections.provenance import COUNTED_TO, WAYS, Bounds
from tests.projections.log import COMPLETION, REQUEST, RESPONSE, STREAM, answered, broke_off, requested, streamed
from tests.support.facts import EXAMPLES

BY_TYPE = {type(fact): fact for fact in EXAMPLES}
SWEEP, RUN, STEP_GROUP, BATCH, NAMES, DATA_GROUP, WHOLE = (UUID(int=number) for number in range(1, 8))
EMBEDS, NAMING, JOINER, SERVED = (UUID(int=number) for number in range(11, 15))
LABELS, SCATTER, ROWS, FILE, ANSWER, ROUND = (UUID(int=number) for number in range(21, 27))
DATASET, VECTORS, TALK, FORK, SAMPLE = (UUID(int=number) for number in range(31, 36))
HASHES = ["aa" * 32, "bb" * 32]
EVERYTHING = Bounds(depth=20, few=100)


def embedding_request(texts: int) -> CallRequested:
    hashes = b"".join(bytes.fromhex(HASHES[n]) if n < 2 else bytes([n]) * 32 for n in range(texts))
    fact = requested(modality="embedding", provider="local", model="local-ngrams", input_hashes=hashes)
    assert isinstance(fact, CallRequested)
    return fact


def embedding_answer(texts: int):
    body = replace(RESPONSE, vectors=np.ones((texts, 3), dtype="<f4").tobytes())
    block = VectorBlock(count=texts, dimension=3, norms=np.ones(texts, dtype="<f4").tobytes())
    return answered(response=body, vectors=block), body


def embed(log, call_id: UUID, texts: int = 2) -> None:
    fact, body = embedding_answer(texts)
    log.write(call_id, embedding_request(texts), payloads=[REQUEST])
    log.write(call_id, fact, payloads=[body])


def kept(artifact_type: str, group_id: UUID, **more: object) -> ArtifactKept:
    fact = replace(BY_TYPE[ArtifactKept], artifact_type=artifact_type, name=f"x/{artifact_type}", group_id=group_id)
    return replace(fact, **{"call_id": None, **more})


def linked(parent: UUID, child: UUID, link_type: str) -> GroupLinked:
    return GroupLinked(parent_group_id=parent, child_group_id=child, link_type=link_type)


@pytest.fixture
def a_study(log, follower):
    """One of everything, each thing with all that it can be linked to."""
    for group_id, group_type, metadata in (
        (DATA_GROUP, "dataset", {"dataset_id": str(DATASET)}),
        (BATCH, "embedding_batch", {}),
        (RUN, "run", {}),
        (STEP_GROUP, "step", {}),
        (NAMES, "summarization_batch", {}),
        (WHOLE, "batch", {}),
    ):
        log.write(group_id, GroupCreated(group_type=group_type, name=f"g{group_id.int}", metadata=metadata))
    log.write(ROWS, kept("dataset", DATA_GROUP))
    log.write(DATASET, replace(BY_TYPE[DatasetImported], artifact_id=ROWS))
    log.write(SAMPLE, replace(BY_TYPE[DatasetImported], artifact_id=ROWS, parent_dataset_id=DATASET))
    log.write(FILE, kept("vectors", RUN))
    log.write(VECTORS, replace(BY_TYPE[VectorsImported], artifact_id=FILE))
    embed(log, EMBEDS)
    log.write(uuid4(), GroupMembersAdded(group_id=BATCH, members=(Member(call_id=EMBEDS, role="output", position=0),)))
    started = BY_TYPE[SweepStarted]
    source = replace(started.source, dataset_id=DATASET, vectors_id=VECTORS, embedding_group_id=BATCH)
    log.write(SWEEP, replace(started, source=source, run_group_id=RUN))
    for link in (
        linked(RUN, BATCH, "depends_on"),
        linked(BATCH, DATA_GROUP, "depends_on"),
        linked(RUN, STEP_GROUP, "step"),
        linked(RUN, NAMES, "generates"),
        linked(WHOLE, NAMES, "contains"),
    ):
        log.write(LINKS_STREAM_ID, link)
    log.write(LABELS, kept("sweep_labels", STEP_GROUP))
    step = BY_TYPE[SweepStepFinished]
    log.write(SWEEP, replace(step, step_group_id=STEP_GROUP, artifact_ids={"sweep_labels": LABELS}))
    log.write(ROUND, kept("round_labels", STEP_GROUP))
    log.write(
        SWEEP,
        replace(
            BY_TYPE[SweepRoundFinished],
            step_group_id=STEP_GROUP,
            embedding_group_id=BATCH,
            artifact_ids={"round_labels": ROUND},
            summaries=(RoundSummary(cluster=1, call_id=NAMING), RoundSummary(cluster=2, row=3)),
        ),
    )
    log.write(NAMING, requested(provider="local", model="local-extract"), payloads=[REQUEST])
    log.write(NAMING, broke_off(), payloads=[STREAM, COMPLETION])
    log.write(NAMING, streamed(attempt=2), payloads=[STREAM, COMPLETION])
    log.write(ANSWER, kept("answer", NAMES, call_id=NAMING))
    log.write(uuid4(), GroupMembersAdded(group_id=NAMES, members=(Member(call_id=NAMING),)))
    log.write(JOINER, replace(BY_TYPE[CallJoined], call_id=NAMING))
    log.write(SERVED, replace(BY_TYPE[CallServedFromCache], call_ids=(EMBEDS, NAMING)))
    log.write(SCATTER, kept("scatter", RUN))
    log.write(TALK, BY_TYPE[ConversationStarted], replace(BY_TYPE[ConversationTurnTaken], turn=1, call_id=NAMING))
    log.write(FORK, replace(BY_TYPE[ConversationForked], parent_id=TALK, at_turn=1))
    clusters = tuple(
        Cluster(
            cluster=number,
            size=10,
            name=f"name {number}",
            representatives=("a", "b"),
            representative_rows=(0, 1),
            named_by_call_id=NAMING if number == 1 else None,
        )
        for number in range(3)
    )
    finished = replace(BY_TYPE[SweepFinished], clusters=clusters, artifact_ids={"scatter": SCATTER})
    log.write(SWEEP, replace(finished, representative_hashes=((), tuple(HASHES), ())))
    follower.catch_up()
    return log


def ends(graph, name: str, kind: str, *key: object) -> list[str]:
    """Where one link of a node leads."""
    links = {link.name: link for link in graph.nodes[Thing(kind, key)].links}
    return [f"{thing.kind} {thing.id}" for thing in links[name].things] if name in links else []


async def test_a_clusters_label_leads_to_the_bytes_of_its_embedding_and_of_its_name(a_study, queries):
    graph = await queries.provenance.graph("cluster", f"{SWEEP}/1", bounds=EVERYTHING)
    assert graph.complete
    assert graph.root == Thing("cluster", (SWEEP, 3, 1))
    assert ends(graph, "labels", "cluster", SWEEP, 3, 1) == [f"artifact {LABELS}"]
    assert ends(graph, "step", "artifact", LABELS) == [f"step {SWEEP}/3"]
    assert ends(graph, "sweep", "step", SWEEP, 3) == [f"sweep {SWEEP}"]
    assert ends(graph, "summaries", "step", SWEEP, 3) == [f"call {NAMING}"]
    assert ends(graph, "summaries_embedded", "step", SWEEP, 3) == [f"group {BATCH}"]
    assert ends(graph, "embedding_batch", "sweep", SWEEP) == [f"group {BATCH}"]
    assert ends(graph, "embeddings", "group", BATCH) == [f"embedding {EMBEDS}/0", f"embedding {EMBEDS}/1"]
    assert ends(graph, "call", "embedding", EMBEDS, 0) == [f"call {EMBEDS}"]
    assert ends(graph, "attempts", "call", EMBEDS) == [f"attempt {EMBEDS}/2"]
    assert ends(graph, "received", "attempt", EMBEDS, 2) == [f"bytes {EMBEDS}/2/response"]
    assert ends(graph, "request", "attempt", EMBEDS, 2) == [f"bytes {EMBEDS}/1/request"]
    assert ends(graph, "name", "cluster", SWEEP, 3, 1) == [f"call {NAMING}"]
    assert ends(graph, "attempts", "call", NAMING) == [f"attempt {NAMING}/2", f"attempt {NAMING}/3"]
    assert ends(graph, "received", "attempt", NAMING, 3) == [
        f"bytes {NAMING}/3/completion", f"bytes {NAMING}/3/response",
    ]  # fmt: skip
    assert ends(graph, "representatives", "cluster", SWEEP, 3, 1) == [f"embedding {EMBEDS}/{n}" for n in (0, 1)]
    assert all(node.found for node in graph.nodes.values())


async def test_every_way_up_leads_back_down(a_study, queries):
    """From each thing of the study up, and from where that leads down again."""
    graph = await queries.provenance.graph("cluster", f"{SWEEP}/1", bounds=EVERYTHING)
    more = [
        await queries.provenance.graph(kind, str(key), bounds=EVERYTHING)
        for kind, key in (
            ("call", JOINER), ("call", SERVED), ("group", NAMES), ("group", WHOLE), ("artifact", SCATTER),
            ("artifact", ROUND),
            ("artifact", ANSWER), ("conversation", FORK), ("dataset", SAMPLE), ("group", STEP_GROUP), ("group", RUN),
        )
    ]  # fmt: skip
    nodes = {thing: node for each in (graph, *more) for thing, node in each.nodes.items()}
    taken = set()
    for node in nodes.values():
        for link in node.links:
            taken.add((node.thing.kind, link.name))
            for target in link.things:
                back = await queries.provenance.graph(
                    target.kind, target.id, direction="down", bounds=Bounds(depth=1, few=100)
                )
                found = [down for down in back.nodes[target].links if node.thing in down.things]
                assert found, f"{target} does not lead back to {node.thing}"
                assert (link.relation, not link.against) in {(down.relation, down.against) for down in found}
    assert taken == {(way.kind, way.name) for way in WAYS if way.direction == "up"}
    assert {kind for kind, _ in taken} | {thing.kind for thing in nodes} == set(KINDS)


async def test_which_studies_used_a_call_a_text_or_a_model(a_study, queries):
    sweep, cluster = Thing("sweep", (SWEEP,)), Thing("cluster", (SWEEP, 3, 1))
    for kind, written, expected in (
        ("call", f"{EMBEDS}", sweep),
        ("text", HASHES[0], sweep),
        ("text", HASHES[1], cluster),
        ("model", "local/local-ngrams", sweep),
        ("bytes", f"{EMBEDS}/2/response", sweep),
        ("call", f"{NAMING}", cluster),
        ("dataset", f"{DATASET}", sweep),
        ("vectors", f"{VECTORS}", sweep),
        ("call", f"{NAMING}", Thing("conversation", (FORK,))),
    ):
        graph = await queries.provenance.graph(kind, written, direction="down", bounds=EVERYTHING)
        assert expected in graph.nodes, (kind, written)


async def test_the_past_shows_only_what_was_there(a_study, queries):
    first = await queries.provenance.graph("call", str(NAMING), as_of=_position(a_study, NAMING, 1))
    assert first.nodes[first.root].facts["status"] == "requested"
    assert {link.name for link in first.nodes[first.root].links} == {"request", "model"}
    with pytest.raises(NotFound, match="at position 1"):
        await queries.provenance.graph("call", str(NAMING), as_of=1)
    with pytest.raises(NotFound):
        await queries.provenance.graph("cluster", f"{SWEEP}/1", as_of=_position(a_study, SWEEP, 2))
    whole = await queries.provenance.graph("cluster", f"{SWEEP}/3/1", as_of=_position(a_study, SWEEP, 2))
    assert whole.nodes[whole.root].label == "cluster 1"
    assert {link.name for link in whole.nodes[whole.root].links} == {"labels"}


def _position(log, stream_id: UUID, version: int) -> int:
    return next(
        each.position
        for each in log.page(after=0, limit=1000)
        if (each.stream_id, each.version) == (stream_id, version)
    )


async def test_what_fans_out_is_counted_and_read_page_by_page(a_study, queries, follower):
    members = [UUID(int=1000 + number) for number in range(30)]
    for number, call_id in enumerate(members):
        embed(a_study, call_id, texts=7)
        member = Member(call_id=call_id, position=None if number % 3 else number)
        a_study.write(uuid4(), GroupMembersAdded(group_id=BATCH, members=(member,)))
    follower.catch_up()
    graph = await queries.provenance.graph("group", str(BATCH), bounds=Bounds(depth=1, few=4))
    link = {each.name: each for each in graph.nodes[graph.root].links}["embeddings"]
    assert (len(link.things), link.count, link.counted_all, link.complete) == (4, 212, True, False)
    assert not graph.complete

    async def pages(limit: int):
        found, cursor = [], None
        while True:
            page = await queries.provenance.linked("group", str(BATCH), "embeddings", page=Paging(limit, cursor))
            found += [node.thing for node in page.items]
            cursor = page.next_cursor
            if cursor is None:
                return found

    everything = await pages(1000)
    assert len(set(everything)) == len(everything) == 212
    assert everything[:4] == list(link.things)
    assert await pages(5) == everything


async def test_a_walk_is_bounded_and_says_so(a_study, queries, monkeypatch):
    near = await queries.provenance.graph("cluster", f"{SWEEP}/1", bounds=Bounds(depth=2))
    assert not near.complete
    assert any(node.links is None for node in near.nodes.values())
    assert {edge.first for edge in near.edges} | {edge.second for edge in near.edges} <= set(near.nodes)
    alone = await queries.provenance.graph("cluster", f"{SWEEP}/1", bounds=Bounds(depth=0))
    assert list(alone.nodes) == [alone.root]
    monkeypatch.setattr("projections.provenance.MOST_NODES", 5)
    few = await queries.provenance.graph("cluster", f"{SWEEP}/1", bounds=EVERYTHING)
    assert (len(few.nodes), few.complete) == (5, False)
    monkeypatch.setattr("projections.provenance.COUNTED_TO", 1)
    cut = await queries.provenance.graph("cluster", f"{SWEEP}/1", bounds=Bounds(depth=1, few=1))
    link = {each.name: each for each in cut.nodes[cut.root].links}["representatives"]
    assert (link.count, link.counted_all, len(link.things)) == (1, False, 1)
    assert COUNTED_TO == 10_000


async def test_a_text_shows_its_beginning_and_a_shared_call_whose_answer_it_was(a_study, queries):
    text = await queries.provenance.graph("text", HASHES[0], bounds=Bounds(depth=0))
    assert text.nodes[text.root].label.startswith("text aaaa")
    joiner = await queries.provenance.graph("call", str(JOINER), bounds=Bounds(depth=1))
    assert joiner.nodes[joiner.root].facts["how"] == "took_over"
    assert ends(joiner, "answered_by", "call", JOINER) == [f"call {NAMING}"]
    served = await queries.provenance.graph("call", str(SERVED), bounds=Bounds(depth=1))
    assert ends(served, "answered_by", "call", SERVED) == [f"call {EMBEDS}", f"call {NAMING}"]


async def test_what_is_not_recorded_is_not_found(queries):
    one = str(UUID(int=1))
    written = {"text": "ff" * 32, "model": "no/such", "bytes": f"{one}/1/request", "cluster": f"{one}/2/0"}
    for kind in KINDS:
        shown = written.get(kind, f"{one}/2" if kind in ("step", "embedding", "attempt") else one)
        with pytest.raises(NotFound, match=f"There is no {kind} "):
            await queries.provenance.graph(kind, shown)
        with pytest.raises(NotFound):
            await queries.provenance.linked(kind, shown, next(way.name for way in WAYS if way.kind == kind))


async def test_bounds_directions_and_ways_that_make_no_sense_are_rejected_by_name(a_study, queries):
    for bounds, field in ((Bounds(depth=21), "depth"), (Bounds(few=0), "few")):
        with pytest.raises(Rejected) as rejected:
            await queries.provenance.graph("sweep", str(SWEEP), bounds=bounds)
        assert rejected.value.fields == (field,)
    with pytest.raises(Rejected) as rejected:
        await queries.provenance.graph("sweep", str(SWEEP), direction="sideways")
    assert rejected.value.fields == ("direction",)
    with pytest.raises(Rejected, match="embedding_batch, dataset"):
        await queries.provenance.linked("sweep", str(SWEEP), "tickets")


async def test_what_is_named_but_not_recorded_is_shown_as_not_found(log, follower, queries):
    log.write(SWEEP, BY_TYPE[SweepStarted])
    follower.catch_up()
    graph = await queries.provenance.graph("sweep", str(SWEEP), bounds=Bounds(depth=1))
    missing = [node for node in graph.nodes.values() if not node.found]
    assert {node.thing.kind for node in missing} == {"group", "dataset", "vectors"}


async def test_a_group_shows_what_was_said_of_it_last_and_in_the_past_what_was_said_until_then(
    a_study, follower, queries
):
    before = a_study.last_position()
    a_study.write(RUN, GroupDescribed(description="the second try", metadata={"algorithm": "k-means"}))
    follower.catch_up()

    async def facts(as_of=None):
        graph = await queries.provenance.graph("group", str(RUN), bounds=Bounds(depth=0), as_of=as_of)
        (node,) = graph.nodes.values()
        return node.facts

    now = await facts()
    assert (now["description"], now["metadata"]) == ("the second try", {"algorithm": "k-means"})
    then = await facts(as_of=before)
    assert "description" not in then
    assert then["metadata"] == {}
