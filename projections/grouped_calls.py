"""The calls of each group in the order in which calls are listed, so that a page of them is read and no other call.

A row says that a call was put into a group once; whether it still is, the members say. Where a call was put into a
group before it was asked, its row has no place in the order: such rows are looked through.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple
from uuid import UUID

import psycopg

from projections.read_model import Table

GROUPED = Table(
    name="grouped_calls",
    columns={
        "group_id": "uuid NOT NULL",
        "call_id": "uuid NOT NULL",
        "created_at": "timestamptz",
        "requested_position": "bigint",
    },
    key=("group_id", "call_id"),
    indexes=("(group_id, created_at, requested_position)",),
)

# Only calls that were asked before: a batch that holds both may hold them in either order.
INSERT = """
    INSERT INTO {schema}.grouped_calls (group_id, call_id, created_at, requested_position)
    SELECT DISTINCT ON (f.group_id, f.call_id) f.group_id, f.call_id, c.created_at, c.requested_position
    FROM unnest(%b::uuid[], %b::uuid[], %b::bigint[]) AS f (group_id, call_id, position)
    LEFT JOIN {schema}.calls c ON c.call_id = f.call_id AND c.requested_position < f.position
    ORDER BY f.group_id, f.call_id, f.position ON CONFLICT DO NOTHING
"""


class GroupTheCalls(NamedTuple):
    """Puts calls into the order of their groups. rows: group, call, and the position at which it was put there."""

    rows: list[tuple[UUID, UUID, int]]

    def apply(self, cursor: psycopg.Cursor[Any], schema: str) -> None:
        """After the calls themselves are written."""
        columns = list(map(list, zip(*self.rows, strict=True)))
        cursor.execute(INSERT.replace("{schema}", schema).encode(), columns)


def newest_in_group(calls: str, conditions: Iterable[str], after: str | None) -> str:
    """SELECTs the newest %(limit)s calls `c` of the group %(group_id)s, newest first, out of a table of calls.

    after: the time and position of the call that they come after
    """
    joined = f"SELECT c.* FROM projections.grouped_calls g JOIN {calls} c ON c.call_id = g.call_id"  # noqa: S608
    in_order, others = (
        " AND ".join(
            [
                f"{joined} WHERE g.group_id = %(group_id)s AND g.created_at {placed}",
                *conditions,
                *([] if after is None else [f"({order}) < {after}"]),
            ]
        )
        + f" ORDER BY {order.replace(',', ' DESC,')} DESC LIMIT %(limit)s"
        for placed, order in (
            ("IS NOT NULL", "g.created_at, g.requested_position"),
            ("IS NULL", "c.created_at, c.requested_position"),
        )
    )
    return (
        f"SELECT c.* FROM (({in_order}) UNION ALL ({others})) AS c "  # noqa: S608 - our own names
        "ORDER BY c.created_at DESC, c.requested_position DESC LIMIT %(limit)s"
    )
