"""Groups, their members and the links between groups, as facts."""

from typing import Literal, get_args
from uuid import UUID

from msgspec import Struct

from domain.errors import Rejected
from domain.events import Fact, Metadata, stored_as
from domain.identity import content_id

LinkType = Literal["step", "contains", "depends_on", "generates"]

MEMBERS_PER_EVENT = 1000
LINKS_STREAM_ID = content_id("group-links")


@stored_as("group.created.v1")
class GroupCreated(Fact, frozen=True, kw_only=True):
    """A group began; its type and name together are unique, and its id is made of them."""

    group_type: str
    name: str
    description: str = ""
    metadata: Metadata = {}


class Member(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A call's place in a group."""

    call_id: UUID
    role: str | None = None
    position: int | None = None


@stored_as("group.members_added.v1")
class GroupMembersAdded(Fact, frozen=True, kw_only=True):
    """Up to 1,000 calls joined a group. Each batch is a stream of its own; members have set semantics."""

    group_id: UUID
    members: tuple[Member, ...]


@stored_as("group.linked.v1")
class GroupLinked(Fact, frozen=True, kw_only=True):
    """One group was linked to another. All links lie in one stream, whose version guards the cycle check."""

    parent_group_id: UUID
    child_group_id: UUID
    link_type: LinkType
    position: int | None = None
    metadata: Metadata = {}


class GroupLink(Struct, frozen=True):
    """A link as the rules see it: direction and type, without its trimmings."""

    parent_group_id: UUID
    child_group_id: UUID
    link_type: str


def group_id_of(group_type: str, name: str) -> UUID:
    """The id of the one group with this type and name. Raises Rejected for an empty or overlong one."""
    for field, value in (("group_type", group_type), ("name", name)):
        if not value.strip() or len(value) > 300:
            raise Rejected(f"A group's {field} must have 1 to 300 characters, not {value[:40]!r}", fields=(field,))
    return content_id("group", group_type, name)


def new_links(existing: set[GroupLink], wanted: list[GroupLinked]) -> list[GroupLinked]:
    """Leave out the links that stand already. Raises Rejected when one would close a cycle.

    A link says "parent before child" for every type but depends_on, where the parent needs the child; either way the
    walk follows parent to child, and no group may reach itself.
    """
    children: dict[UUID, set[UUID]] = {}
    for standing in existing:
        children.setdefault(standing.parent_group_id, set()).add(standing.child_group_id)
    known = set(existing)
    fresh: list[GroupLinked] = []
    for link in wanted:
        if link.link_type not in get_args(LinkType):
            raise Rejected(
                f"{link.link_type!r} is no link type; use one of {', '.join(get_args(LinkType))}",
                fields=("link_type",),
            )
        key = GroupLink(link.parent_group_id, link.child_group_id, link.link_type)
        if key in known:
            continue
        if _reaches(children, link.child_group_id, link.parent_group_id):
            raise Rejected(
                f"Linking {link.parent_group_id} to {link.child_group_id} would close a cycle",
                fields=("parent_group_id", "child_group_id"),
            )
        known.add(key)
        children.setdefault(link.parent_group_id, set()).add(link.child_group_id)
        fresh.append(link)
    return fresh


def _reaches(children: dict[UUID, set[UUID]], start: UUID, goal: UUID) -> bool:
    seen: set[UUID] = set()
    frontier = [start]
    while frontier:
        group = frontier.pop()
        if group == goal:
            return True
        if group not in seen:
            seen.add(group)
            frontier.extend(children.get(group, ()))
    return False
