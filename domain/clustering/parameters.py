"""Parameters of methods and rules: checked against their schema, and shown as a JSON schema."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from domain.errors import Rejected

Parameters = TypeVar("Parameters", bound=Struct)


def check_parameters(whose: str, schema: type[Parameters], given: Mapping[str, Any]) -> Parameters:
    """Fill in the defaults. Raises Rejected for a parameter that is unknown, invalid or missing, naming it."""
    known = {field.name: field for field in msgspec.structs.fields(schema)}
    for name in given:
        if name not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise Rejected(f"{whose} has no parameter {name!r}; {takes}", fields=(name,))
    for name, value in given.items():
        try:
            msgspec.convert(value, known[name].type)
        except msgspec.ValidationError as error:
            raise Rejected(f"{whose} can't take {name}={value!r}: {error}", fields=(name,)) from error
    missing = tuple(name for name, field in known.items() if field.required and name not in given)
    if missing:
        raise Rejected(f"{whose} needs {', '.join(missing)}", fields=missing)
    try:
        return msgspec.convert(dict(given), schema)
    except msgspec.ValidationError as error:
        raise Rejected(f"{whose} can't take these together: {error}", fields=tuple(given)) from error


def schema_of(schema: type[Struct]) -> dict[str, Any]:
    """The JSON schema of a set of parameters, an object with a property each."""
    whole = msgspec.json.schema(schema)
    definitions = whole.get("$defs", {})
    if len(definitions) == 1:
        return {"additionalProperties": False, **next(iter(definitions.values()))}
    return whole
