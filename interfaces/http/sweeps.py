"""Sweeps: list them, look at one."""

from litestar import Router, get
from litestar.params import FromPath

from interfaces.http.parameters import At, Json, OpenStudy, Page
from interfaces.http.problems import problem_responses


@get("/sweeps", summary="List sweeps", responses=problem_responses(400, 503))
async def list_sweeps(study: OpenStudy, moment: At, page: Page) -> Json:
    """The sweeps, newest first."""
    return await study.sweeps.list(moment, page)


@get("/sweeps/{sweep_id:str}", summary="Look at a sweep", responses=problem_responses(400, 404, 503))
async def get_sweep(study: OpenStudy, moment: At, sweep_id: FromPath[str]) -> Json:
    """One sweep: every K's metrics, the K that was chosen and why, and its clusters."""
    return await study.sweeps.get(sweep_id, moment)


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


ROUTES = Router("/", route_handlers=[list_sweeps, get_sweep, compare_sweeps, list_methods, list_rules], tags=["sweeps"])
