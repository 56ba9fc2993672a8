"""Read models: where they stand, and replaying them."""

from litestar import Router, get, post
from litestar.params import FromPath

from interfaces.http.parameters import Json, OpenStudy
from interfaces.http.problems import problem_responses


@get("/projections", summary="List read models", responses=problem_responses(400, 503))
async def list_projections(study: OpenStudy) -> Json:
    """Every read model: where it stands, how far it is behind, and why it stopped if it did."""
    return await study.house.status()


@post(
    "/projections/{name:str}/rebuild",
    summary="Rebuild a read model",
    status_code=200,
    responses=problem_responses(400, 404, 503),
    response_description="Where the read models stand once it is done.",
)
async def rebuild_projection(study: OpenStudy, name: FromPath[str]) -> Json:
    """Replay every event into fresh tables beside the live ones, then swap them in. Queries go on meanwhile."""
    return await study.house.rebuild(name)


ROUTES = Router("/", route_handlers=[list_projections, rebuild_projection], tags=["projections"])
