"""What routes are given: the open study, pages, times, and no parameter that they don't know."""

from datetime import UTC, datetime
from typing import Annotated, Any

from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter, SkipValidation

from application.notebook import Context
from domain.errors import Rejected
from interfaces.study import Study

Json = dict[str, Any]

# They are ours and not a client's, so that there is nothing to check or to convert.
OpenStudy = NamedDependency[SkipValidation[Study]]
RequestContext = NamedDependency[SkipValidation[Context]]

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
Moment = Annotated[str | None, QueryParameter(description="A day or a time, UTC unless it says otherwise: 2026-03-01.")]


def only_known_parameters(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Guard: a mistyped filter is an error, or it would silently filter nothing."""
    known = handler.parsed_fn_signature.parameters
    unknown = [name for name in connection.query_params if name not in known]
    if unknown:
        raise Rejected(f"Unknown query parameters: {', '.join(unknown)}", fields=tuple(unknown))


def moment(text: str | None, field: str) -> datetime | None:
    """A day or a time with its zone. Raises Rejected naming the field."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Rejected(f"{field}: {text[:60]!r} is no time such as 2026-03-01T12:00:00Z", fields=(field,)) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
