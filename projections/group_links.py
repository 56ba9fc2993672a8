"""Groups, their members and the links between groups: the tables and what events do to them.

Members and links have set semantics: adding one again changes nothing, so the first to be added stands, until it is
removed; then it may come again. Both are temporal: each time that one holds is a row, bounded by `added_position` and
`removed_position`. A group's own row is what it was created as; what was said of it later lies in a table of its own.
"""

from collections.abc import Hashable, Sequence
from typing import Any, Generic, TypeVar

from domain.events import RecordedEvent
from domain.groups import (
    GroupCreated,
    GroupDescribed,
    GroupLinked,
    GroupMembersAdded,
    GroupMembersRemoved,
    GroupUnlinked,
)
from projections.read_model import Change, Insert, ReadModel, Table, Update, View

RowTuple = tuple[Any, ...]
K = TypeVar("K", bound=Hashable)

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

DESCRIPTIONS = Table(
    name="group_descriptions",
    columns={
        "group_id": "uuid NOT NULL",
        "position": "bigint NOT NULL",
        "description": "text NOT NULL",
        "metadata": "jsonb NOT NULL",
        "described_at": "timestamptz NOT NULL",
        "actor": "text NOT NULL",
    },
    key=("group_id", "position"),
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
    key=("group_id", "call_id", "added_position"),
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
    key=("parent_group_id", "child_group_id", "link_type", "added_position"),
    indexes=("(child_group_id)",),
)

GROUPS_VIEW = View(
    name="groups",
    select="""
        SELECT g.group_id, g.group_type, g.name, coalesce(said.description, g.description) AS description,
            coalesce(said.metadata, g.metadata) AS metadata_json, g.created_at
        FROM {schema}.groups g
        LEFT JOIN LATERAL (
            SELECT d.description, d.metadata FROM {schema}.group_descriptions d
            WHERE d.group_id = g.group_id ORDER BY d.position DESC LIMIT 1
        ) AS said ON true
    """,
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

MEMBER = ("group_id", "call_id")
LINK = ("parent_group_id", "child_group_id", "link_type")


def _standing(key: tuple[str, ...]) -> str:
    return " AND ".join([*(f"kept.{name} = fresh.{name}" for name in key), "kept.removed_position IS NULL"])


_insert_groups = Insert(GROUPS)
_insert_descriptions = Insert(DESCRIPTIONS)
_insert_members = Insert(MEMBERS, unless=_standing(MEMBER))
_insert_links = Insert(LINKS, unless=_standing(LINK))
_end_members = Update(MEMBERS, "removed_position", key=MEMBER, where="kept.removed_position IS NULL")
_end_links = Update(LINKS, "removed_position", key=LINK, where="kept.removed_position IS NULL")


class _Periods(Generic[K]):
    """Additions and removals of one page of events, in rounds that a few statements apply.

    In a round each member (or link) is added at most once, or removed at most once: first all that are added, then all
    that are removed. What is added while it stands, or removed while it doesn't, changes nothing; whether it stood
    before the page, the tables tell.
    """

    def __init__(self, insert: Insert, end: Update) -> None:
        self._insert = insert
        self._end = end
        self._last: dict[K, int] = {}  # the last turn of each; even turns add, odd ones remove
        self._turns: list[list[RowTuple]] = []

    def add(self, key: K, row: RowTuple) -> None:
        self._take_turn(key, 0, row)

    def remove(self, key: K, row: RowTuple) -> None:
        self._take_turn(key, 1, row)

    def changes(self) -> list[Change]:
        return [
            change
            for turn, rows in enumerate(self._turns)
            for change in (self._insert if turn % 2 == 0 else self._end)(rows)
        ]

    def _take_turn(self, key: K, first: int, row: RowTuple) -> None:
        last = self._last.get(key)
        if last is not None and last % 2 == first:
            return
        turn = self._last[key] = first if last is None else last + 1
        while len(self._turns) <= turn:
            self._turns.append([])
        self._turns[turn].append(row)


def changes(events: Sequence[RecordedEvent]) -> list[Change]:
    """Groups and what is said of them are added; members and links come and go."""
    groups: list[RowTuple] = []
    descriptions: list[RowTuple] = []
    members: _Periods[tuple[Any, Any]] = _Periods(_insert_members, _end_members)
    links: _Periods[tuple[Any, Any, str]] = _Periods(_insert_links, _end_links)
    for event in events:
        position = event.position
        match event.fact:
            case GroupCreated() as fact:
                groups.append(_group_row(event, fact))
            case GroupDescribed() as fact:
                envelope = event.envelope
                said = (fact.description, fact.metadata, envelope.occurred_at, envelope.actor)
                descriptions.append((event.stream_id, position, *said))
            case GroupMembersAdded() as fact:
                for row in _member_rows(event, fact):
                    members.add(row[:2], row)
            case GroupMembersRemoved() as fact:
                for call_id in fact.call_ids:
                    members.remove((fact.group_id, call_id), (fact.group_id, call_id, position))
            case GroupLinked() as fact:
                row = _link_row(event, fact)
                links.add(row[:3], row)
            case GroupUnlinked() as fact:
                link = (fact.parent_group_id, fact.child_group_id, fact.link_type)
                links.remove(link, (*link, position))
    return [*_insert_groups(groups), *_insert_descriptions(descriptions), *members.changes(), *links.changes()]


def _group_row(event: RecordedEvent, fact: GroupCreated) -> RowTuple:
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


def _member_rows(event: RecordedEvent, fact: GroupMembersAdded) -> list[RowTuple]:
    at, position = event.envelope.occurred_at, event.position
    return [
        (fact.group_id, member.call_id, member.role, member.position, ordinal, at, position, None)
        for ordinal, member in enumerate(fact.members)
    ]


def _link_row(event: RecordedEvent, fact: GroupLinked) -> RowTuple:
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
    version=2,
    reads=(GroupCreated, GroupDescribed, GroupMembersAdded, GroupMembersRemoved, GroupLinked, GroupUnlinked),
    tables=(GROUPS, DESCRIPTIONS, MEMBERS, LINKS),
    views=(GROUPS_VIEW, MEMBERS_VIEW, LINKS_VIEW),
    changes=changes,
)
