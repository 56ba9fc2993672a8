"""Groups, their members and the links between groups, as facts, and the rules that hold for them."""

from collections.abc import Iterable, Sequence
from typing import Literal, get_args
from uuid import UUID

from msgspec import Struct

from domain.errors import Rejected
from domain.events import Fact, Metadata, stored_as
from domain.identity import canonical_json, content_id

LinkType = Literal["step", "contains", "depends_on", "generates"]

MEMBERS_PER_EVENT = 1000
MEMBERS_PER_COMMAND = 100_000
LINKS_PER_COMMAND = 1000
LARGEST_NAME = 300  # characters, of a type and of a name
LARGEST_DESCRIPTION = 10_000  # characters
LARGEST_METADATA = 100_000  # bytes of JSON
LARGEST_ROLE = 100  # characters
LARGEST_PLACE = 2**31 - 2  # what follows it stands for "no place"
LINKS_STREAM_ID = content_id("group-links")


@stored_as("group.created.v1")
class GroupCreated(Fact, frozen=True, kw_only=True):
    """A group began; its type and name together are unique, and its id is made of them."""

    group_type: str
    name: str
    description: str = ""
    metadata: Metadata = {}


@stored_as("group.described.v1")
class GroupDescribed(Fact, frozen=True, kw_only=True):
    """From here on a group's description and metadata are these, all of them; type and name never change."""

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


@stored_as("group.members_removed.v1")
class GroupMembersRemoved(Fact, frozen=True, kw_only=True):
    """Up to 1,000 calls left a group. Each batch is a stream of its own; they may join again."""

    group_id: UUID
    call_ids: tuple[UUID, ...]


@stored_as("group.linked.v1")
class GroupLinked(Fact, frozen=True, kw_only=True):
    """One group was linked to another. All links lie in one stream, whose version guards the cycle check."""

    parent_group_id: UUID
    child_group_id: UUID
    link_type: LinkType
    position: int | None = None
    metadata: Metadata = {}


@stored_as("group.unlinked.v1")
class GroupUnlinked(Fact, frozen=True, kw_only=True):
    """A link was taken back; what it said stays in the past. It lies in the stream of all links."""

    parent_group_id: UUID
    child_group_id: UUID
    link_type: LinkType


class GroupLink(Struct, frozen=True):
    """A link as the rules see it: direction and type, without its trimmings."""

    parent_group_id: UUID
    child_group_id: UUID
    link_type: str


def group_id_of(group_type: str, name: str) -> UUID:
    """The id of the one group with this type and name. Raises Rejected for an empty, overlong or unwritable one."""
    for field, value in (("group_type", group_type), ("name", name)):
        if not value.strip() or len(value) > LARGEST_NAME:
            raise Rejected(
                f"A group's {field} must have 1 to {LARGEST_NAME} characters, not {value[:40]!r}", fields=(field,)
            )
        if "\0" in value or not _is_encodable(value):
            raise Rejected(
                f"A group's {field} can't hold {value[:40]!r}: it has a NUL or half a character", fields=(field,)
            )
    return content_id("group", group_type, name)


def checked_type(group_type: str) -> str:
    """A type for a new group: any word, but for the slash that stands between type and name. Raises Rejected."""
    if "/" in group_type:
        raise Rejected(
            f"A group's type can't hold a slash, since a group is written TYPE/NAME: {group_type[:60]!r}",
            fields=("group_type",),
        )
    return group_type


def checked_description(description: str) -> str:
    """A group's description. Raises Rejected for an overlong one."""
    if len(description) > LARGEST_DESCRIPTION:
        raise Rejected(f"A description has at most {LARGEST_DESCRIPTION:,} characters", fields=("description",))
    return description


def checked_metadata(metadata: Metadata) -> Metadata:
    """A group's or a link's metadata. Raises Rejected when its JSON is too large to be part of an event."""
    if len(canonical_json(metadata)) > LARGEST_METADATA:
        raise Rejected(
            f"Metadata has at most {LARGEST_METADATA:,} bytes of JSON; keep more as an artifact", fields=("metadata",)
        )
    return metadata


def distinct_members(members: Sequence[Member]) -> list[Member]:
    """Each call once, as it stands first. Raises Rejected for too many, an overlong role or a place out of range."""
    if not members:
        raise Rejected("Name at least one call", fields=("members",))
    if len(members) > MEMBERS_PER_COMMAND:
        raise Rejected(
            f"{len(members):,} members are too many at once; send at most {MEMBERS_PER_COMMAND:,}", fields=("members",)
        )
    distinct: dict[UUID, Member] = {}
    for member in members:
        if member.role is not None and not 1 <= len(member.role) <= LARGEST_ROLE:
            raise Rejected(f"A role has 1 to {LARGEST_ROLE} characters, not {member.role[:40]!r}", fields=("role",))
        if member.position is not None and not 0 <= member.position <= LARGEST_PLACE:
            raise Rejected(f"A position is 0 to {LARGEST_PLACE:,}, not {member.position}", fields=("position",))
        distinct.setdefault(member.call_id, member)
    return list(distinct.values())


class LinkGraph:
    """The links that stand, as the rules need them: by parent, so that a cycle is found by walking."""

    def __init__(self, links: Iterable[GroupLink] = ()) -> None:
        self._types: dict[UUID, dict[UUID, set[str]]] = {}
        for link in links:
            self.add(link)

    def __contains__(self, link: GroupLink) -> bool:
        return link.link_type in self._types.get(link.parent_group_id, {}).get(link.child_group_id, ())

    def add(self, link: GroupLink) -> None:
        """It stands from here on."""
        self._types.setdefault(link.parent_group_id, {}).setdefault(link.child_group_id, set()).add(link.link_type)

    def remove(self, link: GroupLink) -> None:
        """It stands no longer, if it did."""
        children = self._types.get(link.parent_group_id, {})
        types = children.get(link.child_group_id, set())
        types.discard(link.link_type)
        if not types:
            children.pop(link.child_group_id, None)

    def new_links(self, wanted: Sequence[GroupLinked]) -> list[GroupLinked]:
        """Leave out the links that stand already. Raises Rejected when one would close a cycle.

        A link says "parent before child" for every type but depends_on, where the parent needs the child; either way
        the walk follows parent to child, and no group may reach itself. The graph is as before afterwards.
        """
        fresh: list[GroupLinked] = []
        try:
            for link in wanted:
                key = link_key(link)
                if key in self:
                    continue
                if self._reaches(link.child_group_id, link.parent_group_id):
                    raise Rejected(
                        f"Linking {link.parent_group_id} to {link.child_group_id} would close a cycle",
                        fields=("parent_group_id", "child_group_id"),
                    )
                self.add(key)
                fresh.append(link)
        finally:
            for link in fresh:
                self.remove(link_key(link))
        return fresh

    def _reaches(self, start: UUID, goal: UUID) -> bool:
        seen: set[UUID] = set()
        frontier = [start]
        while frontier:
            group = frontier.pop()
            if group == goal:
                return True
            if group not in seen:
                seen.add(group)
                frontier.extend(self._types.get(group, ()))
        return False


def link_key(link: GroupLinked | GroupUnlinked) -> GroupLink:
    """Which link it is. Raises Rejected for an unknown type."""
    if link.link_type not in get_args(LinkType):
        raise Rejected(
            f"{link.link_type!r} is no link type; use one of {', '.join(get_args(LinkType))}", fields=("link_type",)
        )
    return GroupLink(link.parent_group_id, link.child_group_id, link.link_type)


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
