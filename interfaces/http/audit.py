"""Audit: the log itself, and what was never answered."""

from typing import Annotated

from litestar import Router, get
from litestar.params import QueryParameter

from interfaces.http.event_filter import ASKED, EventsAsked
from interfaces.http.parameters import At, Json, OpenStudy, Page
from interfaces.http.problems import problem_responses


@get("/audit/events", summary="Look through the log", responses=problem_responses(400, 404, 503))
async def list_log(
    study: OpenStudy,
    moment: At,
    page: Page,
    asked: EventsAsked,
    after: Annotated[int, QueryParameter(ge=0, description="Events behind this position.")] = 0,
) -> Json:
    """Events in order, decoded, each with who, when and why, and where the bytes beside it are to be had.

    A page looks at 20,000 positions at most: it may be short, even empty, while `next_cursor` still leads on.
    `looked_to` says how far it came. since and until are of the time of recording.
    """
    return await study.audit.events(moment, page, after=after, **asked)


@get("/audit/unanswered", summary="List calls that were never answered", responses=problem_responses(400, 503))
async def list_unanswered(study: OpenStudy, moment: At, page: Page) -> Json:
    """Calls under way, in doubt, or cancelled before an answer came, newest first, with their age and process."""
    return await study.audit.unanswered(moment, page)


ROUTES = Router("/", route_handlers=[list_log, list_unanswered], dependencies=ASKED, tags=["audit"])
