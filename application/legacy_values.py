"""Values as older databases hold them: whatever type a column has, and whatever a program once put there."""

import math
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

EPOCH = re.compile(r"[0-9]{9,13}(\.[0-9]+)?")  # as text, too
MILLISECONDS_FROM = 1e11  # a number of seconds would lie in the year 5138


def number(value: Any) -> float | int | None:
    """A finite number, of text too; None for what is none."""
    value = plain(value)
    try:
        found = float(value) if isinstance(value, str) else value
        return found if isinstance(found, int | float) and math.isfinite(found) else None
    except (ValueError, OverflowError):
        return None


def moment(value: Any) -> datetime | None:
    """A time, with the zone that it names if it names one; None for what is none."""
    if isinstance(value, date):
        return value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)  # noqa: DTZ001
    try:
        if isinstance(value, str):
            text = value.strip()
            if not EPOCH.fullmatch(text):
                return datetime.fromisoformat(f"{text[:-4]}+00:00" if text.endswith(" UTC") else text)
            value = float(text)
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value / 1000 if abs(value) >= MILLISECONDS_FROM else value, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None


def plain(value: Any) -> Any:
    """A value as Python and JSON know it."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, bytes | memoryview):
        return bytes(value).decode("utf-8", "replace")
    return value
