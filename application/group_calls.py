"""Put calls into groups and link groups to each other."""

from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

from msgspec import Struct

from application.notebook import Context, Notebook
from application.ports import AppendConflict, NewEvent
from domain.errors import Conflict, Rejected
from domain.events import Metadata
from domain.groups import (
    LINKS_STREAM_ID,
    MEMBERS_PER_EVENT,
    GroupCreated,
    GroupLink,
    GroupLinked,
    GroupMembersAdded,
    Member,
    group_id_of,
    new_links,
)


class GroupPlace(Struct, frozen=True, kw_only=True):
    """A place in a group: which group, in which role, and where in its order."""

    group_type: str
    name: str
    role: str | None = None
    position: int | None = None

    @property
    def group_id(self) -> UUID:
        """The group's id, whether it exists yet or not."""
        return group_id_of(self.group_type, self.name)


def group_place(name: str | None) -> GroupPlace | None:
    """A group as people write it, TYPE/NAME; None for none. Raises Rejected."""
    if name is None:
        return None
    group_type, slash, rest = str(name).partition("/")
    if not slash or not group_type.strip() or not rest.strip():
        raise Rejected(f"A group is written TYPE/NAME, such as batch/primes, not {name!r}", fields=("group",))
    return GroupPlace(group_type=group_type, name=rest)


class GroupCalls:
    """Creates groups, adds members, links groups."""

    def __init__(self, notebook: Notebook) -> None:
        self.notebook = notebook
        self._there: set[UUID] = set()  # a group that is there once is there for ever
        self._links: set[GroupLink] = set()
        self._links_version = 0

    async def create(
        self, group_type: str, name: str, context: Context, *, description: str = "", metadata: Metadata | None = None
    ) -> UUID:
        """Create a group. Raises Conflict with its id if there is one of this type and name."""
        group_id = group_id_of(group_type, name)
        fact = GroupCreated(group_type=group_type, name=name, description=description, metadata=metadata or {})
        try:
            await self.notebook.write(self.notebook.entry(context, group_id, 1, fact))
        except AppendConflict:
            raise Conflict(f"There is a group {group_type}/{name} already", existing_id=str(group_id)) from None
        return group_id

    async def ensure(self, place: GroupPlace, context: Context, *, metadata: Metadata | None = None) -> UUID:
        """The group's id; creates the group if it isn't there."""
        if place.group_id not in self._there and not await self.notebook.store.read_stream(place.group_id):
            with suppress(Conflict):  # somebody else was faster, which is as good
                await self.create(place.group_type, place.name, context, metadata=metadata)
        self._there.add(place.group_id)
        return place.group_id

    def member_entry(self, place: GroupPlace, call_id: UUID, context: Context, offset: int = 0) -> NewEvent:
        """The event that puts one call into a group, to land together with the call's request."""
        position = None if place.position is None else place.position + offset
        member = Member(call_id=call_id, role=place.role, position=position)
        fact = GroupMembersAdded(group_id=place.group_id, members=(member,))
        return self.notebook.entry(context, self.notebook.ids.new(), 1, fact, because_of=call_id)

    async def add(self, group_id: UUID, members: Sequence[Member], context: Context) -> int | None:
        """Add calls, in batches that are streams of their own. Returns the last position; None if it waits."""
        position: int | None = 0
        for start in range(0, len(members), MEMBERS_PER_EVENT):
            batch = tuple(members[start : start + MEMBERS_PER_EVENT])
            fact = GroupMembersAdded(group_id=group_id, members=batch)
            position = await self.notebook.write_or_keep(self.notebook.entry(context, self.notebook.ids.new(), 1, fact))
        return position

    async def link(self, links: Sequence[GroupLinked], context: Context) -> int | None:
        """Link groups; links that stand already are left out. Raises Rejected when one would close a cycle."""
        while True:
            await self._catch_up()
            fresh = new_links(self._links, list(links))
            if not fresh:
                return None
            entries = [
                self.notebook.entry(context, LINKS_STREAM_ID, version, link)
                for version, link in enumerate(fresh, start=self._links_version + 1)
            ]
            try:
                return await self.notebook.write(*entries)
            except AppendConflict:
                continue  # another process linked something meanwhile: look again

    async def _catch_up(self) -> None:
        for event in await self.notebook.store.read_stream(LINKS_STREAM_ID, after_version=self._links_version):
            if isinstance(event.fact, GroupLinked) and event.version > self._links_version:
                fact = event.fact
                self._links.add(GroupLink(fact.parent_group_id, fact.child_group_id, fact.link_type))
                self._links_version = event.version
