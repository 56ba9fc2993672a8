from uuid import UUID

import pytest

from domain.errors import Rejected
from domain.groups import GroupLink, GroupLinked, group_id_of, new_links

A, B, C = (UUID(int=number) for number in (1, 2, 3))


def link(parent: UUID, child: UUID) -> GroupLinked:
    return GroupLinked(parent_group_id=parent, child_group_id=child, link_type="contains")


def test_links_that_stand_already_are_left_out() -> None:
    standing = {GroupLink(A, B, "contains")}
    assert new_links(standing, [link(A, B), link(B, C), link(B, C)]) == [link(B, C)]


@pytest.mark.parametrize("wanted", [[link(C, A)], [link(A, A)], [link(B, C), link(C, A)]])
def test_a_link_that_would_close_a_cycle_is_rejected(wanted: list[GroupLinked]) -> None:
    standing = {GroupLink(A, B, "contains"), GroupLink(B, C, "step")}
    with pytest.raises(Rejected, match="close a cycle"):
        new_links(standing, wanted)


def test_type_and_name_make_the_id() -> None:
    assert group_id_of("dataset", "a") == group_id_of("dataset", "a") != group_id_of("run", "a")


def test_an_empty_name_is_rejected() -> None:
    with pytest.raises(Rejected):
        group_id_of("dataset", " ")
