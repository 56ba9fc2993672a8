"""Pages of a long list, and the opaque cursors that lead from one to the next."""

import base64
import binascii
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from domain.errors import Rejected

LARGEST_PAGE = 1000
LATEST = 2**63 - 1  # a position after every event: "as of now"

T = TypeVar("T")
K = TypeVar("K")


class Page(Struct, Generic[T], frozen=True):
    """Some items, and the cursor of the next page if there is one."""

    items: list[T]
    next_cursor: str | None = None


def last_counted(as_of: int | None) -> int:
    """The last position that a query counts."""
    return LATEST if as_of is None else as_of


def checked_limit(limit: int) -> int:
    """The limit, if it is one. Raises Rejected."""
    if not 1 <= limit <= LARGEST_PAGE:
        raise Rejected(f"limit must be 1 to {LARGEST_PAGE}, not {limit}", fields=("limit",))
    return limit


def cursor_after(*key: Any) -> str:
    """An opaque cursor that says: go on after this key."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(key)).decode().rstrip("=")


def key_of(cursor: str, kind: type[K]) -> K:
    """The key inside a cursor. Raises Rejected for one that is not of this list."""
    try:
        packed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        return msgspec.msgpack.decode(packed, type=kind)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise Rejected(
            f"{cursor[:40]!r} is no cursor of this list; pass next_cursor of the page before, unchanged",
            fields=("cursor",),
        ) from None
