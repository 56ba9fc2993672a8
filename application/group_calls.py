"""Put calls into groups and link groups to each other."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TypeVar
from uuid import UUID

from msgspec import Struct

from application.notebook import Context, Notebook
from application.ports import AppendConflict, NewEvent
from domain.calls import CallRequested
from domain.datasets import DATASET_GROUP, NAMES_ITS_DATASET
from domain.errors import Conflict, NotFound, Rejected
from domain.events import Fact, Metadata
from domain.groups import (
    LINKS_PER_COMMAND,
    LINKS_STREAM_ID,
    MEMBERS_PER_COMMAND,
    MEMBERS_PER_EVENT,
    GroupCreated,
    GroupDescribed,
    GroupLinked,
    GroupMembersAdded,
    GroupMembersRemoved,
    GroupUnlinked,
    LinkGraph,
    Member,
    checked_description,
    checked_metadata,
    checked_type,
    distinct_members,
    group_id_of,
    link_key,
)
from domain.identity import content_id

NAMED_IN_ERRORS = 5  # ids that a message names before it only counts

T = TypeVar("T")


class GroupExists(Conflict):
    """There is a group of this type and name already."""

    def __init__(self, group_type: str, name: str, group_id: UUID) -> None:
        super().__init__(f"There is a group {group_type}/{name} already", existing_id=str(group_id))
        self.group_id = group_id


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
    """Creates and describes groups, adds and removes members, links groups."""

    def __init__(self, notebook: Notebook) -> None:
        self.notebook = notebook
        self._there: set[UUID] = set()  # a group that is there once is there for ever
        self._links = LinkGraph()
        self._links_version = 0

    async def create(
        self, group_type: str, name: str, context: Context, *, description: str = "", metadata: Metadata | None = None
    ) -> UUID:
        """Create a group. Raises GroupExists if there is one of this type and name, Rejected."""
        group_id = group_id_of(checked_type(group_type), name)
        fact = GroupCreated(
            group_type=group_type,
            name=name,
            description=checked_description(description),
            metadata=checked_metadata(metadata or {}),
        )
        try:
            await self.notebook.write(self.notebook.entry(context, group_id, 1, fact))
        except AppendConflict:
            raise GroupExists(group_type, name, group_id) from None
        return group_id

    async def ensure(self, place: GroupPlace, context: Context, *, metadata: Metadata | None = None) -> UUID:
        """The group's id; creates the group if it isn't there."""
        if place.group_id not in self._there and not await self.notebook.store.read_stream(place.group_id):
            with suppress(Conflict):  # somebody else was faster, which is as good
                await self.create(place.group_type, place.name, context, metadata=metadata)
        self._there.add(place.group_id)
        return place.group_id

    async def describe(
        self, group_id: UUID, context: Context, *, description: str | None = None, metadata: Metadata | None = None
    ) -> int | None:
        """Change a group's description, or some of its metadata: a key with None is taken out, others stay.

        Returns the position, None when nothing changes. Raises NotFound, Rejected.
        """
        while True:
            events = await self.notebook.store.read_stream(group_id)
            standing = _described(group_id, [event.fact for event in events])
            wanted = GroupDescribed(
                description=checked_description(standing.description if description is None else description),
                metadata=checked_metadata(_merged(standing.metadata, metadata or {})),
            )
            if wanted == standing:
                return None
            _check_dataset(events[0].fact, wanted)
            try:
                return await self.notebook.write(self.notebook.entry(context, group_id, events[-1].version + 1, wanted))
            except AppendConflict:
                continue  # somebody else described it meanwhile: change what they made of it

    def member_entry(self, place: GroupPlace, call_id: UUID, context: Context, offset: int = 0) -> NewEvent:
        """The event that puts one call into a group, to land together with the call's request."""
        position = None if place.position is None else place.position + offset
        member = Member(call_id=call_id, role=place.role, position=position)
        fact = GroupMembersAdded(group_id=place.group_id, members=(member,))
        return self.notebook.entry(context, self.notebook.ids.new(), 1, fact, because_of=call_id)

    async def add(self, group_id: UUID, members: Sequence[Member], context: Context) -> int | None:
        """Add calls that were just made, in batches that are streams of their own.

        Returns the last position; None if it waits in the journal.
        """
        position: int | None = 0
        for start in range(0, len(members), MEMBERS_PER_EVENT):
            batch = tuple(members[start : start + MEMBERS_PER_EVENT])
            fact = GroupMembersAdded(group_id=group_id, members=batch)
            position = await self.notebook.write_or_keep(self.notebook.entry(context, self.notebook.ids.new(), 1, fact))
        return position

    async def add_members(self, group_id: UUID, members: Sequence[Member], context: Context) -> int:
        """Add calls to a group, all or none; who is a member already stays as it is. Returns the position.

        Raises NotFound for an unknown group, Rejected naming what is no call of this store.
        """
        distinct = distinct_members(members)
        await self.check_groups(group_id)
        await self._check_calls([member.call_id for member in distinct])
        return await self._write_batches(
            context,
            (GroupMembersAdded(group_id=group_id, members=tuple(batch)) for batch in _batches(distinct)),
        )

    async def remove_members(self, group_id: UUID, call_ids: Sequence[UUID], context: Context) -> int:
        """Take calls out of a group, all or none; who is no member stays none. Returns the position.

        What was so before stays in the past. Raises NotFound for an unknown group, Rejected naming what is no call.
        """
        distinct = list(dict.fromkeys(call_ids))
        if not 1 <= len(distinct) <= MEMBERS_PER_COMMAND:
            raise Rejected(f"Name 1 to {MEMBERS_PER_COMMAND:,} calls, not {len(distinct):,}", fields=("members",))
        await self.check_groups(group_id)
        await self._check_calls(distinct)
        return await self._write_batches(
            context,
            (GroupMembersRemoved(group_id=group_id, call_ids=tuple(batch)) for batch in _batches(distinct)),
        )

    async def add_once(self, group_id: UUID, members: Sequence[Member], context: Context) -> None:
        """Add calls to a group that is named by them: whoever does so again, or goes on with it, adds nothing twice."""
        for start in range(0, len(members), MEMBERS_PER_EVENT):
            fact = GroupMembersAdded(group_id=group_id, members=tuple(members[start : start + MEMBERS_PER_EVENT]))
            batch_id = content_id("group-members", str(group_id), str(start))
            with suppress(AppendConflict):  # it stands there already
                await self.notebook.write(self.notebook.entry(context, batch_id, 1, fact))

    async def link(self, links: Sequence[GroupLinked], context: Context) -> int | None:
        """Link groups; links that stand already are left out. Raises Rejected when one would close a cycle."""
        while True:
            await self._catch_up()
            fresh = self._links.new_links(links)
            if not fresh:
                return None
            try:
                return await self._write_links(fresh, context)
            except AppendConflict:
                continue  # another process linked something meanwhile: look again

    async def link_groups(self, links: Sequence[GroupLinked], context: Context) -> int | None:
        """Link groups that there are, all or none. Returns the position, None when all stand already.

        Raises NotFound naming the groups that there are not, Rejected for a cycle or too many links at once.
        """
        if not 1 <= len(links) <= LINKS_PER_COMMAND:
            raise Rejected(f"Give 1 to {LINKS_PER_COMMAND:,} links at once, not {len(links):,}", fields=("links",))
        for link in links:
            checked_metadata(link.metadata)
            if link.position is not None and not 0 <= link.position < 2**31 - 1:
                raise Rejected(f"A position is 0 to 2,147,483,646, not {link.position}", fields=("position",))
        await self.check_groups(*(link.parent_group_id for link in links), *(link.child_group_id for link in links))
        return await self.link(links, context)

    async def unlink(self, links: Sequence[GroupUnlinked], context: Context) -> int | None:
        """Take links back; those that don't stand are left out. Returns the position, None when none stands."""
        while True:
            await self._catch_up()
            standing = [
                link for link in {link_key(each): each for each in links}.values() if link_key(link) in self._links
            ]
            if not standing:
                return None
            try:
                return await self._write_links(standing, context)
            except AppendConflict:
                continue

    async def check_groups(self, *group_ids: UUID) -> None:
        """Raise NotFound naming those that are no groups of this store."""
        wanted = list(dict.fromkeys(group_ids))
        there = await self.notebook.store.begun_by(wanted, GroupCreated)
        if missing := [group_id for group_id in wanted if group_id not in there]:
            raise NotFound(f"There is no group {_named(missing)}; `study group list` shows the ones there are")

    async def _check_calls(self, call_ids: Sequence[UUID]) -> None:
        there = await self.notebook.store.begun_by(call_ids, CallRequested)
        if missing := [call_id for call_id in call_ids if call_id not in there]:
            raise Rejected(
                f"{len(missing):,} of the {len(call_ids):,} are no calls of this store: {_named(missing)}; "
                "of a shared or cached answer, name the call that was paid for",
                fields=("members",),
            )

    async def _write_batches(self, context: Context, facts: Iterable[Fact]) -> int:
        entries = [self.notebook.entry(context, self.notebook.ids.new(), 1, fact) for fact in facts]
        return await self.notebook.write(*entries)

    async def _write_links(self, links: Sequence[GroupLinked] | Sequence[GroupUnlinked], context: Context) -> int:
        entries = [
            self.notebook.entry(context, LINKS_STREAM_ID, version, link)
            for version, link in enumerate(links, start=self._links_version + 1)
        ]
        return await self.notebook.write(*entries)

    async def _catch_up(self) -> None:
        for event in await self.notebook.store.read_stream(LINKS_STREAM_ID, after_version=self._links_version):
            if event.version <= self._links_version:
                continue  # another command of this process has read it meanwhile
            if isinstance(event.fact, GroupLinked):
                self._links.add(link_key(event.fact))
            elif isinstance(event.fact, GroupUnlinked):
                self._links.remove(link_key(event.fact))
            self._links_version = event.version


def _described(group_id: UUID, facts: Sequence[Fact]) -> GroupDescribed:
    """How a group is described. Raises NotFound for what is no group."""
    if not facts or not isinstance(facts[0], GroupCreated):
        raise NotFound(f"There is no group {group_id}; `study group list` shows the ones there are")
    described = GroupDescribed(description=facts[0].description, metadata=facts[0].metadata)
    for fact in facts[1:]:
        if isinstance(fact, GroupDescribed):
            described = fact
    return described


def _merged(standing: Metadata, changes: Metadata) -> Metadata:
    return {key: value for key, value in {**standing, **changes}.items() if value is not None or key not in changes}


def _check_dataset(created: Fact, wanted: GroupDescribed) -> None:
    """A dataset's name stands for one content for ever."""
    if not isinstance(created, GroupCreated) or created.group_type != DATASET_GROUP:
        return
    if created.metadata.get(NAMES_ITS_DATASET) != wanted.metadata.get(NAMES_ITS_DATASET):
        raise Rejected(f"{NAMES_ITS_DATASET} of a dataset's group can't be changed", fields=("metadata",))


def _batches(items: Sequence[T]) -> Iterable[Sequence[T]]:
    return (items[start : start + MEMBERS_PER_EVENT] for start in range(0, len(items), MEMBERS_PER_EVENT))


def _named(ids: Sequence[UUID]) -> str:
    more = len(ids) - NAMED_IN_ERRORS
    return ", ".join(map(str, ids[:NAMED_IN_ERRORS])) + (f" and {more:,} more" if more > 0 else "")
