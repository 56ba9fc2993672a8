"""Which events a route is asked about: the filters that the log's list, its stream and its exports have in common."""

from typing import Annotated, Any
from uuid import UUID

from litestar.di import NamedDependency, Provide
from litestar.params import FromQuery, QueryParameter, SkipValidation

from interfaces.http.parameters import When, time_of

Kind = Annotated[str | None, QueryParameter(description="What they are about: call, group, sweep …")]
EventName = Annotated[str | None, QueryParameter(description="Their name: call.answered or call.answered.v1.")]
Entity = Annotated[
    str | None, QueryParameter(description="The id of the one thing they are about, members and links included.")
]
EventsAsked = NamedDependency[SkipValidation[dict[str, Any]]]


def asked(
    kind: Kind = None,
    event: EventName = None,
    entity: Entity = None,
    actor: FromQuery[str | None] = None,
    process: FromQuery[str | None] = None,
    correlation_id: FromQuery[UUID | None] = None,
    since: When = None,
    until: When = None,
) -> dict[str, Any]:
    """The dependency `asked`: what `events_wanted` takes."""
    return {
        "kind": kind,
        "event": event,
        "entity": entity,
        "actor": actor,
        "process": process,
        "correlation_id": correlation_id,
        "since": time_of(since, "since"),
        "until": time_of(until, "until"),
    }


ASKED = {"asked": Provide(asked, sync_to_thread=False)}
