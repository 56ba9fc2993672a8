"""Sweeps: ask for one, watch it, cancel it, go on with it, list them, look at one, compare two."""

from typing import Annotated, Any, Literal
from uuid import UUID

from litestar import Request, Response, Router, get, post
from litestar.datastructures import ResponseHeader
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath, QueryParameter
from litestar.response import Stream
from msgspec import Struct

from application.ask_for_sweep import SweepAsked
from application.compute import LOCAL
from domain.errors import Rejected
from interfaces.http.parameters import At, Json, OpenRunner, OpenStudy, Page, RequestContext
from interfaces.http.problems import problem_responses
from interfaces.http.sweep_body import EXAMPLE, SweepBody
from interfaces.http.sweep_stream import ProgressOperation, progress_stream
from interfaces.report_document import MEDIA_TYPES, report_headers
from interfaces.study import Study
from interfaces.study.words import id_of

LOCATION = ResponseHeader(name="Location", description="Where the sweep is looked at.", documentation_only=True)


class AcceptedSweep(Struct, frozen=True, kw_only=True):
    """A sweep that was asked for, durable up to `position`; finished already if the same one was."""

    sweep_id: UUID
    position: int
    status: str


class CancelledSweep(Struct, frozen=True, kw_only=True):
    """A sweep that nobody goes on with, durable up to `position`."""

    sweep_id: UUID
    position: int
    status: str


class ResumeBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to compute what is missing."""

    compute: str = LOCAL


@post(
    "/sweeps",
    summary="Ask for a sweep",
    status_code=202,
    responses=problem_responses(400, 404, 413, 503),
    response_headers=[LOCATION],
    response_description="The sweep's id, known before anything is embedded or computed.",
)
async def ask_for_sweep(
    data: Annotated[SweepBody, Body(title="What to sweep, and how", examples=[Example(value=EXAMPLE)])],
    study: OpenStudy,
    runner: OpenRunner,
    context: RequestContext,
) -> Response[AcceptedSweep]:
    """Cluster for every K and choose one. It is durable when you have the answer, and survives restarts of the server.

    The same data and configuration are the same sweep: a finished one is found, one under way is joined, one that was
    left goes on.
    """
    data.check()
    check_compute(study, data.compute)
    asked = await study.sweeps.ask(
        context,
        config=data.config(study.sweeps.methods),
        dataset=data.dataset,
        provider=data.provider,
        model=data.model,
        dimensions=data.dimensions,
        vectors=None if data.vectors is None else data.matrix(),
        texts=None if data.texts is None else tuple(data.texts),
        labels=None if data.labels is None else tuple(data.labels),
        force=data.force,
        compute=data.compute,
    )
    return _accepted(asked, runner)


@post(
    "/sweeps/{sweep_id:str}/resume",
    summary="Go on with a sweep",
    status_code=202,
    responses=problem_responses(400, 404, 503),
    response_headers=[LOCATION],
    response_description="The sweep, which goes on with the steps that are missing.",
)
async def resume_sweep(
    study: OpenStudy,
    runner: OpenRunner,
    context: RequestContext,
    sweep_id: FromPath[str],
    data: Annotated[ResumeBody | None, Body(title="Where to compute", examples=[Example(value={})])] = None,
) -> Response[AcceptedSweep]:
    """Go on with a sweep that failed, was cancelled or was left, whoever began it. A finished one stays as it is."""
    compute = LOCAL if data is None else data.compute
    check_compute(study, compute)
    return _accepted(await study.sweeps.ask_again(sweep_id, context, compute=compute), runner)


@post(
    "/sweeps/{sweep_id:str}/cancel",
    summary="Cancel a sweep",
    status_code=200,
    responses=problem_responses(400, 404, 409, 503),
    response_description="The sweep. Whoever runs it finds this within a second or two.",
)
async def cancel_sweep(study: OpenStudy, context: RequestContext, sweep_id: FromPath[str]) -> CancelledSweep:
    """End a sweep, wherever it runs. Finished steps stay, and it can be resumed. Cancelling again changes nothing."""
    done = await study.sweeps.cancel(sweep_id, context)
    return CancelledSweep(sweep_id=UUID(done["sweep_id"]), position=done["position"], status=done["status"])


@get(
    "/sweeps/{sweep_id:str}/progress",
    summary="Watch a sweep",
    responses=problem_responses(400, 404, 503),
    operation_class=ProgressOperation,
)
async def watch_sweep(
    study: OpenStudy, runner: OpenRunner, request: Request[Any, Any, Any], sweep_id: FromPath[str]
) -> Stream:
    """The sweep's events as server-sent events while they happen, from the first on, until nobody goes on with it."""
    return await progress_stream(study, runner, id_of(sweep_id), request.headers.get("last-event-id"))


@get("/sweeps", summary="List sweeps", responses=problem_responses(400, 503))
async def list_sweeps(study: OpenStudy, moment: At, page: Page) -> Json:
    """The sweeps, newest first."""
    return await study.sweeps.list(moment, page)


@get("/sweeps/{sweep_id:str}", summary="Look at a sweep", responses=problem_responses(400, 404, 503))
async def get_sweep(study: OpenStudy, moment: At, sweep_id: FromPath[str]) -> Json:
    """One sweep: every K's metrics, the K that was chosen and why, and its clusters."""
    return await study.sweeps.get(sweep_id, moment)


@get(
    "/sweeps/{sweep_id:str}/report",
    summary="Read a sweep's report",
    responses=problem_responses(400, 404, 503),
    response_description="The report: a page that needs nothing but a browser, or Markdown.",
    media_type="text/html",
)
async def get_report(
    study: OpenStudy,
    moment: At,
    sweep_id: FromPath[str],
    format: Annotated[  # noqa: A002 - the parameter's name
        Literal["html", "md"], QueryParameter(description="html, a page with pictures; or md, Markdown")
    ] = "html",
) -> Response[str]:
    """A finished sweep as a page to keep or to send: its curves and why K was chosen, its clusters, what went wrong on
    the way, and the command that gets it again. Of a sweep that isn't finished there is none.
    """
    page = await study.reports.render(sweep_id, format, moment)
    return Response(
        page,
        media_type=MEDIA_TYPES[format],
        headers=report_headers(id_of(sweep_id), format),
    )


@get(
    "/sweeps/{sweep_id:str}/compare/{other_id:str}",
    summary="Compare two sweeps",
    responses=problem_responses(400, 404, 503),
)
async def compare_sweeps(
    study: OpenStudy,
    moment: At,
    sweep_id: FromPath[str],
    other_id: FromPath[str],
) -> Json:
    """What differed in configuration, data, software, time and results; what was equal; how far the labels agree."""
    return await study.sweeps.compare(sweep_id, other_id, moment)


@get("/methods", summary="List clustering methods", responses=problem_responses(400))
async def list_methods(study: OpenStudy) -> Json:
    """Ours and those of other distributions: parameters as JSON schemas, whether installed, and what is broken."""
    return {"items": study.sweeps.method_documents(), "next_cursor": None}


@get("/rules", summary="List rules that choose K", responses=problem_responses(400))
async def list_rules(study: OpenStudy) -> Json:
    """Each with the number that it looks at and its parameters as a JSON schema."""
    return {"items": study.sweeps.rule_documents(), "next_cursor": None}


def check_compute(study: Study, compute: str) -> None:
    """Raise Rejected for a place that the server's settings don't name, or anybody could send it anywhere."""
    known = (LOCAL, *study.settings.compute_addresses())
    if compute not in known:
        raise Rejected(
            f"This server computes at {', '.join(known)}, not at {compute[:60]!r}; STUDY_COMPUTE names schedulers",
            fields=("compute",),
        )


def _accepted(asked: SweepAsked, runner: OpenRunner) -> Response[AcceptedSweep]:
    if runner is not None:
        runner.wake()
    accepted = AcceptedSweep(sweep_id=asked.sweep_id, position=asked.position, status=asked.status)
    return Response(accepted, headers={"Location": f"/api/sweeps/{asked.sweep_id}"})


ROUTES = Router(
    "/",
    route_handlers=[
        ask_for_sweep,
        resume_sweep,
        cancel_sweep,
        watch_sweep,
        list_sweeps,
        get_sweep,
        get_report,
        compare_sweeps,
        list_methods,
        list_rules,
    ],
    tags=["sweeps"],
)
