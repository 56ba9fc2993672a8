"""The log as server-sent events: each event as it is recorded."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from litestar import Response, Router, get
from litestar.openapi.spec import Example, OpenAPIMediaType, Operation, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import FromQuery, HeaderParameter, QueryParameter

from application.audit_log import EventFilter
from application.follow_log import FellBehind, FollowingEnded
from domain.errors import Rejected, StudyError
from interfaces.http.call_stream import MEDIA_TYPE
from interfaces.http.event_feed import EventFeed, farewell, frame, heartbeat
from interfaces.http.event_filter import Entity, EventName, Kind
from interfaces.http.parameters import OpenStudy, When, time_of
from interfaces.http.problems import problem_of, problem_responses
from interfaces.study import Study
from interfaces.study.live import filter_of
from interfaces.study.words import id_of

DESCRIPTION = """
Events in order, none left out and none twice: `id` is the position, `event` the stored name, `data` the same JSON as
in a list of events. A client that reconnects with `Last-Event-ID`, as browsers do by themselves, goes on behind it.
When nothing comes for 15 s, a comment is sent, with an `id` up to which the log was looked at. The last event says why
nothing more comes: `dropped` for a reader who was too slow, `stopping` when the server stops, each with a `detail`;
`error` holds a problem.
""".strip()
EXAMPLE = """retry: 1000

id: 12
event: call.requested.v1
data: {"position":12,"event":"call.requested.v1","kind":"call","actor":"ada", …}

id: 20
: heartbeat

"""


@dataclass
class OperationThatNeverEnds(Operation):
    """The documentation of a route that answers with events."""

    def __post_init__(self) -> None:
        """Describe the events."""
        answered: Any = (self.responses or {})["200"]
        answered.description = "The events."
        schema = Schema(type=OpenAPIType.STRING, description=DESCRIPTION)
        answered.content = {MEDIA_TYPE: OpenAPIMediaType(schema=schema, examples={"events": Example(value=EXAMPLE)})}


@get(
    "/events/stream",
    summary="Follow the log",
    responses=problem_responses(400, 404, 503),
    operation_class=OperationThatNeverEnds,
)
async def follow_log(
    study: OpenStudy,
    after: Annotated[
        int | None, QueryParameter(ge=0, description="Events behind this position; else those to come.")
    ] = None,
    last_event_id: Annotated[
        str | None,
        HeaderParameter(name="Last-Event-ID", description="The last id that was read; it counts before `after`."),
    ] = None,
    kind: Kind = None,
    event: EventName = None,
    entity: Entity = None,
    actor: FromQuery[str | None] = None,
    process: FromQuery[str | None] = None,
    correlation_id: FromQuery[UUID | None] = None,
    since: When = None,
) -> Response[Any]:
    """Every event that passes the filters, as it is recorded, for as long as the client stays."""
    wanted = filter_of(
        kind=kind,
        event=event,
        entity=None if entity is None else id_of(entity),
        actor=actor,
        process=process,
        correlation_id=correlation_id,
        since=time_of(since, "since"),
    )
    begin = after if last_event_id is None else _position_in(last_event_id)
    return EventFeed(_frames(study, wanted, await study.live.start(begin, wanted)))


async def _frames(study: Study, wanted: EventFilter, after: int) -> AsyncIterator[bytes]:
    try:
        async for seen in study.live.follow(wanted, after=after):
            if seen.events:
                yield b"".join(frame(each.name, each.json, event_id=each.position) for each in seen.events)
            else:
                yield heartbeat(seen.looked_to)
    except FellBehind as error:
        yield farewell("dropped", {"detail": str(error)})
    except FollowingEnded as error:
        yield farewell("stopping", {"detail": str(error)})
    except StudyError as error:
        yield farewell("error", problem_of(error))


def _position_in(last_event_id: str) -> int:
    if not (last_event_id.isascii() and last_event_id.isdecimal() and len(last_event_id) < 19):
        raise Rejected(
            f"Last-Event-ID: {last_event_id[:40]!r} is no position; send the id of the last event that was read",
            fields=("Last-Event-ID",),
        )
    return int(last_event_id)


ROUTES = Router("/", route_handlers=[follow_log], tags=["audit"])
