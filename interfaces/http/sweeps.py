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


ROUTES = Router("/", route_handlers=[list_sweeps, get_sweep, compare_sweeps], tags=["sweeps"])
