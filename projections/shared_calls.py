"""Who was answered by another's call: joiners of a call in flight, and those that an earlier answer was given to.

They make no row among the calls, since no provider was called for them. A joiner whose call came to nothing joins that
of whoever takes over: each of its joins is a row, and the last one counts.
"""

from collections.abc import Sequence
from typing import Any

from domain.calls import CallJoined, CallServedFromCache
from domain.events import RecordedEvent
from projections.read_model import Change, Insert, ReadModel, Table, View

SHARED = Table(
    name="shared_calls",
    columns={
        "call_id": "uuid NOT NULL",
        "version": "int NOT NULL",
        "place": "int NOT NULL",  # among the calls that a set of texts was answered from
        "source_call_id": "uuid NOT NULL",
        "how": "text NOT NULL",  # joined, took_over or cached
        "modality": "text NOT NULL",
        "provider": "text NOT NULL",
        "model": "text NOT NULL",
        "created_at": "timestamptz NOT NULL",
        "actor": "text NOT NULL",
        "process": "text NOT NULL",
        "correlation_id": "uuid NOT NULL",
        "metadata": "jsonb NOT NULL",
        "position": "bigint NOT NULL",
        "preprocessing": "jsonb",
        "saved": "numeric(20,10)",
    },
    key=("call_id", "version", "place"),
    indexes=("(source_call_id)",),
)

SHARED_VIEW = View(
    name="shared_calls",
    select="""
        SELECT call_id, source_call_id, how, modality, provider, model, created_at, actor, metadata AS metadata_json,
            position, saved
        FROM {schema}.shared_calls
    """,
)

_insert = Insert(SHARED)


def changes(events: Sequence[RecordedEvent]) -> list[Change]:
    """A row for each call that somebody was answered from."""
    rows: list[tuple[Any, ...]] = []
    for event in events:
        match event.fact:
            case CallJoined() as fact:
                rows.append(_row(event, fact, 0, fact.call_id, "took_over" if fact.took_over else "joined"))
            case CallServedFromCache() as fact:
                rows += [_row(event, fact, place, source, "cached") for place, source in enumerate(fact.call_ids)]
    return _insert(rows)


def _row(event: RecordedEvent, fact: CallJoined | CallServedFromCache, place: int, source: Any, how: str) -> Any:
    envelope = event.envelope
    return (
        event.stream_id,
        event.version,
        place,
        source,
        how,
        fact.modality,
        fact.provider,
        fact.model,
        envelope.occurred_at,
        envelope.actor,
        envelope.process,
        envelope.correlation_id,
        fact.metadata,
        event.position,
        fact.preprocessing,
        None if isinstance(fact, CallJoined) else fact.saved,
    )


SHARED_CALLS = ReadModel(
    name="shared_calls",
    version=3,
    reads=(CallJoined, CallServedFromCache),
    tables=(SHARED,),
    views=(SHARED_VIEW,),
    changes=changes,
)
