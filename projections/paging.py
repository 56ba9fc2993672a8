"""Pages of a long list, and the opaque cursors that lead from one to the next.

Lists are ordered by what never changes, so however many items come meanwhile, paging on skips none that was there at
the first page, and repeats none. The cursor of a list as of a position carries that position: all pages stand at it.
"""

import base64
import binascii
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from domain.errors import Rejected

LARGEST_PAGE = 1000
PAGE = 50
LATEST = 2**63 - 1  # a position after every event: "as of now"

T = TypeVar("T")
K = TypeVar("K")


class Page(Struct, Generic[T], frozen=True):
    """Some items, and the cursor of the next page if there is one."""

    items: list[T]
    next_cursor: str | None = None


class Paging(Struct, frozen=True):
    """Which page of a list is asked for: so many items at most, from its beginning or behind another page's cursor."""

    limit: int = PAGE
    cursor: str | None = None

    def after(self, beginning: K, as_of: int | None, kind: type[K]) -> K:
        """The key behind which the page lies, `beginning` for the first one. Raises Rejected; see key_of."""
        return beginning if self.cursor is None else key_of(self.cursor, kind, as_of)

    @property
    def rows(self) -> int:
        """How many rows to ask for: one more than the page has, to know whether there is another. Raises Rejected."""
        return checked_limit(self.limit) + 1


FIRST_PAGE = Paging()


def last_counted(as_of: int | None) -> int:
    """The last position that a query counts."""
    return LATEST if as_of is None else as_of


def checked_limit(limit: int) -> int:
    """The limit, if it is one. Raises Rejected."""
    if not 1 <= limit <= LARGEST_PAGE:
        raise Rejected(f"limit must be 1 to {LARGEST_PAGE}, not {limit}", fields=("limit",))
    return limit


def at_position(as_of: int | None) -> str:
    """What an error adds about when something was looked for."""
    return "" if as_of is None else f" at position {as_of}"


def page_of(rows: list[T], limit: int, as_of: int | None, key: Callable[[T], tuple[Any, ...]]) -> Page[T]:
    """A page of `limit` rows, of which one more was asked for; the next one goes on after the last one's key."""
    items = rows[:limit]
    if len(rows) <= limit:
        return Page(items)
    return Page(items, cursor_at(key(items[-1]), as_of))


def cursor_at(key: tuple[Any, ...], as_of: int | None) -> str:
    """The cursor of the page behind a key."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode((as_of, key))).decode().rstrip("=")


def key_of(cursor: str, kind: type[K], as_of: int | None) -> K:
    """The key inside a cursor. Raises Rejected for one that is not of this list, or of another moment."""
    pinned, key = _unpacked(cursor, kind)
    if pinned != as_of:
        raise Rejected(
            f"This cursor goes on with a list {'of now' if pinned is None else f'as of position {pinned}'}; "
            "pass the as_of of the page before, or none",
            fields=("cursor", "as_of"),
        )
    return key


def as_of_in(cursor: str) -> int | None:
    """The position at which a cursor's list stands; None for now. Raises Rejected for what is no cursor."""
    return _unpacked(cursor, list[Any])[0]


def _unpacked(cursor: str, kind: type[K]) -> tuple[int | None, K]:
    try:
        packed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        return msgspec.msgpack.decode(packed, type=tuple[int | None, kind])  # type: ignore[valid-type]
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise Rejected(
            f"{cursor[:40]!r} is no cursor of this list; pass next_cursor of the page before, unchanged",
            fields=("cursor",),
        ) from None
