"""What each route needs: a token's scope, or nothing. A route that is not named here is an admin's alone."""

from collections.abc import Mapping
from typing import Any, Literal

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from application.check_tokens import Caller
from domain.errors import NotAllowed, NotAuthenticated
from domain.tokens import Scope, allows

Needed = Scope | Literal["open"]

HOW_TO_COME_IN = (
    "send `Authorization: Bearer TOKEN`; whoever runs the server makes one with `study token issue --name NAME "
    "--scope read|write|admin`"
)

# By method and template. A test walks the application's routes and fails for one that is missing.
NEEDED: Mapping[str, Needed] = {
    # What must be asked before there is a token, or by programs that have none, and tells nothing of what is recorded.
    "GET /health/live": "open",
    "GET /health/ready": "open",
    "GET /api/openapi.json": "open",
    "GET /api/docs": "open",
    "GET /api/docs/{path}": "open",
    "GET /api/docs/openapi.json": "open",
    "GET /api/docs/assets/{file_path}": "open",
    "HEAD /api/docs/assets/{file_path}": "open",
    # Looking
    "GET /api/calls": "read",
    "GET /api/calls/{call_id}": "read",
    "GET /api/calls/{call_id}/attempts": "read",
    "GET /api/calls/{call_id}/events": "read",
    "GET /api/calls/{call_id}/bytes": "read",
    "GET /api/calls/{call_id}/bytes/{part}": "read",
    "GET /api/datasets": "read",
    "GET /api/datasets/{name}": "read",
    "GET /api/artifacts": "read",
    "GET /api/artifacts/{artifact_id}": "read",
    "GET /api/artifacts/{artifact_id}/content": "read",
    "GET /api/groups": "read",
    "GET /api/groups/{group_id}": "read",
    "GET /api/groups/{group_id}/members": "read",
    "GET /api/groups/{group_id}/children": "read",
    "GET /api/groups/{group_id}/parents": "read",
    "GET /api/groups/{group_id}/steps": "read",
    "GET /api/groups/{group_id}/dependencies": "read",
    "GET /api/sweeps": "read",
    "GET /api/sweeps/{sweep_id}": "read",
    "GET /api/sweeps/{sweep_id}/compare/{other_id}": "read",
    "GET /api/sweeps/{sweep_id}/progress": "read",
    "GET /api/sweeps/{sweep_id}/report": "read",
    "GET /api/projections": "read",
    "GET /api/providers": "read",
    "GET /api/providers/{name}/models": "read",
    "GET /api/conversations": "read",
    "GET /api/conversations/{conversation_id}": "read",
    "GET /api/provenance/{kind}/{thing_id}": "read",
    "GET /api/provenance/links/{name}/{kind}/{thing_id}": "read",
    "GET /api/analytics/summary": "read",
    "GET /api/analytics/providers": "read",
    "GET /api/analytics/timeseries": "read",
    "GET /api/analytics/errors": "read",
    "GET /api/analytics/recent": "read",
    "GET /api/audit/events": "read",
    "GET /api/audit/unanswered": "read",
    "GET /api/events/stream": "read",
    "GET /api/export/analytics": "read",
    "GET /api/export/calls": "read",
    "GET /api/export/embeddings": "read",
    "GET /api/export/events": "read",
    "GET /api/methods": "read",
    "GET /api/rules": "read",
    "GET /metrics": "read",
    "GET /v1/models": "read",
    "GET /v1/models/{model}": "read",
    # Asking, which costs money, and changing
    "POST /api/calls": "write",
    "POST /api/batches": "write",
    "POST /api/embeddings": "write",
    "POST /api/embeddings/search": "write",
    "POST /api/datasets": "write",
    "POST /api/datasets/samples": "write",
    "POST /api/artifacts": "write",
    "POST /api/groups": "write",
    "PATCH /api/groups/{group_id}": "write",
    "POST /api/groups/{group_id}/members": "write",
    "DELETE /api/groups/{group_id}/members": "write",
    "POST /api/groups/{group_id}/links": "write",
    "DELETE /api/groups/{group_id}/links": "write",
    "POST /api/conversations": "write",
    "DELETE /api/conversations/{conversation_id}": "write",
    "POST /api/conversations/{conversation_id}/messages": "write",
    "POST /api/conversations/{conversation_id}/fork": "write",
    "POST /api/providers/{name}/validate": "write",
    "POST /api/summaries": "write",
    "POST /api/sweeps": "write",
    "POST /api/sweeps/{sweep_id}/resume": "write",
    "POST /api/sweeps/{sweep_id}/cancel": "write",
    "POST /v1/chat/completions": "write",
    "POST /v1/embeddings": "write",
    # Who may come in, and upkeep
    "GET /api/tokens": "admin",
    "POST /api/tokens": "admin",
    "DELETE /api/tokens/{name}": "admin",
    "POST /api/projections/{name}/rebuild": "admin",
}


def may_ask(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
    """Guard: lets a caller ask what their scope allows. Raises NotAuthenticated, NotAllowed."""
    method, template = connection.scope.get("method"), connection.scope.get("path_template")
    needed = "open" if method == "OPTIONS" else NEEDED.get(f"{method} {template}", "admin")
    if needed != "open":
        caller: Caller | None = connection.scope["state"].get("caller")
        admit(caller, f"{method} {template}", needed, presented="authorization" in connection.headers)


def admit(caller: Caller | None, asked: str, needed: Scope, *, presented: bool) -> None:
    """Let a caller ask for this, or say why not. Raises NotAuthenticated, NotAllowed.

    presented: whether a token came with the request
    """
    if caller is None:
        said = "The token is unknown, expired or revoked" if presented else "This server asks for a token"
        raise NotAuthenticated(f"{said}: {HOW_TO_COME_IN}", presented=presented)
    if not allows(caller.scope, needed):
        raise NotAllowed(
            f"The token {caller.name!r} has the scope {caller.scope}, and {asked} needs {needed}", needed=needed
        )
