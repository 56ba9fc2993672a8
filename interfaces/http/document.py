"""What the OpenAPI document says of all operations alike, beside what each route says of itself."""

from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import Any

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler

from interfaces.http.bounds import show_bounds
from interfaces.http.gateway_document import with_gateway
from interfaces.http.idempotency import Idempotency
from interfaces.http.problems import EXAMPLES, MEDIA_TYPE, TITLES, problem
from interfaces.http.unchanging import never_changes

Json = dict[str, Any]

KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": (
        "A key of your own for this request, such as a UUID. The same request under the same key is answered with what "
        "it was answered (`Idempotency-Replayed: true`), and nothing is done twice; another request under it is a 409. "
        "Not for what is streamed."
    ),
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x21-\\x7e]+$"},
    "example": "7d0a0f0e-6a1c-4a53-9d55-3f5f0f9a2b11",
}
IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "ETags of answers that the client has: as of a moment they never change, and the answer is 304.",
    "schema": {"type": "string"},
    "example": '"as-of-0f1e2d3c4b5a69788796a5b4c3d2e1f0"',
}
ETAG = {
    "description": "Of an answer as of a moment: the same for ever, or until another version shows it otherwise.",
    "schema": {"type": "string"},
}
SECURITY = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token of this server. Where only this machine can reach it, none is needed.",
    }
}
PAGE = {
    "type": "object",
    "title": "Page",
    "description": "Some items; next_cursor leads to those that follow, and is null at the end.",
    "properties": {
        "items": {"type": "array", "items": {"type": "object", "additionalProperties": True}},
        "next_cursor": {"type": ["string", "null"]},
    },
    "required": ["items", "next_cursor"],
}
# What one operation returns that another takes, so that clients and tests can go on from it.
LEADS_TO: tuple[tuple[str, str, str, dict[str, str]], ...] = (
    ("ask_model", "201", "get_call", {"call_id": "$response.body#/call_id"}),
    ("ask_model", "201", "list_attempts", {"call_id": "$response.body#/call_id"}),
    ("ask_model", "201", "list_events", {"call_id": "$response.body#/call_id"}),
    ("ask_model", "201", "list_bytes", {"call_id": "$response.body#/call_id"}),
    ("create_group", "201", "get_group", {"group_id": "$response.body#/group_id"}),
    ("create_group", "201", "describe_group", {"group_id": "$response.body#/group_id"}),
    ("create_group", "201", "list_members", {"group_id": "$response.body#/group_id"}),
    ("create_group", "201", "list_children", {"group_id": "$response.body#/group_id"}),
    ("create_group", "201", "list_parents", {"group_id": "$response.body#/group_id"}),
    ("create_group", "201", "list_steps", {"group_id": "$response.body#/group_id"}),
    ("create_group", "201", "list_dependencies", {"group_id": "$response.body#/group_id"}),
    ("start_conversation", "201", "get_conversation", {"conversation_id": "$response.body#/conversation_id"}),
    ("start_conversation", "201", "say", {"conversation_id": "$response.body#/conversation_id"}),
    ("start_conversation", "201", "fork_conversation", {"conversation_id": "$response.body#/conversation_id"}),
    ("start_conversation", "201", "close_conversation", {"conversation_id": "$response.body#/conversation_id"}),
    ("import_dataset", "201", "get_dataset", {"name": "$response.body#/name"}),
    ("keep_artifact", "201", "get_artifact", {"artifact_id": "$response.body#/artifact_id"}),
    ("keep_artifact", "201", "get_content", {"artifact_id": "$response.body#/artifact_id"}),
)


def completed(app: Litestar) -> Json:
    """The document, made once an application."""
    found: Json | None = getattr(app.state, "document", None)
    if found is None:
        document = app.openapi_schema.to_schema()
        show_bounds(document, app)
        found = app.state.document = _completed(with_gateway(document), _once_only(app), _never_changing(app))
    return found


def _completed(document: Json, once_only: set[str], never_changing: set[str]) -> Json:
    # The gateway's errors have OpenAI's shape.
    ours = {path: item for path, item in document["paths"].items() if not path.startswith("/v1/")}
    operations = [operation for item in ours.values() for operation in item.values()]
    for operation in operations:
        name, responses = operation["operationId"], operation["responses"]
        if name in once_only:
            operation.setdefault("parameters", []).append(KEY)
            _add_problems(responses, 409)
        if name in never_changing:
            operation["parameters"].append(IF_NONE_MATCH)
            responses["200"].setdefault("headers", {})["ETag"] = ETAG
            responses["304"] = {"description": "The client has the answer already", "headers": {"ETag": ETAG}}
        if "requestBody" in operation:
            _add_problems(responses, 408, 413, 415)
        for status, response in responses.items():
            if status < "300":
                _show(response, name)
    for name, status, following, parameters in LEADS_TO:
        for operation in operations:
            if operation["operationId"] == name:
                links = operation["responses"][status].setdefault("links", {})
                links[following] = {"operationId": following, "parameters": parameters}
    document.setdefault("components", {})["securitySchemes"] = SECURITY
    document["components"]["schemas"]["Page"] = PAGE
    document["security"] = [{}, {"bearer": []}]
    return document


def _show(response: Json, operation: str) -> None:
    """Say what an answer looks like: an example, and of a list that it is a page."""
    content = response.get("content", {}).get("application/json")
    if content is None:
        return
    example = _examples().get(operation)
    if example is not None:
        content["examples"] = {"answer": {"value": example}, **_others(operation)}
        content["schema"].pop("examples", None)
        if set(example) == {"items", "next_cursor"} and "$ref" not in content["schema"]:
            content["schema"] = {"$ref": "#/components/schemas/Page"}


def _others(operation: str) -> Json:
    """Examples of answers to an operation when it is asked for something more, by what that is."""
    return {
        name.removeprefix(f"{operation}/"): {"value": example}
        for name, example in _examples().items()
        if name.startswith(f"{operation}/")
    }


def _add_problems(responses: Json, *statuses: int) -> None:

    for status in statuses:
        if str(status) not in responses:
            example = msgspec.to_builtins(problem(HTTPStatus(status), **EXAMPLES[status]))
            responses[str(status)] = {
                "description": TITLES[HTTPStatus(status)][1],
                "content": {
                    MEDIA_TYPE: {
                        "schema": {"$ref": "#/components/schemas/Problem"},
                        "examples": {"problem": {"value": example}},
                    }
                },
            }


def _once_only(app: Litestar) -> set[str]:
    """The operations that take an Idempotency-Key."""
    return {
        handler.handler_name
        for handler in _handlers(app)
        if "POST" in handler.http_methods
        and any(isinstance(each, Idempotency) for each in handler.resolve_middleware())
    }


def _never_changing(app: Litestar) -> set[str]:
    """The operations whose answers as of a moment have an ETag."""
    return {handler.handler_name for handler in _handlers(app) if never_changes(handler)}


def _handlers(app: Litestar) -> set[HTTPRouteHandler]:
    found = {handler for route in app.routes for handler in getattr(route, "route_handlers", ())}
    return {handler for handler in found if isinstance(handler, HTTPRouteHandler)}


@cache
def _examples() -> Json:
    found: Json = msgspec.json.decode(files("interfaces.http").joinpath("examples.json").read_bytes())
    return found
