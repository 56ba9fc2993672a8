"""Given groups and calls, when they are brought together or taken apart, then these events, or this error."""

import asyncio
from uuid import UUID

import pytest

from application.group_calls import GroupCalls
from domain.calls import CallRequested
from domain.errors import Conflict, NotFound, Rejected, Unavailable
from domain.groups import (
    LINKS_STREAM_ID,
    GroupCreated,
    GroupDescribed,
    GroupLinked,
    GroupMembersAdded,
    GroupMembersRemoved,
    GroupUnlinked,
    Member,
    group_id_of,
)
from tests.support.facts import EXAMPLES
from tests.support.given_when_then import CONTEXT, ListStore, notebook

REQUESTED = next(fact for fact in EXAMPLES if isinstance(fact, CallRequested))
RUN, STEP, OTHER = (group_id_of("run", name) for name in ("r", "s", "o"))
CALL, CALL_TOO, NO_CALL = UUID(int=50), UUID(int=51), UUID(int=99)


@pytest.fixture
def store() -> ListStore:
    store = ListStore()
    for group_id, name in ((RUN, "r"), (STEP, "s"), (OTHER, "o")):
        store.given(group_id, GroupCreated(group_type="run", name=name, metadata={"n": 1, "m": 2}))
    for call_id in (CALL, CALL_TOO):
        store.given(call_id, REQUESTED)
    return store


@pytest.fixture
def groups(store: ListStore) -> GroupCalls:
    return GroupCalls(notebook(store))


def link(parent: UUID, child: UUID, link_type: str = "step") -> GroupLinked:
    return GroupLinked(parent_group_id=parent, child_group_id=child, link_type=link_type)  # type: ignore[arg-type]


def unlink(parent: UUID, child: UUID) -> GroupUnlinked:
    return GroupUnlinked(parent_group_id=parent, child_group_id=child, link_type="step")


async def test_type_and_name_together_are_unique(groups: GroupCalls) -> None:
    made = await groups.create("any word", "r", CONTEXT, description="mine")
    assert made == group_id_of("any word", "r")
    with pytest.raises(Conflict) as standing:
        await groups.create("run", "r", CONTEXT)
    assert standing.value.existing_id == str(RUN)
    with pytest.raises(Rejected, match="slash"):
        await groups.create("run/x", "r", CONTEXT)


async def test_members_are_added_all_or_none(groups: GroupCalls, store: ListStore) -> None:
    with pytest.raises(Rejected, match=f"1 of the 2 are no calls of this store: {NO_CALL}"):
        await groups.add_members(RUN, [Member(call_id=CALL), Member(call_id=NO_CALL)], CONTEXT)
    assert store.facts(GroupMembersAdded) == []
    await groups.add_members(RUN, [Member(call_id=CALL, role="input"), Member(call_id=CALL)], CONTEXT)
    assert store.facts(GroupMembersAdded) == [
        GroupMembersAdded(group_id=RUN, members=(Member(call_id=CALL, role="input"),))
    ]
    with pytest.raises(NotFound, match="no group"):
        await groups.add_members(UUID(int=1), [Member(call_id=CALL)], CONTEXT)
    with pytest.raises(NotFound, match="no group"):
        await groups.add_members(CALL, [Member(call_id=CALL)], CONTEXT)


async def test_many_members_go_into_events_of_a_thousand_in_one_append(groups: GroupCalls, store: ListStore) -> None:
    calls = [UUID(int=1000 + number) for number in range(1500)]
    for call_id in calls:
        store.given(call_id, REQUESTED)
    begun = store.begun
    await groups.add_members(RUN, [Member(call_id=call_id) for call_id in calls], CONTEXT)
    assert store.begun == begun + 1
    assert [len(fact.members) for fact in store.facts() if isinstance(fact, GroupMembersAdded)] == [1000, 500]


async def test_members_are_removed_by_an_event_of_their_own(groups: GroupCalls, store: ListStore) -> None:
    await groups.remove_members(RUN, [CALL, CALL_TOO, CALL], CONTEXT)
    assert store.facts(GroupMembersRemoved) == [GroupMembersRemoved(group_id=RUN, call_ids=(CALL, CALL_TOO))]
    with pytest.raises(Rejected, match=str(NO_CALL)):
        await groups.remove_members(RUN, [NO_CALL], CONTEXT)
    with pytest.raises(Rejected, match="Name 1 to"):
        await groups.remove_members(RUN, [], CONTEXT)


async def test_without_the_store_members_are_refused_and_not_journaled(groups: GroupCalls, store: ListStore) -> None:
    store.unavailable = True
    with pytest.raises(Unavailable):
        await groups.add_members(RUN, [Member(call_id=CALL)], CONTEXT)


async def test_a_description_changes_and_metadata_is_merged(groups: GroupCalls, store: ListStore) -> None:
    await groups.describe(RUN, CONTEXT, description="first")
    await groups.describe(RUN, CONTEXT, metadata={"n": None, "k": 3})
    assert store.facts(GroupDescribed) == [
        GroupDescribed(description="first", metadata={"n": 1, "m": 2}),
        GroupDescribed(description="first", metadata={"m": 2, "k": 3}),
    ]
    assert await groups.describe(RUN, CONTEXT, metadata={"k": 3}) is None
    with pytest.raises(NotFound):
        await groups.describe(CALL, CONTEXT, description="a call")


async def test_two_who_describe_at_once_both_count(groups: GroupCalls, store: ListStore) -> None:
    await asyncio.gather(
        groups.describe(RUN, CONTEXT, description="mine"), groups.describe(RUN, CONTEXT, metadata={"yours": True})
    )
    assert store.facts(GroupDescribed)[-1] == GroupDescribed(
        description="mine", metadata={"n": 1, "m": 2, "yours": True}
    )


async def test_a_datasets_name_stays_with_its_content(groups: GroupCalls, store: ListStore) -> None:
    group_id = group_id_of("dataset", "d")
    store.given(group_id, GroupCreated(group_type="dataset", name="d", metadata={"dataset_id": "1"}))
    with pytest.raises(Rejected, match="dataset_id"):
        await groups.describe(group_id, CONTEXT, metadata={"dataset_id": "2"})
    assert await groups.describe(group_id, CONTEXT, metadata={"licence": "CC0"}) is not None


async def test_links_stand_once_and_close_no_cycle(groups: GroupCalls, store: ListStore) -> None:
    await groups.link_groups([link(RUN, STEP), link(STEP, OTHER, "contains")], CONTEXT)
    assert await groups.link_groups([link(RUN, STEP)], CONTEXT) is None
    with pytest.raises(Rejected, match="close a cycle"):
        await groups.link_groups([link(OTHER, RUN)], CONTEXT)
    assert len(store.facts(GroupLinked)) == 2
    with pytest.raises(NotFound, match=str(UUID(int=1))):
        await groups.link_groups([link(RUN, UUID(int=1))], CONTEXT)
    with pytest.raises(Rejected, match="1 to 1,000 links"):
        await groups.link_groups([], CONTEXT)


async def test_a_link_that_was_taken_back_stands_in_nobodys_way(groups: GroupCalls, store: ListStore) -> None:
    await groups.link_groups([link(RUN, STEP)], CONTEXT)
    await groups.unlink([unlink(RUN, STEP), unlink(RUN, STEP), unlink(RUN, OTHER)], CONTEXT)
    assert store.facts(GroupUnlinked) == [unlink(RUN, STEP)]
    assert await groups.unlink([unlink(RUN, STEP)], CONTEXT) is None
    await groups.link_groups([link(STEP, RUN)], CONTEXT)
    await groups.unlink([unlink(STEP, RUN)], CONTEXT)
    await groups.link_groups([link(RUN, STEP)], CONTEXT)


async def test_two_processes_can_not_close_a_cycle_together(store: ListStore) -> None:
    """Each sees a graph in which its own link is no cycle; the version of the stream of links decides."""
    one, other = GroupCalls(notebook(store)), GroupCalls(notebook(store))
    results = await asyncio.gather(
        one.link_groups([link(RUN, STEP)], CONTEXT),
        other.link_groups([link(STEP, RUN)], CONTEXT),
        return_exceptions=True,
    )
    assert sum(isinstance(result, Rejected) for result in results) == 1
    assert len(await store.read_stream(LINKS_STREAM_ID)) == 1
