"""docs/reference/http.md: every route of the OpenAPI document, in short."""

from http import HTTPStatus
from typing import Any

from infrastructure.settings import Settings
from interfaces.http.app import create_app
from interfaces.http.document import completed
from interfaces.http.scopes import NEEDED

Json = dict[str, Any]

SCOPES = {"open": "For anybody.", "read": "Scope read.", "write": "Scope write.", "admin": "Scope admin."}

INTRODUCTION = """# HTTP

What `study serve` answers. Its own `/api/docs` shows the same with schemas, examples and a form to try it, and
`/api/openapi.json` is the document for programs; this page is generated from it. Each route says which scope a
token must have; on 127.0.0.1 none is needed. Errors are RFC 9457 problem details: 400 rejected, with the
`fields` at fault, 401 no token, 403 beyond its scope, 404 unknown, 409 conflict, 413 too large, 429 too many,
502 the provider failed, 503 the store is away."""


def routes_page() -> str:
    """Every operation with its parameters, its body and what it answers when all is well."""
    document = completed(create_app(Settings()))
    lines = [INTRODUCTION]
    for path, operations in sorted(document["paths"].items()):
        for method, operation in sorted(operations.items()):
            if method not in ("get", "post", "put", "patch", "delete"):
                continue
            needed = NEEDED.get(f"{method.upper()} {path}", "admin")
            lines += ["", f"## {method.upper()} {path}", ""]
            lines += [f"{_one_line(operation.get('description') or operation.get('summary'))} *{SCOPES[needed]}*"]
            rows = [*_parameters(operation), *_body(document, operation)]
            lines += ["", "| name | in | what it says |", "|---|---|---|", *rows] if rows else []
            lines += ["", f"Answers {_answers(operation)}."]
    return "\n".join(lines) + "\n"


def _parameters(operation: Json) -> list[str]:
    return [
        f"| `{each['name']}`{_optional(each.get('required'))} | {each['in']} | {_one_line(each.get('description'))} |"
        for each in operation.get("parameters", ())
    ]


def _body(document: Json, operation: Json) -> list[str]:
    rows = []
    for schema in (media.get("schema", {}) for media in operation.get("requestBody", {}).get("content", {}).values()):
        whole = _resolved(document, schema)
        needed = whole.get("required", ())
        rows += [
            f"| `{name}`{_optional(name in needed)} | body | {_field(_resolved(document, field))} |"
            for name, field in whole.get("properties", {}).items()
        ]
    return rows


def _optional(needed: bool | None) -> str:
    return "" if needed else " (optional)"


def _resolved(document: Json, schema: Json) -> Json:
    """What a reference leads to, also one that stands beside examples of its own."""
    alone = schema["allOf"][0] if len(schema.get("allOf", ())) == 1 else schema
    reference = alone.get("$ref")
    if reference is None:
        return alone
    found: Json = document["components"]["schemas"][reference.rpartition("/")[2]]
    return found


def _field(schema: Json) -> str:
    if schema.get("description"):
        return _one_line(schema["description"])
    kinds = [_kind(each) for each in schema.get("oneOf") or schema.get("anyOf") or (schema,)]
    return _one_line(" or ".join(dict.fromkeys(kind for kind in kinds if kind and kind != "null")))


def _kind(schema: Json) -> str:
    if "$ref" in schema:
        return "object"
    if "enum" in schema:
        return ", ".join(str(each) for each in schema["enum"])
    kind = schema.get("type", "")
    return "list" if kind == "array" else " or ".join(kind) if isinstance(kind, list) else str(kind)


def _answers(operation: Json) -> str:
    good = [
        f"{status} {_meaning(status, answer)}".rstrip(" .")
        for status, answer in sorted(operation["responses"].items())
        if status.startswith(("2", "3"))
    ]
    bad = [status for status in sorted(operation["responses"]) if not status.startswith(("2", "3"))]
    return "; ".join(good) + (f"; or a problem: {', '.join(bad)}" if bad else "")


def _meaning(status: str, answer: Json) -> str:
    """What the route says of it; nothing where that is only what every 200 is called."""
    text = _one_line(answer.get("description"))
    return "" if text == HTTPStatus(int(status)).description else text


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|").replace("<", "&lt;")
