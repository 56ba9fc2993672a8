"""Groups, their members and the links between groups: the tables and what events do to them.

Members and links have set semantics: adding one again changes nothing, so the first to be added stands. Both are
temporal: `added_position` and `removed_position` bound the positions at which they hold.
"""

from collections.abc import Sequence
from typing import Any

from domain.events import RecordedEvent
from domain.groups import GroupCreated, GroupLinked, GroupMembersAdded
from projections.read_model import Change, Insert, ReadModel, Table, View

GROUPS = Table(
    name="groups",
    columns={
        "group_id": "uuid NOT NULL",
        "group_type": "text NOT NULL",
        "name": "text NOT NULL",
        "description": "text NOT NULL",
        "metadata": "jsonb NOT NULL",
        "created_at": "timestamptz NOT NULL",
        "actor": "text NOT NULL",
        "position": "bigint NOT NULL",
    },
    key=("group_id",),
    indexes=("(group_type, name)", "(position)"),
)

MEMBERS = Table(
    name="group_members",
    columns={
        "group_id": "uuid NOT NULL",
        "call_id": "uuid NOT NULL",
        "role": "text",
        "place": "int",  # in the group's order, as the adder gave it
        "ordinal": "int NOT NULL",  # in the event that added it
        "added_at": "timestamptz NOT NULL",
        "added_position": "bigint NOT NULL",
        "removed_position": "bigint",
    },
    key=("group_id", "call_id"),
    indexes=("(call_id)", "(group_id, (coalesce(place, 2147483647)), added_position, ordinal)"),
)

LINKS = Table(
    name="group_links",
    columns={
        "parent_group_id": "uuid NOT NULL",
        "child_group_id": "uuid NOT NULL",
        "link_type": "text NOT NULL",
        "place": "int",
        "metadata": "jsonb NOT NULL",
        "created_at": "timestamptz NOT NULL",
        "added_position": "bigint NOT NULL",
        "removed_position": "bigint",
    },
    key=("parent_group_id", "child_group_id", "link_type"),
    indexes=("(child_group_id)",),
)

GROUPS_VIEW = View(
    name="groups",
    select="SELECT group_id, group_type, name, description, metadata AS metadata_json, created_at FROM {schema}.groups",
)
MEMBERS_VIEW = View(
    name="group_members",
    select=(
        "SELECT group_id, call_id, role, place AS position, added_at FROM {schema}.group_members "
        "WHERE removed_position IS NULL"
    ),
)
LINKS_VIEW = View(
    name="group_links",
    select=(
        "SELECT parent_group_id, child_group_id, link_type, place AS position, metadata AS metadata_json, created_at "
        "FROM {schema}.group_links WHERE removed_position IS NULL"
    ),
)

_insert_groups = Insert(GROUPS)
_insert_members = Insert(MEMBERS, on_conflict="ON CONFLICT (group_id, call_id) DO NOTHING")
_insert_links = Insert(LINKS, on_conflict="ON CONFLICT (parent_group_id, child_group_id, link_type) DO NOTHING")


def changes(events: Sequence[RecordedEvent]) -> list[Change]:
    """Groups, members and links are only ever added."""
    groups: list[tuple[Any, ...]] = []
    members: list[tuple[Any, ...]] = []
    links: list[tuple[Any, ...]] = []
    for event in events:
        match event.fact:
            case GroupCreated():
                groups.append(_group_row(event, event.fact))
            case GroupMembersAdded():
                members += _member_rows(event, event.fact)
            case GroupLinked():
                links.append(_link_row(event, event.fact))
    return [*_insert_groups(groups), *_insert_members(members), *_insert_links(links)]


def _group_row(event: RecordedEvent, fact: GroupCreated) -> tuple[Any, ...]:
    envelope = event.envelope
    return (
        event.stream_id,
        fact.group_type,
        fact.name,
        fact.description,
        fact.metadata,
        envelope.occurred_at,
        envelope.actor,
        event.position,
    )


def _member_rows(event: RecordedEvent, fact: GroupMembersAdded) -> list[tuple[Any, ...]]:
    at, position = event.envelope.occurred_at, event.position
    return [
        (fact.group_id, member.call_id, member.role, member.position, ordinal, at, position, None)
        for ordinal, member in enumerate(fact.members)
    ]


def _link_row(event: RecordedEvent, fact: GroupLinked) -> tuple[Any, ...]:
    return (
        fact.parent_group_id,
        fact.child_group_id,
        fact.link_type,
        fact.position,
        fact.metadata,
        event.envelope.occurred_at,
        event.position,
        None,
    )


GROUP_LINKS = ReadModel(
    name="group_links",
    version=1,
    reads=(GroupCreated, GroupMembersAdded, GroupLinked),
    tables=(GROUPS, MEMBERS, LINKS),
    views=(GROUPS_VIEW, MEMBERS_VIEW, LINKS_VIEW),
    changes=changes,
)
