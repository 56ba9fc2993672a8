"""What people mean by as_of, a position in the log or a time, and the moment at which they ask a question."""

from datetime import UTC, datetime
from typing import NamedTuple, TypeAlias

from domain.errors import Rejected

AsOf: TypeAlias = str | int | datetime


class Moment(NamedTuple):
    """What a question is asked as of, None for now, and a position that has to show before it is answered."""

    as_of: AsOf | None = None
    at_least: int | None = None


NOW = Moment()


def position_or_moment(as_of: AsOf) -> int | datetime:
    """A position as it is; a time with its zone, which is UTC unless it says otherwise. Raises Rejected."""
    found: int | datetime
    try:
        if isinstance(as_of, str):
            found = int(as_of) if as_of.isdecimal() else datetime.fromisoformat(as_of)
        else:
            found = as_of
    except ValueError:
        raise _neither(as_of) from None
    if isinstance(found, datetime):
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    if found < 0:
        raise _neither(as_of)
    return found


def _neither(as_of: AsOf) -> Rejected:
    return Rejected(
        f"as_of: {str(as_of)[:60]!r} is neither a position nor a time such as 2026-03-01T12:00:00Z",
        fields=("as_of",),
    )
