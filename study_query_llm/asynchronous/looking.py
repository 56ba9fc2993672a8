"""Looking back: calls, events, bytes, and what came of what."""

import builtins
from typing import Any, Literal
from uuid import UUID

from application.ask_model import Answer
from interfaces.as_of import AsOf
from interfaces.study import Json
from study_query_llm.asynchronous.opened import Opened
from study_query_llm.results import Rows, thing_asked_about


class Looking(Opened):
    """Looking back: calls, events, bytes, and what came of what."""

    async def calls(self, **filters: Any) -> Rows:
        """Calls, newest first; filters are those of `study calls` (provider, status, since, as_of, limit …)."""
        return Rows((await self._wired.calls.list(**filters))["items"])

    async def call(self, call_id: UUID | str, *, as_of: AsOf | None = None) -> Json:
        """One call with its request, answer and attempts, as of a time or position. Raises NotFound."""
        return await self._wired.calls.get(call_id, as_of=as_of)

    async def bytes(self, call_id: UUID | str, part: str = "response", *, version: int | None = None) -> builtins.bytes:
        """The exact bytes of a `request`, `response` or `completion`, their hash checked. Raises NotFound."""
        return (await self._wired.bodies.get(call_id, part, version=version))[1]

    async def unanswered(self, *, as_of: AsOf | None = None, limit: int = 50) -> Rows:
        """Calls that were never answered: under way, in doubt, or cancelled, newest first."""
        return Rows((await self._wired.audit.unanswered(as_of=as_of, limit=limit))["items"])

    async def events(self, *, limit: int = 1000, **filters: Any) -> Rows:
        """Events in order; filters are those of `study events` (after, kind, event, entity, actor, since, as_of …)."""
        found = Rows()
        while True:
            page = await self._wired.audit.events(limit=min(limit - len(found), 1000), **filters)
            found += page["items"]
            if page["next_cursor"] is None or len(found) >= limit:
                return found
            filters["cursor"] = page["next_cursor"]

    async def history(self, kind: str, entity_id: UUID | str) -> Rows:
        """Every event of one thing, in order. Raises NotFound."""
        return Rows((await self._wired.history.of(kind, entity_id))["items"])

    async def provenance(self, thing: Any, *, direction: Literal["up", "down", "both"] = "up", **bounds: Any) -> Json:
        """What a thing came from, down to the provider's bytes; or what was made of it; or both.

        thing: a sweep, an answer, a dataset, or its kind and id as "cluster/SWEEP_ID/0" or ("model", "openai/gpt-4o")
        bounds: depth, few, verify, as_of; see `study provenance --help`
        Returns {root, nodes: [{kind, id, label, facts, links …}], edges: [{relation, first, second}], complete}.
        """
        bounds.setdefault("at_least", thing.position if isinstance(thing, Answer) else None)
        return await self._wired.provenance.of(*thing_asked_about(thing), direction=direction, **bounds)

    async def prov_json(self, thing: Any, *, direction: Literal["up", "down", "both"] = "up", **bounds: Any) -> Json:
        """The same walk as W3C PROV-JSON."""
        bounds.setdefault("at_least", thing.position if isinstance(thing, Answer) else None)
        return await self._wired.provenance.prov_json(*thing_asked_about(thing), direction=direction, **bounds)
