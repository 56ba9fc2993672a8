"""Sweeps: list them, look at one."""

from litestar import Router, get
from litestar.params import FromPath

from interfaces.http.parameters import AsOf, AtLeast, Cursor, Json, Limit, OpenStudy
from interfaces.http.problems import problem_responses


@get("/sweeps", summary="List sweeps", responses=problem_responses(400, 503))
async def list_sweeps(
    study: OpenStudy, as_of: AsOf = None, at_least: AtLeast = None, limit: Limit = 50, cursor: Cursor = None
) -> Json:
    """The sweeps, newest first."""
    return await study.sweeps.list(as_of=as_of, at_least=at_least, limit=limit, cursor=cursor)


@get("/sweeps/{sweep_id:str}", summary="Look at a sweep", responses=problem_responses(400, 404, 503))
async def get_sweep(study: OpenStudy, sweep_id: FromPath[str], as_of: AsOf = None, at_least: AtLeast = None) -> Json:
    """One sweep: every K's metrics, the K that was chosen and why, and its clusters."""
    return await study.sweeps.get(sweep_id, as_of=as_of, at_least=at_least)


@get(
    "/sweeps/{sweep_id:str}/compare/{other_id:str}",
    summary="Compare two sweeps",
    responses=problem_responses(400, 404, 503),
)
async def compare_sweeps(
    study: OpenStudy,
    sweep_id: FromPath[str],
    other_id: FromPath[str],
    as_of: AsOf = None,
    at_least: AtLeast = None,
) -> Json:
    """What differed in configuration, data, software, time and results; what was equal; how far the labels agree."""
    return await study.sweeps.compare(sweep_id, other_id, as_of=as_of, at_least=at_least)


ROUTES = Router("/", route_handlers=[list_sweeps, get_sweep, compare_sweeps], tags=["sweeps"])
