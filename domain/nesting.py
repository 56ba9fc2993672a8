"""How deeply objects and lists may lie inside each other: what is deeper, a later reader could not read."""

from typing import Any

from msgspec import Struct, structs

from domain.errors import Rejected

DEEPEST = 100
NESTING = (dict, list, tuple, Struct)


def check_depth(value: Any) -> None:
    """Raise Rejected for what is nested too deeply."""
    layer = [value] if isinstance(value, NESTING) else []
    for _ in range(DEEPEST):
        layer = [inner for outer in layer for inner in _inside(outer) if isinstance(inner, NESTING)]
        if not layer:
            return
    raise Rejected(f"Objects and lists are nested more than {DEEPEST} deep")


def _inside(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return structs.astuple(value) if isinstance(value, Struct) else value
