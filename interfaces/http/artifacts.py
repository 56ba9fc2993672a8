"""Artifacts: keep a file, list what is there, read a file or a part of it."""

import re
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, QueryParameter
from litestar.response import Stream

from application.keep_file import FileOfGroup
from domain.errors import Rejected
from interfaces.http.parameters import At, Json, OpenStudy, Page, RequestContext
from interfaces.http.problems import MEDIA_TYPE, problem, problem_responses
from interfaces.http.uploads import UploadOperation, uploaded
from interfaces.study.words import id_of

ONE_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")  # no file is longer
FIELDS = ("group_id", "artifact_type", "step", "call_id", "metadata")


@dataclass
class KeepOperation(UploadOperation):
    """The documentation of keeping a file."""

    def form(self) -> tuple[dict[str, str], tuple[str, ...]]:
        """The fields of the form."""
        return {
            "group_id": "The group that it belongs to.",
            "artifact_type": "What it is: results, labels, components, metrics, report, or any other word.",
            "step": "The second part of its name; without it, a step's own, or the group's type.",
            "call_id": "The call that it came from.",
            "metadata": "What else is to be known, a JSON object.",
        }, ("group_id", "artifact_type")


@post(
    "/artifacts",
    summary="Keep a file",
    responses=problem_responses(400, 404, 413, 503),
    response_description="The artifact. The same content under the same name is the same artifact.",
    operation_class=KeepOperation,
)
async def keep_artifact(request: Request[Any, Any, Any], study: OpenStudy, context: RequestContext) -> Response[Json]:
    """Keep an uploaded file as {run}/{step}/{type}.{ext}, where ext is the ending of its name.

    Of JSON, NPY, Parquet and CSV the shape is kept as well; a file that is not what its ending says is refused.
    """
    async with uploaded(request) as upload:
        fields = upload.only(*FIELDS, required=("group_id", "artifact_type"))
        file = FileOfGroup(
            file=upload.file,
            extension=PurePosixPath(upload.filename.replace("\\", "/")).suffix.removeprefix(".") or "bin",
            group_id=id_of(fields["group_id"]),
            artifact_type=fields["artifact_type"],
            step=fields.get("step"),
            call_id=id_of(fields["call_id"]) if "call_id" in fields else None,
            metadata=_object(fields.get("metadata", "{}")),
        )
        kept = await study.artifacts.keep(file, context)
    return Response(kept, headers={"Location": f"/api/artifacts/{kept['artifact_id']}"})


@get("/artifacts", summary="List artifacts", responses=problem_responses(400, 503))
async def list_artifacts(
    study: OpenStudy,
    moment: At,
    page: Page,
    group_id: Annotated[UUID | None, QueryParameter(description="Only those of this group.")] = None,
    artifact_type: Annotated[str | None, QueryParameter(description="Only those of this type.")] = None,
) -> Json:
    """The artifacts, newest first."""
    return await study.artifacts.list(moment, page, group=group_id, artifact_type=artifact_type)


@get("/artifacts/{artifact_id:str}", summary="Look at an artifact", responses=problem_responses(400, 404, 503))
async def get_artifact(study: OpenStudy, moment: At, artifact_id: FromPath[str]) -> Json:
    """What is known of one artifact: its name, type, size, shape and hash."""
    return await study.artifacts.get(id_of(artifact_id), moment)


@get(
    "/artifacts/{artifact_id:str}/content",
    summary="Read an artifact's file",
    responses={
        206: ResponseSpec(
            data_container=bytes, media_type="application/octet-stream", description="The part", generate_examples=False
        ),
        304: ResponseSpec(data_container=None, description="The client has it already", generate_examples=False),
        **problem_responses(400, 404, 416, 503),
    },
    response_description="The file, under the content type that it was kept with.",
    media_type="application/octet-stream",
)
async def get_content(
    request: Request[Any, Any, Any],
    study: OpenStudy,
    moment: At,
    artifact_id: FromPath[str],
) -> Response[Any]:
    """The file, whole or one range of it; its ETag is its SHA-256.

    A file of up to 8 MiB is checked against its hash before it is sent; of a larger one the last megabyte is sent only
    if the whole fits, and a range of it can't be checked.
    """
    found = await study.artifacts.get(id_of(artifact_id), moment)
    size, etag = found["byte_size"], f'"{found["sha256"]}"'
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(PurePosixPath(found['name']).name)}",
        # A page that somebody kept must not become one of this server's own.
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    if etag in _listed(request.headers.get("if-none-match")) or request.headers.get("if-none-match") == "*":
        return Response(b"", status_code=304, headers=headers)
    wanted = request.headers.get("range")
    part = _range_of(wanted, size) if wanted and request.headers.get("if-range") in (None, etag) else (0, size)
    if part is None:
        detail = f"The file has {size:,} bytes, and none in {(wanted or '')[:60]!r}"
        return Response(
            msgspec.json.encode(problem(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, detail)),
            status_code=416,
            headers={"Content-Range": f"bytes */{size}", "Content-Type": MEDIA_TYPE},
        )
    start, stop = part
    headers |= {"Content-Length": str(stop - start), "Content-Type": found["content_type"]}
    if wanted and part != (0, size):
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    blocks = study.artifacts.blocks(found, start, stop)
    first = await anext(blocks, b"")  # what is wrong with the file is told before there is a status

    async def body() -> Any:
        yield first
        async for block in blocks:
            yield block

    return Stream(body(), status_code=206 if "Content-Range" in headers else 200, headers=headers)


def _range_of(header: str, size: int) -> tuple[int, int] | None:
    """The one range that is asked for, as start and stop: all for what is no range, None where there is nothing."""
    asked = ONE_RANGE.fullmatch(header.strip())
    if asked is None or asked.groups() == ("", ""):
        return 0, size
    first, last = asked.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1 if last else size)
        if last and int(last) < start:
            return 0, size
    return None if start >= size or start == stop else (start, stop)


def _listed(header: str | None) -> list[str]:
    return [each.strip().removeprefix("W/") for each in (header or "").split(",")]


def _object(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeEncodeError):
        raise Rejected(f"metadata is no JSON object: {text[:60]!r}", fields=("metadata",)) from None


ROUTES = Router("/", route_handlers=[keep_artifact, list_artifacts, get_artifact, get_content], tags=["artifacts"])
