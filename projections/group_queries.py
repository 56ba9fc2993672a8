"""Questions about groups, as they stood at a position."""

from typing import Any
from uuid import UUID

from domain.errors import NotFound
from projections.paging import LATEST, Page, at_position, checked_limit, key_of, last_counted, page_of
from projections.reading import Reader, Row

UNPLACED = 2**31 - 1  # sorts after every place
GROUP = "g.group_id, g.group_type, g.name, g.description, g.metadata, g.created_at, g.actor, g.position"
STANDING = "{0}.added_position <= %(position)s AND coalesce({0}.removed_position > %(position)s, true)"


class GroupQueries:
    """Asks the tables of groups, members and links."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def groups(
        self, *, group_type: str | None = None, as_of: int | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page[Row]:
        """Groups, of one type or of all, newest first."""
        before = LATEST if cursor is None else key_of(cursor, tuple[int], as_of)[0]
        rows = await self._reader.rows(
            f"SELECT {GROUP} FROM projections.groups g WHERE g.position <= %(position)s "  # noqa: S608 - our own names
            "AND g.position < %(before)s AND (%(group_type)s::text IS NULL OR g.group_type = %(group_type)s) "
            "ORDER BY g.position DESC LIMIT %(limit)s",
            {
                "position": last_counted(as_of),
                "before": before,
                "group_type": group_type,
                "limit": checked_limit(limit) + 1,
            },
        )
        return page_of(rows, limit, as_of, lambda row: (row["position"],))

    async def group(self, group_id: UUID, *, as_of: int | None = None) -> Row:
        """One group with its `member_count`. Raises NotFound."""
        row = await self._reader.row(
            f"SELECT {GROUP}, (SELECT count(*) FROM projections.group_members m "  # noqa: S608 - our own names
            f"WHERE m.group_id = g.group_id AND {STANDING.format('m')}) AS member_count "
            "FROM projections.groups g WHERE g.group_id = %(group_id)s AND g.position <= %(position)s",
            {"group_id": group_id, "position": last_counted(as_of)},
        )
        if row is None:
            raise NotFound(f"There is no group {group_id}{at_position(as_of)}")
        return row

    async def group_named(self, group_type: str, name: str, *, as_of: int | None = None) -> Row:
        """The one group of this type and name. Raises NotFound."""
        row = await self._reader.row(
            "SELECT group_id FROM projections.groups "
            "WHERE group_type = %(group_type)s AND name = %(name)s AND position <= %(position)s",
            {"group_type": group_type, "name": name, "position": last_counted(as_of)},
        )
        if row is None:
            raise NotFound(
                f"There is no group {group_type}/{name}{at_position(as_of)}; "
                "`study group list` shows the ones there are"
            )
        return await self.group(row["group_id"], as_of=as_of)

    async def members(
        self, group_id: UUID, *, as_of: int | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page[Row]:
        """A group's calls: by their place, those without one last, in the order they were added. Raises NotFound."""
        await self.group(group_id, as_of=as_of)
        after = (-UNPLACED, 0, 0) if cursor is None else key_of(cursor, tuple[int, int, int], as_of)
        rows = await self._reader.rows(
            "SELECT m.group_id, m.call_id, m.role, m.place AS position, m.added_at, m.added_position, m.ordinal "  # noqa: S608
            f"FROM projections.group_members m WHERE m.group_id = %(group_id)s AND {STANDING.format('m')} "
            f"AND (coalesce(m.place, {UNPLACED}), m.added_position, m.ordinal) > (%(place)s, %(added)s, %(ordinal)s) "
            f"ORDER BY coalesce(m.place, {UNPLACED}), m.added_position, m.ordinal LIMIT %(limit)s",
            {
                "group_id": group_id,
                "position": last_counted(as_of),
                "place": after[0],
                "added": after[1],
                "ordinal": after[2],
                "limit": checked_limit(limit) + 1,
            },
        )
        page = page_of(rows, limit, as_of, _member_key)
        for row in page.items:
            del row["ordinal"]
        return page

    async def children(self, group_id: UUID, *, link_type: str | None = None, as_of: int | None = None) -> list[Row]:
        """The groups that this one links to, each with its link, in their order. Raises NotFound."""
        return await self._linked(group_id, "parent_group_id", "child_group_id", link_type, as_of)

    async def parents(self, group_id: UUID, *, link_type: str | None = None, as_of: int | None = None) -> list[Row]:
        """The groups that link to this one, each with its link. Raises NotFound."""
        return await self._linked(group_id, "child_group_id", "parent_group_id", link_type, as_of)

    async def steps(self, group_id: UUID, *, as_of: int | None = None) -> list[Row]:
        """The steps of a run, in their order. Raises NotFound."""
        return await self.children(group_id, link_type="step", as_of=as_of)

    async def dependencies(self, group_id: UUID, *, as_of: int | None = None) -> list[Row]:
        """The groups that this one depends on. Raises NotFound."""
        return await self.children(group_id, link_type="depends_on", as_of=as_of)

    async def links(self, *, as_of: int | None = None) -> list[Row]:
        """All links, oldest first: what walking the graph needs."""
        return await self._reader.rows(
            "SELECT l.parent_group_id, l.child_group_id, l.link_type, l.place AS position, l.metadata, l.created_at "  # noqa: S608
            f"FROM projections.group_links l WHERE {STANDING.format('l')} ORDER BY l.added_position",
            {"position": last_counted(as_of)},
        )

    async def _linked(self, group_id: UUID, near: str, far: str, link_type: str | None, as_of: int | None) -> list[Row]:
        await self.group(group_id, as_of=as_of)
        parameters: dict[str, Any] = {"group_id": group_id, "link_type": link_type, "position": last_counted(as_of)}
        return await self._reader.rows(
            f"SELECT l.{far} AS group_id, g.group_type, g.name, g.metadata AS group_metadata, l.link_type, "  # noqa: S608
            f"l.place AS position, l.metadata, l.created_at FROM projections.group_links l "
            f"LEFT JOIN projections.groups g ON g.group_id = l.{far} "
            f"WHERE l.{near} = %(group_id)s AND {STANDING.format('l')} "
            "AND (%(link_type)s::text IS NULL OR l.link_type = %(link_type)s) "
            "ORDER BY l.place NULLS LAST, l.added_position",
            parameters,
        )


def _member_key(row: Row) -> tuple[int, int, int]:
    place = row["position"]
    return (UNPLACED if place is None else place, row["added_position"], row["ordinal"])
