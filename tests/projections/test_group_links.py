"""Given groups, members and links, then these rows and these answers."""

from uuid import UUID

import pytest

from domain.errors import NotFound
from domain.groups import LINKS_STREAM_ID, GroupCreated, GroupLinked, GroupMembersAdded, Member
from tests.projections.log import NOON

RUN, STEP, OTHER = UUID(int=1), UUID(int=2), UUID(int=3)


def added(log, number, *members, group_id=RUN):
    return log.write(UUID(int=number), GroupMembersAdded(group_id=group_id, members=members))


def call(number, **place):
    return Member(call_id=UUID(int=number), **place)


@pytest.fixture
def three_groups(log):
    log.write(RUN, GroupCreated(group_type="run", name="r", description="the run", metadata={"n": 1}))
    log.write(STEP, GroupCreated(group_type="step", name="k=2"))
    log.write(OTHER, GroupCreated(group_type="step", name="k=3"))


def linked(child, link_type="step", position=None):
    return GroupLinked(parent_group_id=RUN, child_group_id=child, link_type=link_type, position=position)


def test_the_views_have_the_promised_columns(log, follower, sql, three_groups):
    added(log, 10, call(50, role="output", position=4))
    log.write(LINKS_STREAM_ID, linked(STEP, position=1))
    follower.catch_up()
    groups = "SELECT group_id, group_type, name, description, metadata_json FROM study.groups WHERE created_at > %s"
    assert sql(groups, NOON)[0] == (RUN, "run", "r", "the run", {"n": 1})
    members = "SELECT group_id, call_id, role, position FROM study.group_members WHERE added_at > %s"
    assert sql(members, NOON) == [(RUN, UUID(int=50), "output", 4)]
    links = "SELECT parent_group_id, child_group_id, link_type, position, metadata_json FROM study.group_links"
    assert sql(links) == [(RUN, STEP, "step", 1, {})]


def test_a_member_that_is_added_twice_stands_once_as_it_was_first(log, follower, sql, three_groups):
    added(log, 10, call(50, role="first"), call(50, role="again"))
    follower.catch_up()
    added(log, 11, call(50, role="later"))
    follower.catch_up()
    assert sql("SELECT role FROM study.group_members") == [("first",)]


async def test_members_are_paged_by_place_then_as_added(log, follower, queries, three_groups):
    added(log, 10, call(50), call(51, position=2), call(52, position=1))
    added(log, 11, call(53), call(54, position=1))
    follower.catch_up()
    found, cursor = [], None
    while True:
        page = await queries.members(RUN, limit=2, cursor=cursor)
        found += [UUID(member["call_id"]).int for member in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == [52, 54, 51, 50, 53]


async def test_as_of_a_position_later_groups_members_and_links_are_not_there(log, follower, queries, three_groups):
    first = added(log, 10, call(50))
    added(log, 11, call(51))
    log.write(LINKS_STREAM_ID, linked(STEP))
    follower.catch_up()
    assert len((await queries.members(RUN, as_of=first))["items"]) == 1
    assert (await queries.group(RUN, as_of=first))["member_count"] == 1
    assert (await queries.group(RUN))["member_count"] == 2
    assert (await queries.children(RUN, as_of=first))["items"] == []
    assert await queries.groups.links(as_of=first) == []
    assert [group["name"] for group in (await queries.list_groups(as_of=2))["items"]] == ["k=2", "r"]
    with pytest.raises(NotFound, match="at position 1"):
        await queries.group(STEP, as_of=1)


async def test_links_lead_both_ways_in_their_order(log, follower, queries, three_groups):
    log.write(LINKS_STREAM_ID, linked(OTHER, position=3), linked(STEP, position=2), linked(STEP, "depends_on"))
    follower.catch_up()
    assert [step["name"] for step in await queries.groups.steps(RUN)] == ["k=2", "k=3"]
    assert [group["name"] for group in await queries.groups.dependencies(RUN)] == ["k=2"]
    assert [(link["name"], link["link_type"]) for link in (await queries.parents(STEP))["items"]] == [
        ("r", "step"),
        ("r", "depends_on"),
    ]


async def test_groups_are_found_by_type_and_name(log, follower, queries, three_groups):
    follower.catch_up()
    assert (await queries.groups.group_named("run", "r"))["group_id"] == RUN
    assert [group["name"] for group in (await queries.list_groups(group_type="step"))["items"]] == ["k=3", "k=2"]
    page = await queries.list_groups(limit=2)
    rest = await queries.list_groups(limit=2, cursor=page["next_cursor"])
    assert [group["name"] for group in rest["items"]] == ["r"]
    with pytest.raises(NotFound, match="no group run/s"):
        await queries.groups.group_named("run", "s")
