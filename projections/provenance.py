"""Where things came from and what was made of them: walks over the read models, as of a position.

A walk goes level by level; each way is one query for all things of a level that it leads on from. What fans out wide
is shown by its first few things and their number, and can be read on page by page.
"""

import functools
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import psycopg
from msgspec import Struct
from msgspec.structs import replace
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from domain.errors import NotFound, Rejected
from domain.provenance import Direction, Graph, Key, Kind, Link, Node, Thing, thing_of
from projections.paging import FIRST_PAGE, Page, Paging, at_position, key_of, last_counted, page_of
from projections.provenance_down import DOWN
from projections.provenance_sql import (
    behind_parameters,
    count_sql,
    key_of_texts,
    keys_of,
    known_sql,
    page_sql,
    ways_sql,
)
from projections.provenance_up import UP
from projections.provenance_way import Way
from projections.reading import Row, connected

WAYS = (*UP, *DOWN)
FEW = 5
MOST_FEW = 100
DEPTH = 10
LARGEST_DEPTH = 20
MOST_NODES = 2_000
COUNTED_TO = 10_000
CHOSEN_K = "SELECT chosen_k FROM projections.sweeps WHERE sweep_id = %(sweep_id)s AND finished_position <= %(position)s"
DIRECTIONS: dict[str, tuple[Direction, ...]] = {"up": ("up",), "down": ("down",), "both": ("up", "down")}


class Bounds(Struct, frozen=True, kw_only=True):
    """How far a walk goes: so many steps from the root, and so many things on each way."""

    depth: int = DEPTH
    few: int = FEW

    def check(self) -> None:
        """Raises Rejected."""
        if not 0 <= self.depth <= LARGEST_DEPTH:
            raise Rejected(f"depth must be 0 to {LARGEST_DEPTH}, not {self.depth}", fields=("depth",))
        if not 1 <= self.few <= MOST_FEW:
            raise Rejected(f"few must be 1 to {MOST_FEW}, not {self.few}", fields=("few",))


class ProvenanceQueries:
    """Walks."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def graph(
        self,
        kind: str,
        written: str,
        *,
        direction: Literal["up", "down", "both"] = "up",
        bounds: Bounds = Bounds(),  # noqa: B008 - it can't be changed
        as_of: int | None = None,
    ) -> Graph:
        """What a thing came from, what was made of it, or both, each apart. Raises NotFound, Rejected."""
        bounds.check()
        if direction not in DIRECTIONS:
            raise Rejected(f"{direction!r} is no direction; use up, down or both", fields=("direction",))
        asked = thing_of(kind, written)
        async with self._walk(as_of) as walk:
            root = await walk.begun(asked)
            if root is None:
                raise _nothing(kind, written, as_of)
            for one in DIRECTIONS[direction]:
                await walk.go(root, one, bounds)
            return Graph(root=root, nodes=walk.nodes, complete=walk.complete)

    async def linked(
        self, kind: str, written: str, name: str, *, as_of: int | None = None, page: Paging = FIRST_PAGE
    ) -> Page[Node]:
        """The things that one way leads to, page by page. Raises NotFound, Rejected for a way that there isn't."""
        asked = thing_of(kind, written)
        way = next((each for each in WAYS if (each.kind, each.name) == (kind, name)), None)
        if way is None:
            names = ", ".join(each.name for each in WAYS if each.kind == kind)
            raise Rejected(f"No way {name[:40]!r} leads from a {kind}; there are {names}", fields=("name",))
        async with self._walk(as_of) as walk:
            root = await walk.begun(asked)
            if root is None:
                raise _nothing(kind, written, as_of)
            after = None if page.cursor is None else key_of(page.cursor, tuple[Any, ...], as_of)
            rows = await walk.follow(way, root, page.rows, after)
            found = page_of(
                rows, page.limit, as_of, lambda row: tuple(row[f"s{n}"] for n in range(1, len(way.sort) + 1))
            )
            things = [_target(way, row) for row in found.items]
            await walk.load(things)
            return Page([walk.nodes[thing] for thing in things], found.next_cursor)

    @asynccontextmanager
    async def _walk(self, as_of: int | None) -> AsyncIterator["_Walk"]:
        async with connected(self._pool) as connection:
            yield _Walk(connection, last_counted(as_of))


class _Walk:
    """One walk, on one connection: a level's questions are sent together, since they don't wait for each other."""

    def __init__(self, connection: psycopg.AsyncConnection[Any], position: int) -> None:
        self._connection = connection
        self._position = position
        self.nodes: dict[Thing, Node] = {}
        self.complete = True

    async def begun(self, asked: Thing) -> Thing | None:
        """The thing to begin at, once it is found; a cluster without its K is one of the chosen K."""
        root: Thing | None = asked
        if None in asked.key:
            root = await self._of_chosen_k(asked)
        if root is None:
            return None
        await self.load([root])
        return root if self.nodes[root].found else None

    async def go(self, root: Thing, direction: Direction, bounds: Bounds) -> None:
        """Look further and further in one direction."""
        frontier = [root]
        for steps_left in range(bounds.depth, -1, -1):
            reached = await self._level(frontier, direction if steps_left else None, bounds.few)
            frontier = [thing for thing in reached if thing not in self.nodes]
            room = MOST_NODES - len(self.nodes)
            if len(frontier) > room:
                self.complete = False
                frontier = frontier[:room]
            if not frontier:
                break
        self.complete = self.complete and all(node.links is not None for node in self.nodes.values())

    async def load(self, things: Sequence[Thing]) -> None:
        """Read what is known of things."""
        await self._level(things, None, 1)

    async def follow(self, way: Way, thing: Thing, limit: int, after: Key | None) -> list[Row]:
        """Where a way leads from a thing: t1 …, role and s1 …, the first `limit` behind a key."""
        parameters = {**keys_of(way.kind, [thing]), "limit": limit, **behind_parameters(after)}
        return (await self._rows((page_sql(way, after), parameters)))[0]

    async def _level(self, things: Sequence[Thing], direction: Direction | None, few: int) -> list[Thing]:
        """Read what is known of things and, unless the walk ends here, where they lead; what they lead to."""
        same = _by_kind(things)
        fresh = {kind: [thing for thing in found if thing not in self.nodes] for kind, found in same}
        ways = {kind: _ways(kind, direction) for kind, _ in same}
        known = [(kind, found) for kind, found in fresh.items() if found]
        leading = [(kind, found) for kind, found in same if ways[kind]]
        rows = await self._rows(
            *((known_sql(kind), keys_of(kind, found)) for kind, found in known),
            *((ways_sql(ways[kind]), {**keys_of(kind, found), "limit": few + 1}) for kind, found in leading),
        )
        for (_, found), answer in zip(known, rows[: len(known)], strict=True):
            self._note(found, answer)
        answers = zip(leading, rows[len(known) :], strict=True)
        seen = [_Seen(ways[kind], found, few, answer) for (kind, found), answer in answers]
        await self._count([each for each in seen if each.wide])
        if direction is not None:
            for thing in things:
                self.nodes[thing] = replace(self.nodes[thing], links=self.nodes[thing].links or ())
        return [thing for each in seen for thing in self._link(each)]

    def _note(self, things: Sequence[Thing], rows: list[Row]) -> None:
        for thing in things:
            self.nodes[thing] = Node(thing=thing, label=f"{thing.kind} {thing.id}", found=False)
        for row in rows:
            thing = things[row.pop("n") - 1]
            known = {name: row.pop(name) for name in ("label", "at", "ended_at", "position", "actor")}
            facts = {name: value for name, value in row.items() if value is not None}
            self.nodes[thing] = Node(thing=thing, facts=facts, **known)

    async def _count(self, seen: Sequence["_Seen"]) -> None:
        """Count where there is more than was seen, up to a bound, and one more if there are more."""
        wide = [(each, number, origins) for each in seen for number, origins in each.wide.items()]
        statements = [
            (count_sql(each.ways[number]), {**keys_of(each.ways[number].kind, origins), "most": COUNTED_TO + 1})
            for each, number, origins in wide
        ]
        for (each, number, origins), rows in zip(wide, await self._rows(*statements), strict=True):
            for row in rows:
                each.counts[origins[row["n"] - 1], number] = row["count"]

    def _link(self, seen: "_Seen") -> list[Thing]:
        """Write on things where they lead, and return what that is."""
        reached: list[Thing] = []
        for (origin, number), found in seen.found.items():
            node = self.nodes[origin]
            if node.found:
                link = _link(seen.ways[number], found, seen.counts.get((origin, number), len(found)))
                self.nodes[origin] = replace(node, links=(*(node.links or ()), link))
                reached += found
        return reached

    async def _of_chosen_k(self, asked: Thing) -> Thing | None:
        sweep_id, _, cluster = asked.key
        rows = (await self._rows((CHOSEN_K, {"sweep_id": sweep_id})))[0]
        return Thing("cluster", (sweep_id, rows[0]["chosen_k"], cluster)) if rows else None

    async def _rows(self, *statements: tuple[str, dict[str, Any]]) -> list[list[Row]]:
        """The rows of each statement, all sent before the first answer is waited for."""
        async with self._connection.pipeline():
            cursors = [self._connection.cursor(row_factory=dict_row) for _ in statements]
            for cursor, (sql, parameters) in zip(cursors, statements, strict=True):
                await cursor.execute(sql.encode(), {**parameters, "position": self._position})
            return [await cursor.fetchall() for cursor in cursors]


class _Seen:
    """The first few things that some ways lead to from things of one kind, and where there are more."""

    def __init__(self, ways: Sequence[Way], origins: Sequence[Thing], few: int, rows: list[Row]) -> None:
        self.ways = ways
        self.found: dict[tuple[Thing, int], dict[Thing, str | None]] = {}
        self.wide: dict[int, list[Thing]] = {}
        self.counts: dict[tuple[Thing, int], int] = {}
        for row in rows:
            origin, number = origins[row["n"] - 1], row["way"]
            seen = self.found.setdefault((origin, number), {})
            thing = Thing(ways[number].to, key_of_texts(ways[number].to, row["key"]))
            if thing in seen:
                continue
            if len(seen) == few:
                self.wide.setdefault(number, []).append(origin)
            else:
                seen[thing] = row["role"]


def _nothing(kind: str, written: str, as_of: int | None) -> NotFound:
    return NotFound(f"There is no {kind} {written.strip('/')[:200]}{at_position(as_of)}")


@functools.cache
def _ways(kind: Kind, direction: Direction | None) -> tuple[Way, ...]:
    return tuple(way for way in WAYS if (way.kind, way.direction) == (kind, direction))


def _by_kind(things: Iterable[Thing]) -> list[tuple[Kind, list[Thing]]]:
    found: dict[Kind, list[Thing]] = {}
    for thing in things:
        found.setdefault(thing.kind, []).append(thing)
    return list(found.items())


def _target(way: Way, row: Row) -> Thing:
    return Thing(way.to, tuple(row[f"t{n}"] for n in range(1, len(way.key) + 1)))


def _link(way: Way, seen: dict[Thing, str | None], count: int) -> Link:
    return Link(
        name=way.name,
        direction=way.direction,
        relation=way.relation,
        to=way.to,
        things=tuple(seen),
        roles=tuple(seen.values()),
        against=way.against,
        count=min(count, COUNTED_TO),
        counted_all=count <= COUNTED_TO,
    )
