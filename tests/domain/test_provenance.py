"""Ids of things as people write them, and walks as PROV-JSON, which the library of the W3C's authors loads."""

import json
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prov.model import ProvActivity, ProvAgent, ProvDocument, ProvEntity

from domain.errors import NotFound, Rejected
from domain.prov_json import ENDS, prov_json
from domain.provenance import KINDS, PARTS, Graph, Link, Node, Thing, thing_of
from tests.projections.log import NOON

ID = UUID("0195512a-7c00-7000-8000-000000000001")
parts = {UUID: st.uuids(), int: st.integers(0, 2**31 - 1), str: st.text(min_size=1).filter(lambda t: "/" not in t)}
things = st.sampled_from(KINDS).flatmap(
    lambda kind: st.tuples(*(parts[part] for part in PARTS[kind])).map(lambda key: Thing(kind, key))
)


@given(things)
def test_an_id_as_it_is_written_leads_back_to_the_thing(thing: Thing) -> None:
    assert thing_of(thing.kind, thing.id) == thing


def test_a_model_may_have_slashes_and_a_cluster_no_k() -> None:
    assert thing_of("model", "hyperbolic/meta/llama-3:8b").key == ("hyperbolic", "meta/llama-3:8b")
    assert thing_of("cluster", f"{ID}/4").key == (ID, None, 4)


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        ("call", "tomorrow"),
        ("cluster", f"{ID}"),
        ("step", f"{ID}/-1"),
        ("step", f"{ID}/99999999999999999999"),
        ("embedding", f"{ID}/x"),
        ("model", "openai"),
        ("model", "openai/"),
        ("bytes", f"{ID}/1"),
    ],
)
def test_what_is_no_id_is_not_found_and_shown_how_it_is_written(kind: str, written: str) -> None:
    with pytest.raises(NotFound, match="which is written"):
        thing_of(kind, written)


def test_an_unknown_kind_is_rejected_with_those_there_are() -> None:
    with pytest.raises(Rejected, match="cluster, step, sweep"):
        thing_of("dog", str(ID))


def graph() -> Graph:
    """One thing of every sort, and one statement of every sort but attribution, which comes with an actor."""
    call, model, body = Thing("call", (ID,)), Thing("model", ("openai", "llama 3:8b/%é")), Thing("bytes", (ID, 1, "r"))
    group, embedding, text = Thing("group", (ID,)), Thing("embedding", (ID, 0)), Thing("text", ("ab",))
    attempt = Thing("attempt", (ID, 2))

    def link(relation: str, *to: Thing, against: bool = False) -> Link:
        return Link(
            name=relation, direction="up", relation=relation, to=to[0].kind, things=to, roles=("r",), against=against
        )  # type: ignore[arg-type]

    nodes = {
        call: Node(
            thing=call,
            label="a call",
            at=NOON,
            ended_at=NOON,
            position=1,
            actor="ada & bob",
            facts={
                "provider": "openai",
                "model": "gpt-4o",
                "tokens": {"prompt": 3, "completion": 0},
                "latency_ms": 2.5,
                "metadata": {"b": [1, None], "a": {"ö": "\x00"}},
                "ok": True,
            },
            links=(link("used", body), link("wasAssociatedWith", model), link("wasInformedBy", attempt)),
        ),
        group: Node(
            thing=group,
            label="a group",
            actor="ada & bob",
            links=(link("hadMember", embedding), link("wasInfluencedBy", call)),
        ),
        embedding: Node(thing=embedding, label="", links=(link("wasGeneratedBy", call), link("wasDerivedFrom", text))),
        attempt: Node(thing=attempt, label="attempt", links=(link("wasGeneratedBy", body, against=True),)),
        **{thing: Node(thing=thing, label="x", at=NOON, links=()) for thing in (model, body, text)},
    }
    return Graph(root=call, nodes=nodes)


def test_a_walk_is_prov_json_that_the_library_loads_and_writes_again() -> None:
    document = ProvDocument.deserialize(content=json.dumps(prov_json(graph())), format="json")
    assert len(list(document.get_records(ProvActivity))) == 2
    assert len(list(document.get_records(ProvEntity))) == 4
    assert {str(agent.label) for agent in document.get_records(ProvAgent)} == {"x", "ada & bob"}
    stated = {record.get_type().localpart for record in document.get_records() if not record.is_element()}
    assert stated == {
        "Usage", "Generation", "Derivation", "Communication", "Association", "Attribution", "Membership", "Influence",
    }  # fmt: skip
    again = ProvDocument.deserialize(content=document.serialize(format="json"), format="json")
    assert again == document


def test_calls_carry_the_names_that_opentelemetry_gives_them() -> None:
    written = prov_json(graph())
    call = written["activity"][f"sq:call/{ID}"]
    assert call["gen_ai:request.model"] == "gpt-4o"
    assert call["gen_ai:usage.input_tokens"] == 3
    assert written["prefix"]["gen_ai"].endswith("#gen_ai.")
    assert call["prov:startTime"] == NOON.isoformat()


def test_every_relation_has_ends_in_prov_json() -> None:
    from projections.provenance import WAYS

    assert {way.relation for way in WAYS} <= set(ENDS)
