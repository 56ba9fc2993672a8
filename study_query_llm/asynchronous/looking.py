"""Looking back: calls, events, bytes, and what came of what."""

import builtins
from typing import Any, Literal
from uuid import UUID

from application.ask_model import Answer
from interfaces.as_of import AsOf, Moment
from interfaces.study import Json
from interfaces.study.calls import calls_wanted
from projections.paging import LARGEST_PAGE, Paging
from study_query_llm.analytics import AsyncAnalytics
from study_query_llm.asynchronous.opened import Opened
from study_query_llm.questions import moment_and_page
from study_query_llm.results import Rows, Walked, thing_asked_about


class Looking(Opened):
    """Looking back: calls, events, bytes, and what came of what."""

    async def calls(self, **filters: Any) -> Rows:
        """Calls, newest first; filters are those of `study calls` (provider, status, since, as_of, limit …).

        search: words that a prompt or answer holds, as `prime* OR "in a row" -not`; each call then says in `found`
            where
        part: `prompt` or `answer`, to search only there
        order: `newest`, or `rank` to have the best of the newest 1,000 texts that match first
        Raises Rejected for a filter that makes no sense, and a part or order without a search.
        """
        moment, page = moment_and_page(filters)
        return Rows((await self._wired.calls.list(calls_wanted(**filters), moment, page))["items"])

    @property
    def analytics(self) -> AsyncAnalytics:
        """Calls added up: summary(), providers(), timeseries(), errors(), recent()."""
        return AsyncAnalytics(self._wired.analytics)

    async def call(self, call_id: UUID | str, *, as_of: AsOf | None = None) -> Json:
        """One call with its request, answer and attempts, as of a time or position. Raises NotFound."""
        return await self._wired.calls.get(call_id, Moment(as_of))

    async def bytes(self, call_id: UUID | str, part: str = "response", *, version: int | None = None) -> builtins.bytes:
        """The exact bytes of a `request`, `response` or `completion`, their hash checked. Raises NotFound."""
        return (await self._wired.bodies.get(call_id, part, version=version))[1]

    async def unanswered(self, *, as_of: AsOf | None = None, limit: int = 50) -> Rows:
        """Calls that were never answered: under way, in doubt, or cancelled, newest first."""
        return Rows((await self._wired.audit.unanswered(Moment(as_of), Paging(limit)))["items"])

    async def events(self, *, limit: int = 1000, **filters: Any) -> Rows:
        """Events in order; filters are those of `study events` (after, kind, event, entity, actor, since, as_of …)."""
        found = Rows()
        moment, page = moment_and_page(filters)
        while True:
            wanted = Paging(min(limit - len(found), LARGEST_PAGE), page.cursor)
            looked = await self._wired.audit.events(moment, wanted, **filters)
            found += looked["items"]
            if looked["next_cursor"] is None or len(found) >= limit:
                return found
            page = Paging(cursor=looked["next_cursor"])

    async def history(self, kind: str, entity_id: UUID | str) -> Rows:
        """Every event of one thing, in order. Raises NotFound."""
        return Rows((await self._wired.history.of(kind, entity_id))["items"])

    async def provenance(self, thing: Any, *, direction: Literal["up", "down", "both"] = "up", **bounds: Any) -> Walked:
        """What a thing came from, down to the provider's bytes; or what was made of it; or both.

        thing: a sweep, an answer, a dataset, or its kind and id as "cluster/SWEEP_ID/0" or ("model", "openai/gpt-4o")
        bounds: depth, few, verify, as_of; see `study provenance --help`
        Returns {root, nodes: [{kind, id, label, facts, links …}], edges: [{relation, first, second}], complete}.
        """
        moment = _moment_of(thing, bounds)
        found = await self._wired.provenance.of(*thing_asked_about(thing), moment, direction=direction, **bounds)
        return Walked(found)

    async def prov_json(self, thing: Any, *, direction: Literal["up", "down", "both"] = "up", **bounds: Any) -> Json:
        """The same walk as W3C PROV-JSON."""
        moment = _moment_of(thing, bounds)
        return await self._wired.provenance.prov_json(*thing_asked_about(thing), moment, direction=direction, **bounds)


def _moment_of(thing: Any, bounds: dict[str, Any]) -> Moment:
    """Take the moment out of a walk's bounds; a walk from an answer waits until that shows."""
    written = thing.position if isinstance(thing, Answer) else None
    return Moment(bounds.pop("as_of", None), bounds.pop("at_least", written))
