"""Questions about groups, as they stood at a position."""

from typing import Any, Literal, get_args
from uuid import UUID

from domain.errors import NotFound, Rejected
from domain.groups import LinkType
from projections.paging import FIRST_PAGE, LATEST, Page, Paging, at_position, last_counted, page_of
from projections.reading import Reader, Row, in_json

Direction = Literal["up", "down", "both"]

UNPLACED = 2**31 - 1  # sorts after every place
DEFAULT_DEPTH = 100
LARGEST_DEPTH = 1000
GROUP = (
    "g.group_id, g.group_type, g.name, coalesce(said.description, g.description) AS description, "
    "coalesce(said.metadata, g.metadata) AS metadata, g.created_at, g.actor, g.position"
)
SAID = """
    LEFT JOIN LATERAL (
        SELECT d.description, d.metadata FROM projections.group_descriptions d
        WHERE d.group_id = g.group_id AND d.position <= %(position)s ORDER BY d.position DESC LIMIT 1
    ) AS said ON true
"""
GROUPS = f"projections.groups g {SAID}"
STANDING = "{0}.added_position <= %(position)s AND coalesce({0}.removed_position > %(position)s, true)"
LINKED = f"{STANDING.format('l')} AND (%(link_type)s::text IS NULL OR l.link_type = %(link_type)s)"

# Each group with its distances from the first one, one link further than asked for, so that it shows whether there are
# more.
WALK = """
    {direction} (group_id, depth) AS (
        SELECT l.{far}, 1 FROM projections.group_links l WHERE l.{near} = %(group_id)s AND {linked}
        UNION
        SELECT l.{far}, w.depth + 1 FROM {direction} w
        JOIN projections.group_links l ON l.{near} = w.group_id AND {linked} WHERE w.depth <= %(depth)s
    )
"""
FOUND = "SELECT '{0}' AS direction, group_id, min(depth) AS depth FROM {0} GROUP BY group_id"
ENDS = {"up": ("parent_group_id", "child_group_id"), "down": ("child_group_id", "parent_group_id")}


class Dependencies(Page[Row], frozen=True, kw_only=True):
    """A page of the groups that were reached, within `depth` links; `truncated` when there are others beyond."""

    depth: int
    truncated: bool


ABOUT = """
    SELECT DISTINCT t.position FROM (
        SELECT unnest(ARRAY[added_position, removed_position]) AS position FROM projections.group_members
        WHERE group_id = %(entity_id)s
        UNION ALL
        SELECT unnest(ARRAY[added_position, removed_position]) FROM projections.group_members
        WHERE call_id = %(entity_id)s
        UNION ALL
        SELECT unnest(ARRAY[added_position, removed_position]) FROM projections.group_links
        WHERE parent_group_id = %(entity_id)s OR child_group_id = %(entity_id)s
    ) AS t
    WHERE t.position > %(after)s AND t.position <= %(until)s ORDER BY t.position LIMIT %(limit)s
"""


class GroupQueries:
    """Asks the tables of groups, members and links."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    @in_json
    async def groups(
        self,
        *,
        group_type: str | None = None,
        name: str | None = None,
        as_of: int | None = None,
        page: Paging = FIRST_PAGE,
    ) -> Page[Row]:
        """Groups, of one type or name or of all, newest first."""
        before = page.after((LATEST,), as_of, tuple[int])[0]
        rows = await self._reader.rows(
            f"SELECT {GROUP} FROM {GROUPS} WHERE g.position <= %(position)s "  # noqa: S608 - our own names
            "AND g.position < %(before)s AND (%(group_type)s::text IS NULL OR g.group_type = %(group_type)s) "
            "AND (%(name)s::text IS NULL OR g.name = %(name)s) ORDER BY g.position DESC LIMIT %(limit)s",
            {
                "position": last_counted(as_of),
                "before": before,
                "group_type": group_type,
                "name": name,
                "limit": page.rows,
            },
        )
        return page_of(rows, page.limit, as_of, lambda row: (row["position"],))

    @in_json
    async def group(self, group_id: UUID, *, as_of: int | None = None) -> Row:
        """One group with its `member_count`. Raises NotFound."""
        row = await self._reader.row(
            f"SELECT {GROUP}, (SELECT count(*) FROM projections.group_members m "  # noqa: S608 - our own names
            f"WHERE m.group_id = g.group_id AND {STANDING.format('m')}) AS member_count "
            f"FROM {GROUPS} WHERE g.group_id = %(group_id)s AND g.position <= %(position)s",
            {"group_id": group_id, "position": last_counted(as_of)},
        )
        if row is None:
            raise _no_group(group_id, as_of)
        return row

    @in_json
    async def members(
        self, group_id: UUID, *, role: str | None = None, as_of: int | None = None, page: Paging = FIRST_PAGE
    ) -> Page[Row]:
        """A group's calls: by their place, those without one last, in the order they were added. Raises NotFound."""
        await self._check(group_id, as_of)
        after = page.after((-UNPLACED, 0, 0), as_of, tuple[int, int, int])
        behind = f"(coalesce(m.place, {UNPLACED}), m.added_position, m.ordinal) > (%(place)s, %(added)s, %(ordinal)s)"
        if after[0] == UNPLACED:
            # The same, so that it shows how many there may be: the planner would sort all the rest of a large group.
            rest = "(m.added_position, m.ordinal) > (%(added)s, %(ordinal)s)"
            behind = f"coalesce(m.place, {UNPLACED}) = {UNPLACED} AND {rest}"
        rows = await self._reader.rows(
            "SELECT m.group_id, m.call_id, m.role, m.place AS position, m.added_at, m.added_position, m.ordinal "  # noqa: S608
            f"FROM projections.group_members m WHERE m.group_id = %(group_id)s AND {STANDING.format('m')} "
            "AND (%(role)s::text IS NULL OR m.role = %(role)s) "
            f"AND {behind} "
            f"ORDER BY coalesce(m.place, {UNPLACED}), m.added_position, m.ordinal LIMIT %(limit)s",
            {
                "group_id": group_id,
                "role": role,
                "position": last_counted(as_of),
                "place": after[0],
                "added": after[1],
                "ordinal": after[2],
                "limit": page.rows,
            },
        )
        found = page_of(rows, page.limit, as_of, lambda row: (*_place_key(row), row["ordinal"]))
        for row in found.items:
            del row["ordinal"]
        return found

    @in_json
    async def children(
        self, group_id: UUID, *, link_type: str | None = None, as_of: int | None = None, page: Paging = FIRST_PAGE
    ) -> Page[Row]:
        """The groups that this one links to, each with its link, in their order. Raises NotFound."""
        return await self._linked(group_id, ("parent_group_id", "child_group_id"), link_type, as_of, page)

    @in_json
    async def parents(
        self, group_id: UUID, *, link_type: str | None = None, as_of: int | None = None, page: Paging = FIRST_PAGE
    ) -> Page[Row]:
        """The groups that link to this one, each with its link. Raises NotFound."""
        return await self._linked(group_id, ("child_group_id", "parent_group_id"), link_type, as_of, page)

    @in_json
    async def dependencies(
        self,
        group_id: UUID,
        *,
        direction: Direction = "up",
        link_type: str | None = "depends_on",
        depth: int = DEFAULT_DEPTH,
        as_of: int | None = None,
        page: Paging = FIRST_PAGE,
    ) -> Dependencies:
        """All groups that this one depends on, over any number of links up to a depth, the nearest first.

        direction: up to what it depends on, down to what depends on it, or both
        link_type: the links to walk, all of them for None: for other types, up is from parent to child as well
        Raises NotFound, and Rejected for an unknown direction or type or a depth out of range.
        """
        _check_link_type(link_type)
        if direction not in get_args(Direction):
            raise Rejected(f"{direction!r} is no direction; use up, down or both", fields=("direction",))
        if not 1 <= depth <= LARGEST_DEPTH:
            raise Rejected(f"depth must be 1 to {LARGEST_DEPTH}, not {depth}", fields=("depth",))
        await self._check(group_id, as_of)
        after = page.after((0, "", 0, UUID(int=0)), as_of, tuple[int, str, int, UUID])
        rows = await self._reader.rows(
            _dependencies_sql(direction),
            {
                "group_id": group_id,
                "link_type": link_type,
                "depth": depth,
                "position": last_counted(as_of),
                "after_depth": after[0],
                "after_direction": after[1],
                "after_position": after[2],
                "after_id": after[3],
                "limit": page.rows,
            },
        )
        truncated = any(row["truncated"] for row in rows)
        found = page_of(
            rows, page.limit, as_of, lambda row: (row["depth"], row["direction"], row["position"] or 0, row["group_id"])
        )
        for row in found.items:
            del row["truncated"]
        return Dependencies(found.items, found.next_cursor, depth=depth, truncated=truncated)

    async def _check(self, group_id: UUID, as_of: int | None) -> None:
        found = await self._reader.row(
            "SELECT 1 FROM projections.groups WHERE group_id = %(group_id)s AND position <= %(position)s",
            {"group_id": group_id, "position": last_counted(as_of)},
        )
        if found is None:
            raise _no_group(group_id, as_of)

    async def _linked(
        self,
        group_id: UUID,
        ends: tuple[str, str],
        link_type: str | None,
        as_of: int | None,
        page: Paging,
    ) -> Page[Row]:
        near, far = ends
        _check_link_type(link_type)
        await self._check(group_id, as_of)
        after = page.after((-UNPLACED, 0), as_of, tuple[int, int])
        parameters: dict[str, Any] = {
            "group_id": group_id,
            "link_type": link_type,
            "position": last_counted(as_of),
            "place": after[0],
            "added": after[1],
            "limit": page.rows,
        }
        rows = await self._reader.rows(
            f"SELECT l.{far} AS group_id, g.group_type, g.name, "  # noqa: S608 - our own names
            "coalesce(said.metadata, g.metadata) AS group_metadata, l.link_type, l.place AS position, l.metadata, "
            "l.created_at, l.added_position FROM projections.group_links l "
            f"LEFT JOIN projections.groups g ON g.group_id = l.{far} {SAID} "
            f"WHERE l.{near} = %(group_id)s AND {LINKED} "
            f"AND (coalesce(l.place, {UNPLACED}), l.added_position) > (%(place)s, %(added)s) "
            f"ORDER BY coalesce(l.place, {UNPLACED}), l.added_position LIMIT %(limit)s",
            parameters,
        )
        return page_of(rows, page.limit, as_of, _place_key)

    async def positions_about(self, entity_id: UUID, *, after: int, until: int, limit: int) -> list[int]:
        """Where the log tells of a group's members and links, or of a call's groups; see the port EventsAbout."""
        rows = await self._reader.rows(ABOUT, {"entity_id": entity_id, "after": after, "until": until, "limit": limit})
        return [row["position"] for row in rows]


def _dependencies_sql(direction: Direction) -> str:
    ways = ("up", "down") if direction == "both" else (direction,)
    walks = ", ".join(WALK.format(direction=way, near=ENDS[way][0], far=ENDS[way][1], linked=LINKED) for way in ways)
    found = " UNION ALL ".join(FOUND.format(way) for way in ways)
    order = "f.depth, f.direction, coalesce(g.position, 0), f.group_id"
    return f"""
        WITH RECURSIVE {walks}, found AS ({found})
        SELECT f.direction, f.depth, f.group_id, g.group_type, g.name, coalesce(said.metadata, g.metadata) AS metadata,
            g.position, EXISTS (SELECT FROM found WHERE depth > %(depth)s) AS truncated
        FROM found f LEFT JOIN projections.groups g ON g.group_id = f.group_id {SAID}
        WHERE f.depth <= %(depth)s
            AND ({order}) > (%(after_depth)s, %(after_direction)s::text, %(after_position)s, %(after_id)s)
        ORDER BY {order} LIMIT %(limit)s
    """  # noqa: S608 - our own names


def _check_link_type(link_type: str | None) -> None:
    if link_type is not None and link_type not in get_args(LinkType):
        raise Rejected(
            f"{link_type!r} is no link type; use one of {', '.join(get_args(LinkType))}", fields=("link_type",)
        )


def _no_group(group_id: UUID, as_of: int | None) -> NotFound:
    return NotFound(f"There is no group {group_id}{at_position(as_of)}; `study group list` shows the ones there are")


def _place_key(row: Row) -> tuple[int, int]:
    place = row["position"]
    return (UNPLACED if place is None else place, row["added_position"])
