"""Provenance: where things came from, what was made of them, and the bytes at the end of the way."""

from typing import Annotated, Any, Literal

from litestar import MediaType, Response, Router, get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, PathParameter, QueryParameter

from domain.provenance import KINDS, WRITTEN
from interfaces.http.parameters import At, Json, OpenStudy, Page
from interfaces.http.problems import problem_responses
from projections.provenance import DEPTH, FEW, LARGEST_DEPTH, MOST_FEW

IDS = "; ".join(f"{kind}: {WRITTEN.get(kind, kind.upper() + '_ID')}" for kind in KINDS)
Directions = Annotated[
    Literal["up", "down", "both"], QueryParameter(description="up: what it came from; down: what was made of it.")
]
Depth = Annotated[int, QueryParameter(ge=0, le=LARGEST_DEPTH, description="Steps from the thing.")]
Few = Annotated[int, QueryParameter(ge=1, le=MOST_FEW, description="Things shown on each way; `all` leads to more.")]
Verify = Annotated[bool, QueryParameter(description="Hash the bytes, and say whether they are what was recorded.")]
Kinds = Annotated[str, PathParameter(description=f"One of {', '.join(KINDS)}.")]
Ids = Annotated[str, PathParameter(description=f"The thing's id, slashes as they are. {IDS}")]
Version = Annotated[
    int | None, QueryParameter(ge=1, description="Of the event beside which they lie; the last one that has the part.")
]


@get(
    "/provenance/{kind:str}/{thing_id:path}",
    summary="Walk to where a thing came from",
    responses=problem_responses(400, 404, 503),
)
async def get_provenance(
    study: OpenStudy,
    moment: At,
    kind: Kinds,
    thing_id: Ids,
    direction: Directions = "up",
    format: Annotated[  # noqa: A002 - the parameter's name
        Literal["json", "prov-json"], QueryParameter(description="prov-json: a W3C PROV-JSON document.")
    ] = "json",
    depth: Depth = DEPTH,
    few: Few = FEW,
    verify: Annotated[
        bool, QueryParameter(description="Hash the bytes, and say whether they are what was recorded.")
    ] = False,
) -> Json:
    """Nodes, nearest first, each with its facts and the links that lead on, and what PROV states between them."""
    options: dict[str, Any] = {
        "direction": direction,
        "depth": depth,
        "few": few,
    }
    if format == "prov-json":
        return await study.provenance.prov_json(kind, thing_id, moment, **options)
    return await study.provenance.of(kind, thing_id, moment, verify=verify, **options)


@get(
    "/provenance/links/{name:str}/{kind:str}/{thing_id:path}",
    summary="List all that one link leads to",
    responses=problem_responses(400, 404, 503),
)
async def list_linked(
    study: OpenStudy,
    moment: At,
    page: Page,
    name: FromPath[str],
    kind: Kinds,
    thing_id: Ids,
) -> Json:
    """What a link of a node leads to, page by page: a batch of embeddings has many."""
    return await study.provenance.linked(kind, thing_id, name, moment, page)


@get(
    "/calls/{call_id:str}/bytes", summary="List what was sent and received", responses=problem_responses(400, 404, 503)
)
async def list_bytes(
    study: OpenStudy,
    moment: At,
    call_id: FromPath[str],
    verify: Annotated[
        bool, QueryParameter(description="Hash them, and say whether they are what was recorded.")
    ] = False,
) -> Json:
    """The parts beside a call's events, with their hashes, sizes and media types."""
    return await study.bodies.list(call_id, moment, verify=verify)


@get(
    "/calls/{call_id:str}/bytes/{part:str}",
    summary="Read the exact bytes",
    responses={
        **problem_responses(400, 404, 503),
        200: ResponseSpec(
            data_container=bytes,
            media_type="application/octet-stream",
            description="The bytes as they were sent or received. ETag is their SHA-256, which was checked.",
        ),
    },
)
async def get_bytes(
    study: OpenStudy,
    moment: At,
    call_id: FromPath[str],
    part: FromPath[str],
    version: Version = None,
) -> Response[bytes]:
    """`request`, `response` as it was received, `completion`, which is what a stream amounts to, or `original`, which
    is what a prompt was before it was preprocessed.

    Bytes that don't have the hash that was recorded are not sent: 503 says so. What a provider sent is never shown by
    a browser as a page of this server.
    """
    kept, body = await study.bodies.get(call_id, part, moment, version=version)
    return Response(
        body,
        media_type=kept.media_type or MediaType.TEXT,
        headers={
            "ETag": f'"{kept.sha256}"',
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "Content-Disposition": f'attachment; filename="{kept.call_id}-{kept.version}-{kept.part}"',
            "X-SQ-Position": str(kept.position),
        },
    )


ROUTES = Router("/", route_handlers=[get_provenance, list_linked, list_bytes, get_bytes], tags=["provenance"])
