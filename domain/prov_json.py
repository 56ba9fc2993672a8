"""A walk as W3C PROV-JSON: entities, activities and agents, and what is stated of them.

Calls carry OpenTelemetry's names for generative AI where there is one, in a namespace whose names add up to them.
Source: https://www.w3.org/submissions/prov-json/
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec

from domain.provenance import ACTIVITIES, AGENTS, Edge, Graph, Node, Thing

PREFIXES = {
    "sq": "urn:study-query-llm:",
    "gen_ai": "https://opentelemetry.io/docs/specs/semconv/registry/attributes/gen-ai/#gen_ai.",
}
# Which roles PROV-JSON gives the two ends of a statement.
ENDS: Mapping[str, tuple[str, str]] = {
    "wasDerivedFrom": ("prov:generatedEntity", "prov:usedEntity"),
    "wasGeneratedBy": ("prov:entity", "prov:activity"),
    "used": ("prov:activity", "prov:entity"),
    "hadMember": ("prov:collection", "prov:entity"),
    "wasInformedBy": ("prov:informed", "prov:informant"),
    "wasAssociatedWith": ("prov:activity", "prov:agent"),
    "wasAttributedTo": ("prov:entity", "prov:agent"),
    "wasInfluencedBy": ("prov:influencee", "prov:influencer"),
}
WITHOUT_ATTRIBUTES = ("hadMember",)
# What OpenTelemetry calls the facts of a call.
GEN_AI = {
    "provider": "provider.name",
    "operation": "operation.name",
    "model": "request.model",
    "served_model": "response.model",
    "finish_reason": "response.finish_reasons",
}
GEN_AI_TOKENS = {"prompt": "usage.input_tokens", "completion": "usage.output_tokens"}

Json = dict[str, Any]


def prov_json(graph: Graph) -> Json:
    """A document that PROV libraries load."""
    document: Json = {"prefix": dict(PREFIXES), "entity": {}, "activity": {}, "agent": {}}
    statements: dict[str, Json] = {}
    for node in graph.nodes.values():
        document[_class(node.thing)][_name(node.thing)] = _attributes(node)
        if node.actor is not None:
            document["agent"][_actor(node.actor)] = {"prov:label": node.actor, "prov:type": _type("actor")}
            acted = "wasAssociatedWith" if node.thing.kind in ACTIVITIES else "wasAttributedTo"
            _state(statements, acted, _name(node.thing), _actor(node.actor), None)
    for edge in graph.edges:
        _state_edge(statements, edge)
    return {name: members for name, members in {**document, **statements}.items() if members}


def _class(thing: Thing) -> str:
    if thing.kind in ACTIVITIES:
        return "activity"
    return "agent" if thing.kind in AGENTS else "entity"


def _name(thing: Thing) -> str:
    return f"sq:{thing.kind}/{quote(thing.id, safe='/')}"


def _actor(actor: str) -> str:
    return f"sq:actor/{quote(actor, safe='')}"


def _type(kind: str) -> Json:
    return {"$": f"sq:{kind}", "type": "prov:QUALIFIED_NAME"}


def _attributes(node: Node) -> Json:
    found: Json = {"prov:label": node.label, "prov:type": _types(node.thing)}
    if node.thing.kind in ACTIVITIES:
        for name, at in (("prov:startTime", node.at), ("prov:endTime", node.ended_at)):
            if isinstance(at, datetime):
                found[name] = at.isoformat()
    elif isinstance(node.at, datetime):
        found["sq:at"] = {"$": node.at.isoformat(), "type": "xsd:dateTime"}
    if node.position is not None:
        found["sq:position"] = node.position
    for name, value in node.facts.items():
        found[f"sq:{name}"] = _value(value)
    if node.thing.kind == "call":
        found |= {f"gen_ai:{other}": node.facts[name] for name, other in GEN_AI.items() if name in node.facts}
        tokens = node.facts.get("tokens") or {}
        found |= {f"gen_ai:{other}": tokens[name] for name, other in GEN_AI_TOKENS.items() if tokens.get(name)}
    return found


def _types(thing: Thing) -> Any:
    if thing.kind == "group":
        return [_type("group"), {"$": "prov:Collection", "type": "prov:QUALIFIED_NAME"}]
    if thing.kind in AGENTS:
        return [_type(thing.kind), {"$": "prov:SoftwareAgent", "type": "prov:QUALIFIED_NAME"}]
    return _type(thing.kind)


def _value(value: Any) -> Any:
    """A literal; what has parts becomes JSON in a text, since PROV knows no parts."""
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping | list | tuple):
        return msgspec.json.encode(value, order="deterministic").decode()
    return str(value)


def _state_edge(statements: dict[str, Json], edge: Edge) -> None:
    _state(statements, edge.relation, _name(edge.first), _name(edge.second), edge.role)


def _state(statements: dict[str, Json], relation: str, first: str, second: str, role: str | None) -> None:
    first_end, second_end = ENDS[relation]
    stated: Json = {first_end: first, second_end: second}
    if role is not None and relation not in WITHOUT_ATTRIBUTES:
        stated["sq:role"] = role
    members = statements.setdefault(relation, {})
    members[f"_:{relation}{len(members) + 1}"] = stated
