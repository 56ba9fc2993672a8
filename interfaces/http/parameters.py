"""What routes are given: the open study, pages, times, and no parameter that they don't know."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from litestar.connection import ASGIConnection
from litestar.di import NamedDependency, Provide
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter, SkipValidation
from msgspec import Meta

from application.notebook import Context
from domain.errors import Rejected
from domain.identity import content_id
from interfaces.as_of import Moment
from interfaces.runner.process import SweepRunner
from interfaces.study import Study
from projections.paging import PAGE, Paging

Json = dict[str, Any]

Name = Annotated[str, Meta(min_length=1, max_length=300)]  # of a provider, a model, a group, a role

# They are ours and not a client's, so that there is nothing to check or to convert.
OpenStudy = NamedDependency[SkipValidation[Study]]
RequestContext = NamedDependency[SkipValidation[Context]]
OpenRunner = NamedDependency[SkipValidation[SweepRunner | None]]

Limit = Annotated[int, QueryParameter(ge=1, le=1000, description="The most items on a page.")]
Cursor = Annotated[str | None, QueryParameter(description="next_cursor of the page before.")]
AsOf = Annotated[
    str | None,
    QueryParameter(
        description=(
            "Show what stood then: a time such as 2026-03-01T12:00:00Z, or a position in the log. "
            "A cursor keeps it for the pages that follow."
        )
    ),
]
AtLeast = Annotated[
    int | None,
    QueryParameter(ge=0, description="Wait, at most 5 s, until this position shows: the one a command returned."),
]
When = Annotated[str | None, QueryParameter(description="A day or a time, UTC unless it says otherwise: 2026-03-01.")]
At = NamedDependency[SkipValidation[Moment]]
Page = NamedDependency[SkipValidation[Paging]]


def moment(as_of: AsOf = None, at_least: AtLeast = None) -> Moment:
    """The dependency `moment`: when a question is asked as of."""
    return Moment(as_of, at_least)


def page(limit: Limit = PAGE, cursor: Cursor = None) -> Paging:
    """The dependency `page`: which page of a list is asked for."""
    return Paging(limit, cursor)


QUESTIONS = {"moment": Provide(moment, sync_to_thread=False), "page": Provide(page, sync_to_thread=False)}


def context_of(study: Study, state: Mapping[str, Any]) -> Context:
    """On whose behalf a request runs. Its id is shared by all the events it causes: a UUID as it is, else its hash."""
    request_id: str = state["request_id"]
    try:
        correlation_id = UUID(request_id)
    except ValueError:
        correlation_id = content_id("request", request_id)
    caller = state.get("caller")
    return study.context(None if caller is None else caller.name, correlation_id)


def only_known_parameters(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Guard: a mistyped filter is an error, or it would silently filter nothing."""
    named = handler.parsed_fn_signature.parameters
    by_dependencies = {
        name
        for dependency, provider in handler.resolve_dependencies().items()
        if dependency in named
        for name in provider.parsed_fn_signature.parameters
    }
    unknown = [name for name in connection.query_params if name not in {*named, *by_dependencies}]
    if unknown:
        raise Rejected(f"Unknown query parameters: {', '.join(unknown)}", fields=tuple(unknown))


def time_of(text: str | None, field: str) -> datetime | None:
    """A day or a time with its zone. Raises Rejected naming the field."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Rejected(f"{field}: {text[:60]!r} is no time such as 2026-03-01T12:00:00Z", fields=(field,)) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
