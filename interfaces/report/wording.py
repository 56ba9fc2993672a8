"""Numbers and texts as people read them."""

from collections.abc import Mapping
from typing import Any

SHOWN_CHARACTERS = 240


def number(step: Mapping[str, Any], name: str) -> str:
    """A step's number of this name; nothing where there is none."""
    value = step.get(name)
    return "" if value is None else short(value)


def short(value: float) -> str:
    """A number as it is read at a glance."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3f}".replace("-", "−") if abs(value) < 1000 else f"{value:,.1f}"


def clipped(text: str, characters: int) -> str:
    """A text, or its beginning with an ellipsis."""
    return text if len(text) <= characters else text[: characters - 1].rstrip() + "…"
