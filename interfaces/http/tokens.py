"""Tokens: who may do what over HTTP."""

from typing import Annotated

from litestar import Response, Router, delete, get, post
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath
from msgspec import Meta, Struct

from domain.tokens import Scope
from interfaces.http.parameters import At, Json, OpenStudy, Page, RequestContext
from interfaces.http.problems import problem_responses


class TokenBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token to issue."""

    name: Annotated[
        str, Meta(min_length=1, max_length=64, description="The actor of everything that is done with the token.")
    ]
    scope: Annotated[Scope, Meta(description="read: look; write: also ask and change; admin: also tokens and upkeep.")]
    expires: (
        Annotated[str, Meta(max_length=60, description="After a time such as 90d, or at one such as 2026-12-31.")]
        | None
    ) = None


@post("/tokens", summary="Issue a token", responses=problem_responses(400, 409, 413, 503))
async def issue_token(
    data: Annotated[
        TokenBody,
        Body(title="A token", examples=[Example(value={"name": "ci", "scope": "write", "expires": "90d"})]),
    ],
    study: OpenStudy,
    context: RequestContext,
) -> Response[Json]:
    """The token is in this answer and nowhere else: what is recorded is its hash."""
    issued = await study.tokens.issue(data.name, data.scope, context, expires=data.expires)
    return Response(issued, headers={"Cache-Control": "no-store"})


@get("/tokens", summary="List tokens", responses=problem_responses(400, 503))
async def list_tokens(study: OpenStudy, moment: At, page: Page) -> Json:
    """Tokens, newest first, revoked ones too: who issued them, when, and what they allow. Never the tokens."""
    return await study.tokens.list(moment, page)


@delete("/tokens/{name:str}", summary="Revoke a token", status_code=200, responses=problem_responses(400, 404, 503))
async def revoke_token(study: OpenStudy, context: RequestContext, name: FromPath[str]) -> Json:
    """Take a token back: every worker of every server refuses it within a second. Its past stays."""
    return await study.tokens.revoke(name, context)


ROUTES = Router("/", route_handlers=[issue_token, list_tokens, revoke_token], tags=["tokens"])
