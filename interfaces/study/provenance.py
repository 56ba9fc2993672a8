"""What things came from, and what was made of them."""

import asyncio
from typing import Any, Literal
from urllib.parse import quote, urlencode

import msgspec

from application.read_bytes import KeptBytes, ReadBytes
from domain.prov_json import prov_json
from domain.provenance import Edge, Graph, Link, Node, Thing
from interfaces.as_of import NOW, Moment
from interfaces.event_document import href_of_bytes
from interfaces.study.moments import Moments
from interfaces.study.words import Json
from projections.catalogue import CATALOGUE
from projections.conversations import CONVERSATIONS
from projections.embedding_cache import EMBEDDING_CACHE
from projections.group_links import GROUP_LINKS
from projections.paging import FIRST_PAGE, Paging
from projections.provenance import DEPTH, FEW, Bounds
from projections.queries import Queries
from projections.raw_calls import RAW_CALLS
from projections.shared_calls import SHARED_CALLS
from projections.sweeps import SWEEP_RUNS

READS = tuple(
    model.name
    for model in (RAW_CALLS, SHARED_CALLS, GROUP_LINKS, EMBEDDING_CACHE, SWEEP_RUNS, CATALOGUE, CONVERSATIONS)
)


class Provenance:
    """Walks from a thing, upwards to what it came from, or downwards."""

    def __init__(self, queries: Queries, read_bytes: ReadBytes, moments: Moments) -> None:
        self._queries = queries
        self._read_bytes = read_bytes
        self._moments = moments

    async def of(
        self,
        kind: str,
        thing_id: str,
        moment: Moment = NOW,
        *,
        direction: Literal["up", "down", "both"] = "up",
        depth: int = DEPTH,
        few: int = FEW,
        verify: bool = False,
    ) -> Json:
        """The thing and what a walk from it finds: nodes, each with its links, and what is stated between them.

        depth: steps from the thing; few: things shown on each way, of which there may be more
        verify: also whether bytes have the hashes that were recorded. Raises NotFound, Rejected.
        """
        position = await self._moments.shown(moment, reads=READS)
        graph = await self._graph(kind, thing_id, direction, Bounds(depth=depth, few=few), position, verify=verify)
        return {
            "root": _reference(graph.root, position),
            "direction": direction,
            "as_of": position,
            "complete": graph.complete,
            "nodes": [_node(node, position) for node in graph.nodes.values()],
            "edges": [_edge(edge) for edge in graph.edges],
        }

    async def prov_json(
        self,
        kind: str,
        thing_id: str,
        moment: Moment = NOW,
        *,
        direction: Literal["up", "down", "both"] = "up",
        depth: int = DEPTH,
        few: int = FEW,
    ) -> Json:
        """The same walk as W3C PROV-JSON."""
        position = await self._moments.shown(moment, reads=READS)
        bounds = Bounds(depth=depth, few=few)
        return prov_json(await self._graph(kind, thing_id, direction, bounds, position, verify=False))

    async def linked(
        self, kind: str, thing_id: str, name: str, moment: Moment = NOW, page: Paging = FIRST_PAGE
    ) -> Json:
        """Everything that one way leads to, page by page."""
        position = await self._moments.shown(moment, page, reads=READS)
        found = await self._queries.provenance.linked(kind, thing_id, name, as_of=position, page=page)
        return {"items": [_node(node, position) for node in found.items], "next_cursor": found.next_cursor}

    async def _graph(
        self, kind: str, thing_id: str, direction: Any, bounds: Bounds, position: int | None, *, verify: bool
    ) -> Graph:
        graph = await self._queries.provenance.graph(kind, thing_id, direction=direction, bounds=bounds, as_of=position)
        return await self._with_hashes(graph, verify=verify)

    async def _with_hashes(self, graph: Graph, *, verify: bool) -> Graph:
        """Say of bytes what their events say of them, which no table holds."""
        bodies = [thing for thing, node in graph.nodes.items() if thing.kind == "bytes" and node.found]
        call_ids = dict.fromkeys(thing.key[0] for thing in bodies)
        reading = [self._read_bytes.parts(call_id, verify=verify) for call_id in call_ids]
        parts = [part for found in await asyncio.gather(*reading) for part in found]
        kept = {(part.call_id, part.version, part.part): part for part in parts}
        nodes = dict(graph.nodes)
        for thing in bodies:
            node, part = nodes[thing], kept[thing.key]
            facts = {"sha256": part.sha256, "size": part.size, "media_type": part.media_type, "content": _content(part)}
            checked = {} if part.sha256_ok is None else {"sha256_ok": part.sha256_ok}
            nodes[thing] = msgspec.structs.replace(node, facts={**node.facts, **facts, **checked})
        return msgspec.structs.replace(graph, nodes=nodes)


def _content(part: KeptBytes) -> str:
    return href_of_bytes(part.call_id, part.part, part.version)


def _reference(thing: Thing, position: int | None) -> Json:
    return {"kind": thing.kind, "id": thing.id, "href": _href(thing, position)}


def _href(thing: Thing, position: int | None, **more: str) -> str:
    return f"/api/provenance/{thing.kind}/{quote(thing.id, safe='/')}{_query(position, **more)}"


def _query(position: int | None, **more: str) -> str:
    asked = {**more, **({} if position is None else {"as_of": str(position)})}
    return f"?{urlencode(asked)}" if asked else ""


def _node(node: Node, position: int | None) -> Json:
    known: Json = msgspec.to_builtins(
        {"label": node.label, "at": node.at, "ended_at": node.ended_at, "position": node.position, "actor": node.actor}
    )
    return {
        **_reference(node.thing, position),
        **known,
        "found": node.found,
        "facts": msgspec.to_builtins(node.facts),
        "links": None if node.links is None else [_link(node.thing, link, position) for link in node.links],
    }


def _link(origin: Thing, link: Link, position: int | None) -> Json:
    all_of_it = f"/api/provenance/links/{link.name}/{origin.kind}/{quote(origin.id, safe='/')}{_query(position)}"
    return {
        "name": link.name,
        "direction": link.direction,
        "relation": link.relation,
        "to": link.to,
        "count": link.count,
        "counted_all": link.counted_all,
        "items": [
            {**_reference(thing, position), "role": role} for thing, role in zip(link.things, link.roles, strict=True)
        ],
        "all": None if link.complete else all_of_it,
    }


def _edge(edge: Edge) -> Json:
    return {
        "relation": edge.relation,
        "first": {"kind": edge.first.kind, "id": edge.first.id},
        "second": {"kind": edge.second.kind, "id": edge.second.id},
        "role": edge.role,
    }
