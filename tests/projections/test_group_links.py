"""Given groups, members and links, then these rows and these answers."""

from itertools import count
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.errors import NotFound, Rejected
from domain.groups import (
    LINKS_STREAM_ID,
    GroupCreated,
    GroupDescribed,
    GroupLinked,
    GroupMembersAdded,
    GroupMembersRemoved,
    GroupUnlinked,
    Member,
)
from projections.paging import Paging
from tests.projections.log import NOON

RUN, STEP, OTHER = UUID(int=1), UUID(int=2), UUID(int=3)


def added(log, number, *members, group_id=RUN):
    return log.write(UUID(int=number), GroupMembersAdded(group_id=group_id, members=members))


def removed(log, number, *calls, group_id=RUN):
    return log.write(
        UUID(int=number), GroupMembersRemoved(group_id=group_id, call_ids=tuple(UUID(int=each) for each in calls))
    )


async def paged(question, group_id, *, limit):
    found, cursor = [], None
    while True:
        page = await question(group_id, page=Paging(limit, cursor))
        found += [(link["name"], link["link_type"]) for link in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


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
        page = await queries.groups.members(RUN, page=Paging(2, cursor))
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
    assert len((await queries.groups.members(RUN, as_of=first))["items"]) == 1
    assert (await queries.groups.group(RUN, as_of=first))["member_count"] == 1
    assert (await queries.groups.group(RUN))["member_count"] == 2
    assert (await queries.groups.children(RUN, as_of=first))["items"] == []
    assert [group["name"] for group in (await queries.groups.groups(as_of=2))["items"]] == ["k=2", "r"]
    with pytest.raises(NotFound, match="at position 1"):
        await queries.groups.group(STEP, as_of=1)


async def test_links_lead_both_ways_in_their_order(log, follower, queries, three_groups):
    log.write(LINKS_STREAM_ID, linked(OTHER, position=3), linked(STEP, position=2), linked(STEP, "depends_on"))
    follower.catch_up()
    assert [step["name"] for step in (await queries.groups.children(RUN, link_type="step"))["items"]] == ["k=2", "k=3"]
    assert [group["name"] for group in (await queries.groups.dependencies(RUN))["items"]] == ["k=2"]
    assert [(link["name"], link["link_type"]) for link in (await queries.groups.parents(STEP))["items"]] == [
        ("r", "step"),
        ("r", "depends_on"),
    ]


async def test_groups_are_found_by_type_and_name(log, follower, queries, three_groups):
    follower.catch_up()
    assert [group["name"] for group in (await queries.groups.groups(group_type="step"))["items"]] == ["k=3", "k=2"]
    page = await queries.groups.groups(page=Paging(2))
    rest = await queries.groups.groups(page=Paging(2, page["next_cursor"]))
    assert [group["name"] for group in rest["items"]] == ["r"]
    assert [group["name"] for group in (await queries.groups.groups(name="r"))["items"]] == ["r"]


async def test_a_member_that_left_may_come_again_and_the_past_stays(log, follower, queries, sql, three_groups):
    first = added(log, 10, call(50, role="input"))
    gone = removed(log, 11, 50, 51)
    back = added(log, 12, call(50, role="output"))
    log.write(UUID(int=13), GroupMembersRemoved(group_id=OTHER, call_ids=(UUID(int=50),)))
    follower.catch_up()
    roles = {
        at: [each["role"] for each in (await queries.groups.members(RUN, as_of=at))["items"]]
        for at in (first, gone, back)
    }
    assert roles == {first: ["input"], gone: [], back: ["output"]}
    assert (await queries.groups.group(RUN, as_of=gone))["member_count"] == 0
    assert sql("SELECT role FROM study.group_members") == [("output",)]


async def test_members_can_be_asked_for_by_role(log, follower, queries, three_groups):
    added(log, 10, call(50, role="input"), call(51, role="output"), call(52))
    follower.catch_up()
    found = (await queries.groups.members(RUN, role="output"))["items"]
    assert [UUID(member["call_id"]).int for member in found] == [51]


async def test_what_is_said_of_a_group_changes_and_the_past_stays(log, follower, queries, sql, three_groups):
    said = log.write(RUN, GroupDescribed(description="the run of March", metadata={"n": 2}))
    follower.catch_up()
    assert (await queries.groups.group(RUN, as_of=said - 1))["description"] == "the run"
    found = await queries.groups.group(RUN)
    assert (found["description"], found["metadata"]) == ("the run of March", {"n": 2})
    assert [group["metadata"] for group in (await queries.groups.groups(group_type="run"))["items"]] == [{"n": 2}]
    assert sql("SELECT description, metadata_json FROM study.groups WHERE group_type = 'run'") == [
        ("the run of March", {"n": 2})
    ]


async def test_a_link_that_was_taken_back_stays_in_the_past(log, follower, queries, sql, three_groups):
    stood = log.write(LINKS_STREAM_ID, linked(STEP))
    log.write(LINKS_STREAM_ID, GroupUnlinked(parent_group_id=RUN, child_group_id=STEP, link_type="step"))
    follower.catch_up()
    assert (await queries.groups.children(RUN))["items"] == []
    assert [child["name"] for child in (await queries.groups.children(RUN, as_of=stood))["items"]] == ["k=2"]
    assert sql("SELECT count(*) FROM study.group_links") == [(0,)]


async def test_children_and_parents_are_paged_in_their_order(log, follower, queries, three_groups):
    log.write(LINKS_STREAM_ID, linked(OTHER), linked(STEP, position=2), linked(STEP, "depends_on", 1))
    follower.catch_up()
    assert await paged(queries.groups.children, RUN, limit=1) == [
        ("k=2", "depends_on"),
        ("k=2", "step"),
        ("k=3", "step"),
    ]
    assert await paged(queries.groups.parents, STEP, limit=1) == [("r", "depends_on"), ("r", "step")]
    with pytest.raises(Rejected, match="no link type"):
        await queries.groups.children(RUN, link_type="likes")
    with pytest.raises(NotFound):
        await queries.groups.parents(UUID(int=99))


@pytest.fixture
def chain(log, follower):
    """Ten groups, each of which depends on the next and the one after that."""
    ids = [UUID(int=100 + number) for number in range(10)]
    for number, group_id in enumerate(ids):
        log.write(group_id, GroupCreated(group_type="run", name=str(number)))
    for step in (1, 2):
        for parent, child in zip(ids, ids[step:], strict=False):
            fact = GroupLinked(parent_group_id=parent, child_group_id=child, link_type="depends_on")
            log.write(LINKS_STREAM_ID, fact)
    follower.catch_up()
    return ids


async def test_dependencies_are_followed_both_ways_over_any_number_of_links(queries, chain):
    up = await queries.groups.dependencies(chain[0])
    assert [(group["name"], group["depth"]) for group in up["items"]][:4] == [("1", 1), ("2", 1), ("3", 2), ("4", 2)]
    assert (len(up["items"]), up["depth"], up["truncated"]) == (9, 100, False)
    down = await queries.groups.dependencies(chain[9], direction="down")
    assert {group["name"] for group in down["items"]} == set("012345678")
    both = await queries.groups.dependencies(chain[5], direction="both", depth=1)
    assert {(group["direction"], group["name"]) for group in both["items"]} == {
        ("up", "6"),
        ("up", "7"),
        ("down", "4"),
        ("down", "3"),
    }
    assert both["truncated"]
    assert (await queries.groups.dependencies(chain[0], link_type="step"))["items"] == []
    assert len((await queries.groups.dependencies(chain[0], link_type=None))["items"]) == 9


async def test_a_depth_that_was_reached_is_told_on_every_page(queries, chain):
    whole = await queries.groups.dependencies(chain[0], depth=4)
    assert ([group["name"] for group in whole["items"]], whole["truncated"]) == (list("12345678"), True)
    assert not (await queries.groups.dependencies(chain[0], depth=5))["truncated"]
    names, cursor = [], None
    while True:
        page = await queries.groups.dependencies(chain[0], depth=4, page=Paging(3, cursor))
        assert page["truncated"]
        names += [group["name"] for group in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert names == list("12345678")


@pytest.mark.parametrize(
    ("wrong", "field"),
    [({"direction": "left"}, "direction"), ({"depth": 0}, "depth"), ({"link_type": "likes"}, "link_type")],
)
async def test_a_walk_that_makes_no_sense_is_rejected(queries, three_groups, wrong, field):
    with pytest.raises(Rejected) as refused:
        await queries.groups.dependencies(RUN, **wrong)
    assert refused.value.fields == (field,)


class Naive:
    """Members and links as of every position, by playing one event after the other into two dictionaries."""

    def __init__(self):
        self.members, self.links = {}, {}

    def play(self, fact):
        match fact:
            case GroupMembersAdded():
                for member in fact.members:
                    self.members.setdefault((fact.group_id, member.call_id), (member.role, member.position))
            case GroupMembersRemoved():
                for call_id in fact.call_ids:
                    self.members.pop((fact.group_id, call_id), None)
            case GroupLinked():
                self.links.setdefault((fact.parent_group_id, fact.child_group_id, fact.link_type), fact.position)
            case GroupUnlinked():
                self.links.pop((fact.parent_group_id, fact.child_group_id, fact.link_type), None)


GROUPS = [RUN, STEP, OTHER]
groups = st.sampled_from(GROUPS)
calls = st.integers(50, 54).map(lambda number: UUID(int=number))
places = st.sampled_from([None, 0, 1])
facts = st.one_of(
    st.builds(
        GroupMembersAdded,
        group_id=groups,
        members=st.lists(
            st.builds(Member, call_id=calls, role=st.sampled_from([None, "input", "output"]), position=places),
            min_size=1,
            max_size=4,
        ).map(tuple),
    ),
    st.builds(GroupMembersRemoved, group_id=groups, call_ids=st.lists(calls, min_size=1, max_size=4).map(tuple)),
    st.builds(GroupLinked, parent_group_id=groups, child_group_id=groups, link_type=st.just("step"), position=places),
    st.builds(GroupUnlinked, parent_group_id=groups, child_group_id=groups, link_type=st.just("step")),
)


def moved(fact, example):
    """The same fact about groups that are this example's own."""
    fields = ("group_id", "parent_group_id", "child_group_id")
    own = {name: UUID(int=getattr(fact, name).int + 1000 * example) for name in fields if hasattr(fact, name)}
    return replace(fact, **own)


EXAMPLE = count(1)


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(happened=st.lists(facts, min_size=20, max_size=60), batch_size=st.sampled_from([1, 3, 2000]))
def test_membership_and_links_as_of_any_position_are_as_a_naive_replay_has_them(
    log, follower, sql, happened, batch_size
):
    example = next(EXAMPLE)
    happened = [moved(fact, example) for fact in happened]
    own = [UUID(int=group_id.int + 1000 * example) for group_id in GROUPS]
    last = log.write_all(
        [(LINKS_STREAM_ID if isinstance(fact, GroupLinked | GroupUnlinked) else uuid4(), fact, ()) for fact in happened]
    )
    follower.batch_size = batch_size
    follower.catch_up()
    naive = Naive()
    for position, fact in enumerate(happened, start=last - len(happened) + 1):
        naive.play(fact)
        holds = f"added_position <= {position} AND coalesce(removed_position > {position}, true)"
        members = "SELECT group_id, call_id, role, place FROM projections.group_members WHERE group_id = ANY(%s) AND "
        found = [(row[:2], row[2:]) for row in sql(members + holds, own)]
        assert (len(found), dict(found)) == (len(naive.members), naive.members)
        links = (
            "SELECT parent_group_id, child_group_id, link_type, place FROM projections.group_links "
            "WHERE parent_group_id = ANY(%s) AND "
        )
        standing = [(row[:3], row[3]) for row in sql(links + holds, own)]
        assert (len(standing), dict(standing)) == (len(naive.links), naive.links)
