"""Groups as objects: who is in them, and how they hang together."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, Protocol
from uuid import UUID

from anyio.from_thread import BlockingPortal

from domain.groups import LinkType, Member
from interfaces.as_of import AsOf, Moment
from interfaces.study import Json
from interfaces.study import Study as Wired
from interfaces.study.words import id_of
from projections.group_queries import DEFAULT_DEPTH, Direction
from projections.paging import LARGEST_PAGE, Paging
from study_query_llm.notebook.pages import MOST_ROWS, group_page
from study_query_llm.results import Rows


class Called(Protocol):
    """An answer, which knows its call."""

    @property
    def call_id(self) -> UUID:
        """The call's id."""


CallRef = UUID | str | Called


class Walk(Rows):
    """The groups that were reached, the nearest first; `truncated` when there are others beyond the depth."""

    truncated = False


class AsyncGroup:
    """A group, for code that runs in an event loop."""

    def __init__(self, wired: Wired, group_id: UUID, group_type: str, name: str) -> None:
        self._wired = wired
        self.group_id = group_id
        self.group_type = group_type
        self.name = name

    def __repr__(self) -> str:
        return f"<Group {self.group_type}/{self.name}>"

    async def show(self, *, as_of: AsOf | None = None) -> Json:
        """Description, metadata and the number of members, as of a time or position. Raises NotFound."""
        return await self._wired.groups.get(self.group_id, Moment(as_of))

    async def describe(self, *, description: str | None = None, metadata: Mapping[str, Any] | None = None) -> Json:
        """Change the description, or some of the metadata: a key with None is taken out. Raises Rejected."""
        return await self._wired.groups.describe(
            self.group_id,
            self._wired.context(),
            description=description,
            metadata=None if metadata is None else dict(metadata),
        )

    async def add(
        self, calls: CallRef | Iterable[CallRef], *, role: str | None = None, position: int | None = None
    ) -> int:
        """Add calls, all or none, and return the position in the log; who is a member already stays as it is.

        calls: ids or answers. position: the place of the first one; the others follow. Raises Rejected.
        """
        members = [
            Member(call_id=call_id, role=role, position=None if position is None else position + number)
            for number, call_id in enumerate(_call_ids(calls))
        ]
        added = await self._wired.groups.add(self.group_id, members, self._wired.context())
        return int(added["position"])

    async def remove(self, calls: CallRef | Iterable[CallRef]) -> int:
        """Take calls out, all or none, and return the position in the log. Raises Rejected."""
        removed = await self._wired.groups.remove(self.group_id, _call_ids(calls), self._wired.context())
        return int(removed["position"])

    async def link(
        self,
        child: "AsyncGroup | Group | UUID | str",
        link_type: LinkType,
        *,
        position: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> bool:
        """Link to another group; False when the link stands already. Raises NotFound, Rejected for a cycle."""
        linked = await self._wired.groups.link(
            self.group_id, _named(child), link_type, self._wired.context(), position=position, metadata=metadata
        )
        return bool(linked["linked"])

    async def unlink(self, child: "AsyncGroup | Group | UUID | str", link_type: LinkType) -> bool:
        """Take a link back; False when it doesn't stand."""
        unlinked = await self._wired.groups.unlink(self.group_id, _named(child), link_type, self._wired.context())
        return bool(unlinked["unlinked"])

    async def members(self, *, role: str | None = None, as_of: AsOf | None = None, limit: int | None = None) -> Rows:
        """The calls, by their position, then as they were added; all of them, or the first `limit`."""
        return await _rows(partial(self._wired.groups.members, self.group_id, Moment(as_of), role=role), limit)

    async def children(
        self, *, link_type: str | None = None, as_of: AsOf | None = None, limit: int | None = None
    ) -> Rows:
        """The groups that this one links to, each with its link, in their order."""
        return await _rows(
            partial(self._wired.groups.children, self.group_id, Moment(as_of), link_type=link_type), limit
        )

    async def parents(
        self, *, link_type: str | None = None, as_of: AsOf | None = None, limit: int | None = None
    ) -> Rows:
        """The groups that link to this one, each with its link."""
        return await _rows(
            partial(self._wired.groups.parents, self.group_id, Moment(as_of), link_type=link_type), limit
        )

    async def steps(self, *, as_of: AsOf | None = None, limit: int | None = None) -> Rows:
        """The children by links of type step, in their order."""
        return await self.children(link_type="step", as_of=as_of, limit=limit)

    async def dependencies(
        self,
        *,
        direction: Direction = "up",
        link_type: str | None = "depends_on",
        depth: int = DEFAULT_DEPTH,
        as_of: AsOf | None = None,
    ) -> Walk:
        """Everything this group depends on (up), or that depends on it (down), the nearest first. Raises Rejected.

        link_type: the links to walk, all of them for None
        """
        walk = Walk()

        async def listed(page: Paging) -> Json:
            found = await self._wired.groups.dependencies(
                self.group_id, Moment(as_of), page, direction=direction, link_type=link_type, depth=depth
            )
            walk.truncated = found["truncated"]
            return found

        walk.extend(await _rows(listed, None))
        return walk


class Group:
    """A group, for ordinary code: each method is AsyncGroup's, run in a background loop."""

    def __init__(self, portal: BlockingPortal, group: AsyncGroup) -> None:
        self._portal = portal
        self._group = group

    @property
    def group_id(self) -> UUID:
        """The id, made of type and name."""
        return self._group.group_id

    @property
    def group_type(self) -> str:
        """The type."""
        return self._group.group_type

    @property
    def name(self) -> str:
        """The name, unique among the groups of this type."""
        return self._group.name

    def __repr__(self) -> str:
        return repr(self._group)

    def _repr_html_(self) -> str | None:
        try:
            return group_page(self.show(), self.children(limit=MOST_ROWS))
        except RuntimeError:  # the study is closed, and nobody can be asked
            return None

    def show(self, **options: Any) -> Json:
        """See AsyncGroup.show."""
        return self._portal.call(partial(self._group.show, **options))

    def describe(self, **options: Any) -> Json:
        """See AsyncGroup.describe."""
        return self._portal.call(partial(self._group.describe, **options))

    def add(self, calls: CallRef | Iterable[CallRef], **options: Any) -> int:
        """See AsyncGroup.add."""
        return self._portal.call(partial(self._group.add, calls, **options))

    def remove(self, calls: CallRef | Iterable[CallRef]) -> int:
        """See AsyncGroup.remove."""
        return self._portal.call(self._group.remove, calls)

    def link(self, child: "Group | UUID | str", link_type: LinkType, **options: Any) -> bool:
        """See AsyncGroup.link."""
        return self._portal.call(partial(self._group.link, child, link_type, **options))

    def unlink(self, child: "Group | UUID | str", link_type: LinkType) -> bool:
        """See AsyncGroup.unlink."""
        return self._portal.call(self._group.unlink, child, link_type)

    def members(self, **options: Any) -> Rows:
        """See AsyncGroup.members."""
        return self._portal.call(partial(self._group.members, **options))

    def children(self, **options: Any) -> Rows:
        """See AsyncGroup.children."""
        return self._portal.call(partial(self._group.children, **options))

    def parents(self, **options: Any) -> Rows:
        """See AsyncGroup.parents."""
        return self._portal.call(partial(self._group.parents, **options))

    def steps(self, **options: Any) -> Rows:
        """See AsyncGroup.steps."""
        return self._portal.call(partial(self._group.steps, **options))

    def dependencies(self, **options: Any) -> Walk:
        """See AsyncGroup.dependencies."""
        return self._portal.call(partial(self._group.dependencies, **options))


async def _rows(listed: Callable[..., Awaitable[Json]], limit: int | None) -> Rows:
    """All rows of a list, page by page, or the first `limit`."""
    rows, cursor = Rows(), None
    while limit is None or len(rows) < limit:
        size = LARGEST_PAGE if limit is None else min(LARGEST_PAGE, limit - len(rows))
        found = await listed(page=Paging(size, cursor))
        rows += found["items"]
        cursor = found["next_cursor"]
        if cursor is None:
            break
    return rows


def _call_ids(calls: CallRef | Iterable[CallRef]) -> list[UUID]:
    several = [calls] if isinstance(calls, UUID | str) or not isinstance(calls, Iterable) else calls
    return [id_of(call if isinstance(call, UUID | str) else call.call_id) for call in several]


def _named(group: "AsyncGroup | Group | UUID | str") -> UUID | str:
    return group.group_id if isinstance(group, AsyncGroup | Group) else group
