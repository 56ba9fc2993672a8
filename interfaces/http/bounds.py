"""The bounds that are enforced, as the OpenAPI document shows them.

The framework writes down those of a field that must be there; of one that may be left out it forgets bounds of zero,
and all that lie within lists. What msgspec says of a body's struct is what is enforced.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.typing import FieldDefinition

Json = dict[str, Any]

BOUNDS = (
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "pattern",
)
OF_PARAMETERS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
REF = "#/components/schemas/"


def show_bounds(document: Json, app: Litestar) -> None:
    """Add to every request what bounds it."""
    handlers = {
        handler.handler_name: handler
        for route in app.routes
        for handler in getattr(route, "route_handlers", ())
        if isinstance(handler, HTTPRouteHandler)
    }
    schemas = document.get("components", {}).get("schemas", {})
    for item in document["paths"].values():
        for operation in item.values():
            handler = handlers.get(operation["operationId"])
            if handler is not None:
                _of_parameters(operation, handler)
                _of_body(operation, handler, schemas)


def _of_parameters(operation: Json, handler: HTTPRouteHandler) -> None:
    enforced = dict(_parameters(handler))
    for parameter in operation.get("parameters", ()):
        field = enforced.get(parameter["name"])
        for name, keyword in OF_PARAMETERS.items():
            bound = getattr(field and field.kwarg_definition, name, None)
            if bound is not None:
                parameter["schema"].setdefault(keyword, bound)


def _parameters(handler: HTTPRouteHandler) -> Iterator[tuple[str, FieldDefinition]]:
    """Those that a route takes itself, and those of its dependencies, by the names they are sent under."""
    signatures = [handler.parsed_fn_signature]
    signatures += [each.parsed_fn_signature for each in handler.resolve_dependencies().values()]
    for signature in signatures:
        for name, field in signature.parameters.items():
            yield getattr(field.kwarg_definition, "query", None) or name, field


def _of_body(operation: Json, handler: HTTPRouteHandler, schemas: Json) -> None:
    shown = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    field = handler.parsed_data_field
    if shown is None or field is None:
        return
    (enforced,), named = msgspec.json.schema_components([field.annotation], ref_template=f"{REF}{{name}}")
    seen: set[int] = set()

    def bound(shown: Json, enforced: Json) -> None:
        shown, enforced = _at(shown, schemas), _at(enforced, named)
        if id(shown) in seen:
            return  # a struct that holds itself
        seen.add(id(shown))
        for way in enforced.get("anyOf", (enforced,)):
            for keyword in BOUNDS:
                if keyword in way:
                    shown.setdefault(keyword, way[keyword])
            _within(shown, _at(way, named), schemas, bound)

    bound(shown, enforced)


def _within(shown: Json, enforced: Json, schemas: Json, bound: Callable[[Json, Json], None]) -> None:
    """Go on to what lies in a list or an object, whichever of the ways that are shown has it."""
    for way in (_at(each, schemas) for each in (shown, *shown.get("oneOf", ()), *shown.get("allOf", ()))):
        for keyword in ("items", "additionalProperties"):
            if isinstance(way.get(keyword), dict) and isinstance(enforced.get(keyword), dict):
                bound(way[keyword], enforced[keyword])
        for name, each in way.get("properties", {}).items():
            if name in enforced.get("properties", {}):
                bound(each, enforced["properties"][name])


def _at(schema: Json, named: Json) -> Json:
    """What a schema refers to, or itself."""
    found: Json = named[schema["$ref"].removeprefix(REF)] if "$ref" in schema else schema
    return found
