"""Exports: what is recorded, as files that are sent while they are made."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal
from uuid import UUID

from litestar import Response, Router, get
from litestar.openapi.spec import OpenAPIMediaType, Operation, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import FromQuery, QueryParameter
from msgspec import structs

from application.stored_vectors import VectorFilter
from interfaces.http.call_filter import WANTED, Filter, Match, Part, Words
from interfaces.http.downloads import MEDIA_TYPES, download
from interfaces.http.event_filter import ASKED, EventsAsked
from interfaces.http.parameters import At, OpenStudy, When, time_of
from interfaces.http.problems import problem_responses
from interfaces.study.audit import events_wanted
from interfaces.study.calls import calls_wanted

OfRows = Annotated[
    Literal["parquet", "jsonl", "csv"],
    QueryParameter(description="In jsonl, JSON stands as JSON; in parquet and csv as text."),
]
OfVectors = Annotated[
    Literal["parquet", "npy", "jsonl", "csv"], QueryParameter(description="npy holds the matrix alone.")
]
Spreadsheet = Annotated[
    bool,
    QueryParameter(description="Of csv: put an apostrophe before texts that a spreadsheet would take for formulas."),
]
MADE = "The file. Its name and `x-sq-position` tell which position of the log it shows."
FILE = """

The file is made while it is sent, as fast as it is taken, and shows one position in the log. What is wrong before the
first byte is a problem; what goes wrong later breaks the connection off, so that half a file is never taken for whole.
"""


@dataclass
class ExportOperation(Operation):
    """The documentation of a file in one of several formats."""

    def __post_init__(self) -> None:
        """Name the media types of the formats, which the framework doesn't know."""
        formats = [
            each
            for parameter in self.parameters or ()
            if getattr(parameter, "name", None) == "format"
            for each in parameter.schema.enum or ()  # type: ignore[union-attr]
        ]
        self.description = (self.description or "") + FILE
        answered = (self.responses or {})["200"]
        file = OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING, description="The bytes of the file."))
        answered.content = {MEDIA_TYPES[each].partition(";")[0]: file for each in formats}  # type: ignore[union-attr]


@get(
    "/export/calls",
    summary="Export calls",
    responses=problem_responses(400, 404, 503),
    response_description=MADE,
    operation_class=ExportOperation,
)
async def export_calls(
    study: OpenStudy,
    wanted: Filter,
    moment: At,
    format: OfRows = "jsonl",  # noqa: A002 - its name in the address
    spreadsheet: Spreadsheet = False,
    q: Words = None,
    part: Part = None,
    match: Match = None,
) -> Response[Any]:
    """Calls with their requests and answers, the oldest first; those that a search finds in the log's order."""
    asked = calls_wanted(**structs.asdict(wanted), search=q, part=part, match=match)
    return await download(await study.exports.calls(format, asked, moment, spreadsheet=spreadsheet))


@get(
    "/export/embeddings",
    summary="Export embeddings",
    responses=problem_responses(400, 404, 503),
    response_description=MADE,
    operation_class=ExportOperation,
)
async def export_embeddings(
    study: OpenStudy,
    moment: At,
    format: OfVectors = "jsonl",  # noqa: A002 - its name in the address
    spreadsheet: Spreadsheet = False,
    provider: FromQuery[str | None] = None,
    model: Annotated[str | None, QueryParameter(description="Needed where there are vectors of several.")] = None,
    dimensions: Annotated[int | None, QueryParameter(ge=1, description="Only vectors of this length.")] = None,
    group_id: FromQuery[UUID | None] = None,
    since: When = None,
    until: When = None,
) -> Response[Any]:
    """The vectors of one model with their texts, in the order in which they were embedded."""
    wanted = VectorFilter(
        provider=provider,
        model=model,
        dimension=dimensions,
        group_id=group_id,
        since=time_of(since, "since"),
        until=time_of(until, "until"),
    )
    return await download(await study.exports.embeddings(format, wanted, moment, spreadsheet=spreadsheet))


@get(
    "/export/analytics",
    summary="Export calls added up",
    responses=problem_responses(400, 404, 503),
    response_description=MADE,
    operation_class=ExportOperation,
)
async def export_analytics(
    study: OpenStudy,
    wanted: Filter,
    moment: At,
    format: OfRows = "jsonl",  # noqa: A002 - its name in the address
    table: Annotated[
        Literal["timeseries", "providers", "errors", "summary"], QueryParameter(description="Which of the analytics.")
    ] = "timeseries",
    bucket: Annotated[Literal["minute", "hour", "day"] | None, QueryParameter(description="Of a time series.")] = None,
    timezone: Annotated[str | None, QueryParameter(description="Of a time series: Europe/Berlin.")] = None,
    by: Annotated[Literal["provider", "model"] | None, QueryParameter(description="Of a time series.")] = None,
    spreadsheet: Spreadsheet = False,
) -> Response[Any]:
    """Calls added up: over time, by model, by error, or all in one row. Costs are exact, percentiles within 1 %."""
    given = {"bucket": bucket, "timezone": timezone, "by": by}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    export = await study.exports.analytics(format, wanted, moment, table=table, spreadsheet=spreadsheet, **options)
    return await download(export)


@get(
    "/export/events",
    summary="Export the log",
    responses=problem_responses(400, 404, 503),
    response_description=MADE,
    operation_class=ExportOperation,
)
async def export_events(
    study: OpenStudy,
    asked: EventsAsked,
    moment: At,
    format: OfRows = "jsonl",  # noqa: A002 - its name in the address
    spreadsheet: Spreadsheet = False,
    after: Annotated[int, QueryParameter(ge=0, description="Events behind this position.")] = 0,
) -> Response[Any]:
    """Events in order, as the audit shows them. since and until are of the time of recording."""
    return await download(
        await study.exports.events(format, events_wanted(**asked), moment, after=after, spreadsheet=spreadsheet)
    )


ROUTES = Router(
    "/",
    route_handlers=[export_calls, export_embeddings, export_analytics, export_events],
    dependencies={**WANTED, **ASKED},
    tags=["exports"],
)
