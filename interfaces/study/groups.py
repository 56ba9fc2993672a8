"""Groups, who is in them, and how they hang together."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast
from uuid import UUID

from application.group_calls import GroupCalls, GroupPlace, group_place
from application.notebook import Context
from domain.errors import NotFound
from domain.events import Metadata
from domain.groups import GroupLinked, GroupUnlinked, LinkType, Member
from interfaces.as_of import NOW, Moment
from interfaces.study.moments import Moments
from interfaces.study.words import Json, id_of, is_id
from projections.group_links import GROUP_LINKS
from projections.group_queries import DEFAULT_DEPTH, Direction
from projections.paging import FIRST_PAGE, Paging
from projections.queries import Queries

GROUPS = (GROUP_LINKS.name,)
P = ParamSpec("P")


def by_its_name(
    method: Callable[Concatenate["Groups", UUID | str, P], Coroutine[Any, Any, Json]],
) -> Callable[Concatenate["Groups", UUID | str, P], Coroutine[Any, Any, Json]]:
    """Who asked for a group by its type and name is told by these that there is none."""

    @wraps(method)
    async def asked(self: "Groups", group: UUID | str, /, *args: P.args, **options: P.kwargs) -> Json:
        try:
            return await method(self, group, *args, **options)
        except NotFound as error:
            raise NotFound(str(error).replace(str(group_id_in(group)), str(group))) from None

    return asked


class Groups:
    """Groups of calls. A group is named by its id, or as TYPE/NAME."""

    def __init__(self, group_calls: GroupCalls, queries: Queries, moments: Moments) -> None:
        self._group_calls = group_calls
        self._queries = queries
        self._moments = moments

    async def create(
        self,
        group_type: str,
        name: str,
        context: Context,
        *,
        description: str = "",
        metadata: Metadata | None = None,
    ) -> Json:
        """Create a group. Raises Conflict with its id if there is one of this type and name, Rejected."""
        group_id = await self._group_calls.create(group_type, name, context, description=description, metadata=metadata)
        await self._moments.all_shown()
        return await self.get(group_id)

    @by_its_name
    async def describe(
        self, group: UUID | str, context: Context, *, description: str | None = None, metadata: Metadata | None = None
    ) -> Json:
        """Change a description, or some of the metadata: a key with None is taken out. Raises NotFound, Rejected."""
        group_id = group_id_in(group)
        position = await self._group_calls.describe(group_id, context, description=description, metadata=metadata)
        return await self.get(group_id, Moment(at_least=position))

    @by_its_name
    async def add(self, group: UUID | str, members: Sequence[Member], context: Context) -> Json:
        """Add calls, all or none; who is a member already stays as it is. Raises NotFound, Rejected."""
        group_id = group_id_in(group)
        position = await self._group_calls.add_members(group_id, members, context)
        return await self._membership(group_id, position)

    @by_its_name
    async def remove(self, group: UUID | str, call_ids: Sequence[UUID], context: Context) -> Json:
        """Take calls out, all or none; the past stays as it was. Raises NotFound, Rejected."""
        group_id = group_id_in(group)
        position = await self._group_calls.remove_members(group_id, call_ids, context)
        return await self._membership(group_id, position)

    async def link(
        self,
        parent: UUID | str,
        child: UUID | str,
        link_type: LinkType,
        context: Context,
        *,
        position: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Json:
        """Link two groups. `linked` is false when the link stands already. Raises NotFound, Rejected for a cycle."""
        link = GroupLinked(
            parent_group_id=group_id_in(parent),
            child_group_id=group_id_in(child),
            link_type=link_type,
            position=position,
            metadata=dict(metadata or {}),
        )
        at = await self._group_calls.link_groups([link], context)
        return await self._linked(link, "linked", at)

    async def unlink(self, parent: UUID | str, child: UUID | str, link_type: LinkType, context: Context) -> Json:
        """Take a link back. `unlinked` is false when it doesn't stand. Raises Rejected for an unknown type."""
        link = GroupUnlinked(
            parent_group_id=group_id_in(parent), child_group_id=group_id_in(child), link_type=link_type
        )
        at = await self._group_calls.unlink([link], context)
        return await self._linked(link, "unlinked", at)

    @by_its_name
    async def get(self, group: UUID | str, moment: Moment = NOW) -> Json:
        """A group with its number of members. Raises NotFound."""
        position = await self._moments.shown(moment, reads=GROUPS)
        return await self._queries.groups.group(group_id_in(group), as_of=position)

    async def list(
        self, moment: Moment = NOW, page: Paging = FIRST_PAGE, *, group_type: str | None = None, name: str | None = None
    ) -> Json:
        """The groups, of one type or name or all, newest first."""
        position = await self._moments.shown(moment, page, reads=GROUPS)
        return await self._queries.groups.groups(group_type=group_type, name=name, as_of=position, page=page)

    @by_its_name
    async def members(
        self, group: UUID | str, moment: Moment = NOW, page: Paging = FIRST_PAGE, *, role: str | None = None
    ) -> Json:
        """A group's calls, in their order. Raises NotFound."""
        position = await self._moments.shown(moment, page, reads=GROUPS)
        return await self._queries.groups.members(group_id_in(group), role=role, as_of=position, page=page)

    @by_its_name
    async def children(
        self, group: UUID | str, moment: Moment = NOW, page: Paging = FIRST_PAGE, *, link_type: str | None = None
    ) -> Json:
        """The groups that this one links to, each with its link, in their order. Raises NotFound, Rejected."""
        position = await self._moments.shown(moment, page, reads=GROUPS)
        return await self._queries.groups.children(group_id_in(group), link_type=link_type, as_of=position, page=page)

    @by_its_name
    async def parents(
        self, group: UUID | str, moment: Moment = NOW, page: Paging = FIRST_PAGE, *, link_type: str | None = None
    ) -> Json:
        """The groups that link to this one, each with its link. Raises NotFound, Rejected."""
        position = await self._moments.shown(moment, page, reads=GROUPS)
        return await self._queries.groups.parents(group_id_in(group), link_type=link_type, as_of=position, page=page)

    @by_its_name
    async def dependencies(
        self,
        group: UUID | str,
        moment: Moment = NOW,
        page: Paging = FIRST_PAGE,
        *,
        direction: Direction = "up",
        link_type: str | None = "depends_on",
        depth: int = DEFAULT_DEPTH,
    ) -> Json:
        """What a group depends on over many links, or what depends on it; `truncated` when there is more beyond."""
        position = await self._moments.shown(moment, page, reads=GROUPS)
        return await self._queries.groups.dependencies(
            group_id_in(group),
            direction=direction,
            link_type=link_type,
            depth=depth,
            as_of=position,
            page=page,
        )

    async def _linked(self, link: GroupLinked | GroupUnlinked, done: str, position: int | None) -> Json:
        """Whether it was done, once that shows."""
        if position is not None:
            await self._moments.wait_until(position, *GROUPS)
        return {
            "parent_group_id": str(link.parent_group_id),
            "child_group_id": str(link.child_group_id),
            "link_type": link.link_type,
            done: position is not None,
            "position": position,
        }

    async def _membership(self, group_id: UUID, position: int) -> Json:
        group = await self.get(group_id, Moment(at_least=position))
        return {"group_id": group["group_id"], "member_count": group["member_count"], "position": position}


def group_id_in(group: UUID | str) -> UUID:
    """The id of a group that is named by its id or as TYPE/NAME. Raises Rejected."""
    if isinstance(group, UUID) or is_id(group):
        return id_of(group)
    return cast(GroupPlace, group_place(group)).group_id
