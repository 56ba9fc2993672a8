"""Answers as of a moment never change: each has an ETag, and whoever has it already is told so without a query."""

from functools import cache
from hashlib import sha256
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from litestar import Request, Response
from litestar.connection import ASGIConnection
from litestar.datastructures import MutableScopeHeaders
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.types import Message, Scope

from domain.errors import Rejected
from interfaces.study import Study
from projections.read_models import READ_MODELS

# Operations that take as_of and yet tell of now, or send files, whose ETag is the hash of what is in them.
CHANGING = frozenset(
    {
        "list_unanswered",
        "see_over_time",
        "get_content",
        "get_bytes",
        "get_report",
        "export_analytics",
        "export_calls",
        "export_embeddings",
        "export_events",
    }
)
OURS = '"as-of-'
KEPT = {"cache-control": "private, no-cache"}  # keep it, and ask each time, which also checks the token


class NotModified(Exception):
    """The client has the answer already, under this ETag."""

    def __init__(self, etag: str) -> None:
        super().__init__(etag)
        self.etag = etag


def never_changes(handler: BaseRouteHandler) -> bool:
    """Whether what a route answers as of a moment is the same for ever."""
    return (
        isinstance(handler, HTTPRouteHandler)
        and "GET" in handler.http_methods
        and "moment" in handler.parsed_fn_signature.parameters
        and handler.handler_name not in CHANGING
    )


async def unless_known(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Guard: raises NotModified for what the client has. It stands behind those that ask who comes.

    The ETag is made of the position that as_of means, of all that was asked, and of what would show it otherwise: our
    version and those of the read models. A time that is still to come means the log's end, so that its ETag changes.
    """
    as_of = connection.query_params.get("as_of")
    if not as_of or not never_changes(handler):
        return
    study: Study = connection.app.state.study
    try:
        position = await study.moments.position_of(as_of)
    except Rejected:
        return  # which the route says in its own words
    asked = (connection.scope["path"].encode(), connection.scope["query_string"], b"%d" % position, _made_by())
    etag = f'{OURS}{sha256(bytes(1).join(asked)).hexdigest()[:32]}"'
    for known in connection.headers.get("if-none-match", "").split(","):
        name = known.strip().removeprefix("W/")
        if _without_coding(name) == etag:
            raise NotModified(name)
    connection.scope["state"]["etag"] = etag


async def tell_etag(message: Message, scope: Scope) -> None:
    """Hook before an answer is sent: what was found in full says under which ETag it may be kept.

    Compressed, the same answer has other bytes and another ETag.
    """
    if message["type"] == "http.response.start" and message["status"] == HTTPStatus.OK:
        etag = scope.get("state", {}).pop("etag", None)
        if etag is not None:
            headers = MutableScopeHeaders.from_message(message)
            coding = headers.get("content-encoding")
            headers.update({"etag": etag if coding is None else f'{etag[:-1]}-{coding}"', **KEPT})


def of_not_modified(_request: Request[Any, Any, Any], known: NotModified) -> Response[bytes]:
    """The answer to who has it."""
    return Response(b"", status_code=HTTPStatus.NOT_MODIFIED, headers={"etag": known.etag, **KEPT})


def _without_coding(etag: str) -> str:
    """The ETag of the same answer as it was before it was compressed."""
    parts = etag.rstrip('"').split("-")
    return f'{"-".join(parts[:3])}"'


@cache
def _made_by() -> bytes:
    try:
        ours = version("study-query-llm")
    except PackageNotFoundError:
        ours = "unknown"
    return repr((ours, [(model.name, model.shape) for model in READ_MODELS])).encode()
