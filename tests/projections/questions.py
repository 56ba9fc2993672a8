"""Every question that can be asked as of a position: with which arguments, and how its answers are compared."""

import inspect
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from operator import attrgetter
from typing import Any, TypeVar
from uuid import UUID

from msgspec import Struct

from application.find_vectors import Found
from application.stored_vectors import VectorFilter
from domain.errors import NotFound
from projections.call_queries import STATUSES, CallFilter
from projections.paging import Page, Paging
from projections.provenance import WAYS, Bounds
from projections.queries import Queries
from projections.search_eras import CallSearch
from tests.projections.log import NOON

EVERY_CALL = 1000  # a page that holds it all
TURNS = 4
PAGED = ("calls", "embeddings", "steps", "groups", "artifacts")  # ways that may lead to many

Arguments = dict[str, Any]
T = TypeVar("T")


class Known(Struct):
    """What there is to ask about, and what there might be: ids and names, in the order in which they came up."""

    calls: list[UUID] = []
    hashes: list[str] = []
    groups: dict[UUID, tuple[str, str]] = {}
    sweeps: list[UUID] = []
    vectors: list[UUID] = []
    artifacts: list[UUID | str] = []
    conversations: list[UUID] = []
    datasets: list[UUID] = []
    turn: int = 0  # whose turn it is among the things that are asked about one after the other

    def some(self, chance: random.Random, count: int = 3) -> "Known":
        """A few of each kind; lists show the others."""

        def few(found: Sequence[T]) -> list[T]:
            return chance.sample(found, min(count, len(found)))

        groups = {group_id: self.groups[group_id] for group_id in few(list(self.groups))}
        return Known(
            few(self.calls),
            self.hashes,
            groups,
            few(self.sweeps),
            few(self.vectors),
            few(self.artifacts),
            few(self.conversations),
            few(self.datasets),
        )


def _filters(known: Known) -> list[Arguments]:
    return [
        {},
        *({"status": status} for status in STATUSES),
        *({"group_id": group_id} for group_id in known.groups),
        {"provider": "openai", "model": "gpt-4o-mini"},
        {"modality": "embedding", "until": NOON},
    ]


def _searches(known: Known) -> list[Arguments]:
    asked: list[Arguments] = [
        {"search": "primes"},
        {"search": '"name three" -rome', "part": "prompt", "provider": "openai"},
        {"search": "prim* OR 5", "since": NOON, "status": "success"},
        {"search": "3", "order": "rank"},
        *({"search": "prim*", "group_id": group_id} for group_id in known.groups),
    ]
    return [{"wanted": CallSearch(**each)} for each in asked]


def _analytics(known: Known) -> list[Arguments]:
    """Rollups answer all but those of groups and actors, and the minute in which something is asked since."""
    filters = [*_filters(known)[:-1], {"since": NOON + timedelta(seconds=10)}, {"actor": "ada"}, {"actor": "bob"}]
    return [{"wanted": CallFilter(**each)} for each in filters[known.turn % TURNS :: TURNS]]


def _series(known: Known) -> list[Arguments]:
    """Points answer those of hours and days of all calls, or of a model."""
    alike = CallFilter(provider="openai", model="gpt-4o-mini") if known.turn % 2 else CallFilter()
    points = [
        {"wanted": alike, "bucket": bucket, "timezone": zone, "by": by}
        for bucket, zone, by in (
            *(("hour", "UTC", "model"), ("hour", "Asia/Kolkata", "model")),
            ("day", "Asia/Kathmandu", "provider"),
        )
    ]
    details = [
        {**each, "bucket": "minute", "timezone": "Asia/Kathmandu", "by": "model", "detail": True}
        for each in _analytics(known)[:1]
    ]
    return [*points, *details]


def _each(name: str, found: Callable[[Known], Sequence[object]]) -> Callable[[Known], list[Arguments]]:
    return lambda known: [{name: each} for each in found(known)]


_calls = _each("call_id", lambda known: known.calls)
_groups = _each("group_id", lambda known: list(known.groups))
_sweeps = _each("sweep_id", lambda known: known.sweeps)
_vectors = _each("vectors_id", lambda known: known.vectors)
_names = _each("name", lambda known: [name for _, name in known.groups.values()])


_conversations = _each("conversation_id", lambda known: known.conversations)


def _once(_known: Known) -> list[Arguments]:
    return [{}]


def _artifact_lists(known: Known) -> list[Arguments]:
    return [{}, {"artifact_type": "scatter"}, *_groups(known)]


def _group_lists(known: Known) -> list[Arguments]:
    return [{}, {"group_type": "dataset"}, *({"name": name} for _, name in known.groups.values())]


def _conversation_lists(_known: Known) -> list[Arguments]:
    return [{}, {"status": "open"}, {"status": "closed"}]


def _near(known: Known) -> list[Arguments]:
    filters = [{}, {"until": NOON}, *_groups(known)]
    return [{"vector": [1.0, 2.0, 3.0], "wanted": VectorFilter(**each)} for each in filters]


def _links(known: Known) -> list[Arguments]:
    return [{**group, "link_type": link_type} for group in _groups(known) for link_type in (None, "step")]


def _member_lists(known: Known) -> list[Arguments]:
    return [*_groups(known), *({**group, "role": "input"} for group in _groups(known))]


def _things(known: Known) -> list[tuple[str, str]]:
    """What may have a provenance: one or two of each kind, so that one step from them takes every way.

    They take turns, a quarter of them at each position, since a walk asks a dozen questions.
    """
    things = [
        *(("call", f"{call_id}") for call_id in known.calls[:2]),
        *(("embedding", f"{call_id}/0") for call_id in known.calls[:2]),
        *(("attempt", f"{call_id}/2") for call_id in known.calls[:1]),
        *(("bytes", f"{call_id}/{part}") for call_id in known.calls[:1] for part in ("1/request", "2/response")),
        *(("text", request_hash) for request_hash in [*known.hashes[:1], "ab" * 32]),
        *(("group", f"{group_id}") for group_id in list(known.groups)[:2]),
        *(("sweep", f"{sweep_id}") for sweep_id in known.sweeps[:2]),
        *(("cluster", f"{sweep_id}/{cluster}") for sweep_id in known.sweeps[:1] for cluster in ("0", "2/1")),
        *(("vectors", f"{vectors_id}") for vectors_id in known.vectors[:1]),
        *(("artifact", f"{artifact_id}") for artifact_id in known.artifacts[:2] if isinstance(artifact_id, UUID)),
        *(("dataset", f"{dataset_id}") for dataset_id in known.datasets[:1]),
        *(("conversation", f"{conversation_id}") for conversation_id in known.conversations[:2]),
        ("model", "openai/gpt-4o-mini"),
    ]
    return things[known.turn % TURNS :: TURNS]


def _walks(known: Known) -> list[Arguments]:
    return [
        {**group, "direction": direction, "link_type": link_type, "depth": depth}
        for group in _groups(known)
        for direction, link_type, depth in (("up", "depends_on", 9), ("both", None, 2), ("down", "step", 1))
    ]


def _provenance_walks(known: Known) -> list[Arguments]:
    return [
        {"kind": kind, "written": written, "direction": "both", "bounds": Bounds(few=2, depth=1)}
        for kind, written in _things(known)
    ]


def _ways(known: Known) -> list[Arguments]:
    some = dict(_things(known))
    ways = [way for way in WAYS if way.name in PAGED and way.kind in some]
    return [{"kind": way.kind, "written": some[way.kind], "name": way.name} for way in ways]


# By where the question is found in Queries. A new one that takes as_of joins here, or a test fails.
QUESTIONS: dict[str, Callable[[Known], list[Arguments]]] = {
    "calls.calls": lambda known: [{"wanted": CallFilter(**each)} for each in _filters(known)],
    "search.calls": _searches,
    "calls.call": _calls,
    "calls.attempts": _calls,
    "calls.unanswered": _once,
    "groups.groups": _group_lists,
    "groups.group": _groups,
    "groups.members": _member_lists,
    "groups.children": _links,
    "groups.parents": _links,
    "groups.dependencies": _walks,
    "catalogue.dataset": _names,
    "catalogue.datasets": _once,
    "catalogue.vectors": _vectors,
    "catalogue.artifact": _each("id_or_name", lambda known: known.artifacts),
    "catalogue.artifacts": _artifact_lists,
    "sweeps.sweep": _sweeps,
    "sweeps.sweeps": _once,
    "conversations.conversation": _conversations,
    "conversations.conversations": _conversation_lists,
    "similar_texts.similar": _near,
    "vectors_in_bulk.spaces": _once,
    "vectors_in_bulk.space": lambda _known: [{"wanted": VectorFilter()}],
    "provenance.graph": _provenance_walks,
    "provenance.linked": _ways,
    "embeddings.lookup": lambda known: [{"request_hashes": known.hashes}],
    "tokens.tokens": _once,
    "analytics.summary": _analytics,
    "analytics.providers": _analytics,
    "series.timeseries": _series,
    "analytics.errors": _analytics,
}


def all_questions(queries: Queries) -> set[str]:
    """Where in Queries there is a method that takes as_of."""
    return {name for name, method in _methods(queries) if "as_of" in inspect.signature(method).parameters}


def _methods(queries: Queries) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name, member in inspect.getmembers(queries):
        if name.startswith("_"):
            continue
        if inspect.iscoroutinefunction(member):
            yield name, member
        else:
            for inner, method in inspect.getmembers(member, inspect.iscoroutinefunction):
                if not inner.startswith("_"):
                    yield f"{name}.{inner}", method


async def answers(queries: Queries, known: Known, *, as_of: int | None, limit: int = EVERY_CALL) -> dict[str, Any]:
    """The answer to every question, lists read page by page to their end."""
    return {
        f"{place}({arguments})": await _answer(attrgetter(place)(queries), arguments, as_of, limit)
        for place, arguments_for in QUESTIONS.items()
        for arguments in arguments_for(known)
    }


def _places(found: Found) -> list[Any]:
    """Of each text that has a vector, where that lies."""
    calls = [found.calls[number] for number in found.call_numbers]
    return list(zip(found.places.tolist(), calls, found.input_indexes.tolist(), strict=True))


async def _answer(method: Callable[..., Any], arguments: Arguments, as_of: int | None, limit: int) -> Any:
    try:
        if "page" not in inspect.signature(method).parameters:
            found = await method(**arguments, as_of=as_of)
            return _places(found) if isinstance(found, Found) else found
        items: list[Any] = []
        cursor: str | None = None
        while True:
            page = await method(**arguments, as_of=as_of, page=Paging(limit, cursor))
            got, cursor = (
                (page.items, page.next_cursor) if isinstance(page, Page) else (page["items"], page["next_cursor"])
            )
            items += got
            if cursor is None:
                return items
    except NotFound:
        return "not found"
