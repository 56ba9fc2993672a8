"""Whether the server lives, and whether it can serve."""

import asyncio
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, Router, get
from msgspec import Meta, Struct

from domain.errors import Unavailable
from interfaces.http.parameters import Json, OpenStudy
from interfaces.http.problems import MEDIA_TYPE, headers_of, problem_of, problem_responses

READY_WITHIN_SECONDS = 5.0
TOLD_TO_ANYBODY = frozenset({"ok", "lag_events", "lag_seconds"})


class Ready(Struct, frozen=True, kw_only=True):
    """Whether a server can serve, part by part."""

    status: str
    parts: Annotated[
        dict[str, Json],
        Meta(description="store, follower, journal and serving, each with `ok` and what there is to know of it."),
    ]


@get("/live", summary="Is the process alive?")
async def live() -> Json:
    """Always ok: the process answers."""
    return {"status": "ok"}


@get("/ready", summary="Can it serve?", responses=problem_responses(503, to_anybody=True))
async def ready(request: Request[Any, Any, Any], study: OpenStudy) -> Response[Ready | bytes]:
    """Ok when the store answers, the read models are near the log's end and the server is not about to stop.

    Else a problem whose `parts` tell the same, part by part. Who has no token where one is needed sees less.
    """
    try:
        async with asyncio.timeout(READY_WITHIN_SECONDS):
            parts = await study.house.health()
    except TimeoutError:
        parts = {"store": {"ok": False, "detail": f"The store did not answer within {READY_WITHIN_SECONDS:g} s"}}
    if request.scope["state"]["caller"] is None:
        parts = {name: {key: each[key] for key in TOLD_TO_ANYBODY & each.keys()} for name, each in parts.items()}
    unwell = [name for name, part in parts.items() if not part["ok"]]
    if not unwell:
        return Response(Ready(status="ok", parts=parts))
    details = "; ".join(str(parts[name].get("detail", name)) for name in unwell)
    error = Unavailable(f"Not ready: {', '.join(unwell)}. {details}")
    told = {**msgspec.to_builtins(problem_of(error)), "parts": parts}
    return Response(msgspec.json.encode(told), status_code=503, media_type=MEDIA_TYPE, headers=headers_of(error))


ROUTES = Router("/health", route_handlers=[live, ready], tags=["health"])
