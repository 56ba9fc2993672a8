from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import Rejected
from domain.groups import (
    GroupLink,
    GroupLinked,
    LinkGraph,
    Member,
    checked_description,
    checked_metadata,
    checked_type,
    distinct_members,
    group_id_of,
    link_key,
)

A, B, C = (UUID(int=number) for number in (1, 2, 3))


def link(parent: UUID, child: UUID) -> GroupLinked:
    return GroupLinked(parent_group_id=parent, child_group_id=child, link_type="contains")


def test_links_that_stand_already_are_left_out() -> None:
    standing = LinkGraph([GroupLink(A, B, "contains")])
    assert standing.new_links([link(A, B), link(B, C), link(B, C)]) == [link(B, C)]
    assert GroupLink(B, C, "contains") not in standing


@pytest.mark.parametrize("wanted", [[link(C, A)], [link(A, A)], [link(B, C), link(C, A)]])
def test_a_link_that_would_close_a_cycle_is_rejected(wanted: list[GroupLinked]) -> None:
    standing = LinkGraph([GroupLink(A, B, "contains"), GroupLink(B, C, "step")])
    with pytest.raises(Rejected, match="close a cycle"):
        standing.new_links(wanted)
    standing.remove(GroupLink(B, C, "step"))
    assert standing.new_links([link(C, A)]) == [link(C, A)]


def naive_reach(links: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """Pairs of which the first leads to the second, by joining until nothing is new."""
    reach = set(links)
    while True:
        joined = reach | {(a, d) for a, b in reach for c, d in reach if b == c}
        if joined == reach:
            return reach
        reach = joined


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 5)), max_size=30))
def test_whatever_is_linked_and_unlinked_cycles_never_stand(turns: list[tuple[bool, int, int]]) -> None:
    graph, standing = LinkGraph(), set[tuple[int, int]]()
    for adds, parent, child in turns:
        wanted = link(UUID(int=parent), UUID(int=child))
        if not adds:
            graph.remove(link_key(wanted))
            standing.discard((parent, child))
            continue
        closes = parent == child or (child, parent) in naive_reach(standing)
        try:
            fresh = graph.new_links([wanted])
        except Rejected:
            assert closes
            continue
        assert not closes
        assert fresh == ([] if (parent, child) in standing else [wanted])
        graph.add(link_key(wanted))
        standing.add((parent, child))
        assert all(a != b for a, b in naive_reach(standing))


def test_an_unknown_link_type_is_rejected() -> None:
    with pytest.raises(Rejected, match="no link type; use one of step, contains"):
        LinkGraph().new_links([GroupLinked(parent_group_id=A, child_group_id=B, link_type="likes")])  # type: ignore[arg-type]


def test_type_and_name_make_the_id() -> None:
    assert group_id_of("dataset", "a") == group_id_of("dataset", "a") != group_id_of("run", "a")


@pytest.mark.parametrize("name", [" ", "", "a\0b", "half \ud800", "n" * 301])
def test_a_name_that_can_not_be_written_is_rejected(name: str) -> None:
    with pytest.raises(Rejected) as refused:
        group_id_of("dataset", name)
    assert refused.value.fields == ("name",)


def test_what_is_too_large_is_rejected() -> None:
    with pytest.raises(Rejected, match="slash"):
        checked_type("run/x")
    with pytest.raises(Rejected, match="10,000 characters"):
        checked_description("d" * 10_001)
    with pytest.raises(Rejected, match="100,000 bytes"):
        checked_metadata({"text": "m" * 100_000})


def test_each_call_is_a_member_once_as_it_stands_first() -> None:
    first, again, other = Member(call_id=A, role="input"), Member(call_id=A, role="output"), Member(call_id=B)
    assert distinct_members([first, other, again]) == [first, other]


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ([], "members"),
        ([Member(call_id=A)] * 100_001, "members"),
        ([Member(call_id=A, role="r" * 101)], "role"),
        ([Member(call_id=A, position=-1)], "position"),
        ([Member(call_id=A, position=2**31)], "position"),
    ],
)
def test_members_out_of_bounds_are_rejected(members: list[Member], field: str) -> None:
    with pytest.raises(Rejected) as refused:
        distinct_members(members)
    assert refused.value.fields == (field,)
