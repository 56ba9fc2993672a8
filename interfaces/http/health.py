"""Whether the server lives, and whether it can serve."""

import asyncio

from litestar import Router, get

from domain.errors import Unavailable
from interfaces.http.parameters import Json, OpenStudy
from interfaces.http.problems import problem_responses

READY_WITHIN_SECONDS = 5.0


@get("/live", summary="Is the process alive?")
async def live() -> Json:
    """Always ok: the process answers."""
    return {"status": "ok"}


@get("/ready", summary="Can it serve?", responses=problem_responses(503, to_anybody=True))
async def ready(study: OpenStudy) -> Json:
    """Ok when the store answers; says how far each read model is behind."""
    try:
        async with asyncio.timeout(READY_WITHIN_SECONDS):
            health = await study.house.health()
    except TimeoutError:
        raise Unavailable(f"The store did not answer within {READY_WITHIN_SECONDS:g} s") from None
    if health["store"] != "ok":
        raise Unavailable(health["store"])
    return {"status": "ok", **health}


ROUTES = Router("/health", route_handlers=[live, ready], tags=["health"])
