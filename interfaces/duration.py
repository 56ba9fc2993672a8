"""How people write a length of time: 1h, 10m, 7d, 90s, or a number of seconds."""

import math
import re

from domain.errors import Rejected

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
WRITTEN = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([smhd]?)\s*")
LONGEST_SECONDS = 100 * 365 * 86400.0


def seconds_of(duration: str | float, field: str) -> float:
    """A length of time in seconds. Raises Rejected naming the field."""
    if isinstance(duration, str):
        written = WRITTEN.fullmatch(duration)
        seconds = float(written[1]) * SECONDS[written[2] or "s"] if written else math.nan
    else:
        seconds = float(duration)
    if not 0 < seconds <= LONGEST_SECONDS:
        raise Rejected(
            f"{field}: {str(duration)[:60]!r} is no length of time such as 90 (seconds), 10m, 1h or 7d", fields=(field,)
        )
    return seconds
