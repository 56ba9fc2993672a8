"""Audit: the log itself, and what was never answered."""

from typing import Annotated
from uuid import UUID

from litestar import Router, get
from litestar.params import FromQuery, QueryParameter

from interfaces.http.parameters import At, Json, OpenStudy, Page, When, time_of
from interfaces.http.problems import problem_responses


@get("/audit/events", summary="Look through the log", responses=problem_responses(400, 404, 503))
async def list_log(
    study: OpenStudy,
    moment: At,
    page: Page,
    after: Annotated[int, QueryParameter(ge=0, description="Events behind this position.")] = 0,
    kind: Annotated[str | None, QueryParameter(description="What they are about: call, group, sweep …")] = None,
    event: Annotated[str | None, QueryParameter(description="Their name: call.answered or call.answered.v1.")] = None,
    entity: Annotated[
        str | None, QueryParameter(description="The id of the one thing they are about, members and links included.")
    ] = None,
    actor: FromQuery[str | None] = None,
    process: FromQuery[str | None] = None,
    correlation_id: FromQuery[UUID | None] = None,
    since: When = None,
    until: When = None,
) -> Json:
    """Events in order, decoded, each with who, when and why, and where the bytes beside it are to be had.

    A page looks at 20,000 positions at most: it may be short, even empty, while `next_cursor` still leads on.
    `looked_to` says how far it came. since and until are of the time of recording.
    """
    return await study.audit.events(
        moment,
        page,
        after=after,
        kind=kind,
        event=event,
        entity=entity,
        actor=actor,
        process=process,
        correlation_id=correlation_id,
        since=time_of(since, "since"),
        until=time_of(until, "until"),
    )


@get("/audit/unanswered", summary="List calls that were never answered", responses=problem_responses(400, 503))
async def list_unanswered(study: OpenStudy, moment: At, page: Page) -> Json:
    """Calls under way, in doubt, or cancelled before an answer came, newest first, with their age and process."""
    return await study.audit.unanswered(moment, page)


ROUTES = Router("/", route_handlers=[list_log, list_unanswered], tags=["audit"])
