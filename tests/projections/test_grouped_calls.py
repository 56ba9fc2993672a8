"""Given groups of calls, then the calls of a group are listed in the order of all lists, page by page."""

from uuid import UUID

import pytest

from domain.groups import GroupMembersAdded, GroupMembersRemoved, Member
from projections.call_queries import CallFilter
from projections.paging import Paging
from tests.projections.log import answered, chat

GROUP, OTHER = UUID(int=700), UUID(int=701)


def add(log, event, group, *numbers):
    """Put calls into a group."""
    members = tuple(Member(call_id=UUID(int=number)) for number in numbers)
    return log.write(UUID(int=event), GroupMembersAdded(group_id=group, members=members))


async def listed(queries, *, limit=3, as_of=None, **filters):
    """Numbers of the calls on all pages, in order."""
    numbers, page = [], Paging(limit)
    while True:
        found = await queries.calls.calls(CallFilter(group_id=GROUP, **filters), as_of=as_of, page=page)
        numbers += [UUID(each["call_id"]).int for each in found["items"]]
        if found["next_cursor"] is None:
            return numbers
        page = Paging(limit, found["next_cursor"])


@pytest.mark.parametrize("at_once", [True, False])
async def test_calls_are_listed_however_and_whenever_they_were_put_into_a_group(log, follower, queries, sql, at_once):
    add(log, 800, GROUP, 4, 9)  # before they are asked
    if not at_once:
        follower.catch_up()
    for number in range(1, 9):
        chat(log, number, *([answered()] if number % 2 else []))
    add(log, 801, GROUP, 7, 1, 5, 1)
    before = add(log, 802, OTHER, 3)
    add(log, 803, GROUP, 4, 8, 2)
    log.write(UUID(int=804), GroupMembersRemoved(group_id=GROUP, call_ids=(UUID(int=5),)))
    add(log, 805, GROUP, 7)
    follower.catch_up()
    assert await listed(queries) == [8, 7, 4, 2, 1]
    assert await listed(queries, limit=1, status="success") == [7, 1]
    assert await listed(queries, as_of=before) == [7, 5, 4, 1]
    rows = "SELECT call_id, requested_position IS NULL FROM projections.grouped_calls WHERE group_id = %s ORDER BY 1"
    assert [(call_id.int, placeless) for call_id, placeless in sql(rows, GROUP)] == [
        *((1, False), (2, False), (4, True), (5, False), (7, False), (8, False), (9, True)),
    ]
