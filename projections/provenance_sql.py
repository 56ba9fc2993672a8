"""The statements of a walk: one for what is known of things of a kind, one for where all ways of a kind lead."""

import functools
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from domain.provenance import PARTS, Key, Kind, Thing
from projections.provenance_nodes import NODES
from projections.provenance_way import Way

SQL_TYPES: dict[type, str] = {UUID: "uuid", int: "int", str: "text"}


def known_sql(kind: Kind) -> str:
    """What is known of things of a kind."""
    return f"WITH {_asked(kind)} {NODES[kind]}"


def page_sql(way: Way, after: Key | None) -> str:
    """Where a way leads from one thing: t1 …, role and s1 …, in order, behind a key."""
    return (
        f"WITH {_asked(way.kind)} SELECT found.* FROM asked CROSS JOIN LATERAL "  # noqa: S608 - our own names
        f"({_selected(way)} {_behind(way, after)} ORDER BY {_sorted(way)} LIMIT %(limit)s) AS found "
        f"ORDER BY {_sorted(way)}"
    )


def count_sql(way: Way) -> str:
    """How many things a way leads to, up to %(most)s."""
    return (
        f"WITH {_asked(way.kind)} SELECT asked.n, found.count FROM asked CROSS JOIN LATERAL "  # noqa: S608
        f"(SELECT count(*) FROM (SELECT FROM {way.source} LIMIT %(most)s) AS counted) AS found"
    )


def key_of_texts(kind: Kind, texts: Sequence[str]) -> Key:
    """An id's parts, from the texts that `ways_sql` gives."""
    return tuple(part(text) for part, text in zip(PARTS[kind], texts, strict=True))


def _asked(kind: Kind) -> str:
    arrays = [f"%(k{n})s::{SQL_TYPES[part]}[]" for n, part in enumerate(PARTS[kind], start=1)]
    names = [f"k{n}" for n in range(1, len(arrays) + 1)]
    rows = f"unnest({', '.join(arrays)}) WITH ORDINALITY AS u ({', '.join(names)}, n)"
    return f"asked AS (SELECT * FROM {rows})"  # noqa: S608 - our own names


def keys_of(kind: Kind, things: Sequence[Thing]) -> dict[str, Any]:
    """The things that a statement asks about, as its parameters."""
    return {f"k{n + 1}": [thing.key[n] for thing in things] for n in range(len(PARTS[kind]))}


@functools.cache
def ways_sql(ways: tuple[Way, ...]) -> str:
    """Where several ways of one kind lead, in one statement: the number of the way, asked.n, key, role, in order."""
    branches = [
        f"SELECT {number} AS way, asked.n, found.key, found.role, found.r FROM asked CROSS JOIN LATERAL "  # noqa: S608
        f"(SELECT ARRAY[{', '.join(f't{n}::text' for n in range(1, len(way.key) + 1))}] AS key, role, "
        f"row_number() OVER (ORDER BY {_sorted(way)}) AS r FROM "
        f"({_selected(way)} ORDER BY {_sorted(way)} LIMIT %(limit)s) AS first) AS found"
        for number, way in enumerate(ways)
    ]
    return f"WITH {_asked(ways[0].kind)} {' UNION ALL '.join(branches)} ORDER BY n, way, r"


def _selected(way: Way) -> str:
    keys = [f"{part} AS t{n}" for n, part in enumerate(way.key, start=1)]
    sorts = [f"{part} AS s{n}" for n, part in enumerate(way.sort, start=1)]
    columns = ", ".join([*keys, f"{way.role} AS role", *sorts])
    return f"SELECT * FROM (SELECT {columns} FROM {way.source}) AS every"  # noqa: S608 - our own names


def _sorted(way: Way) -> str:
    return ", ".join(f"s{n}" for n in range(1, len(way.sort) + 1))


def _behind(way: Way, after: Key | None) -> str:
    """The condition that a page goes on behind a key; also in the words that an index knows, if it knows fewer."""
    if after is None:
        return ""

    def row(names: Iterable[str]) -> str:
        return f"({', '.join(names)})"

    def compared(count: int, operator: str) -> str:
        numbers = range(1, count + 1)
        return f"{row(f's{n}' for n in numbers)} {operator} {row(f'%(a{n})s' for n in numbers)}"

    indexed = f" AND {compared(way.prefix, '>=')}" if way.prefix else ""
    return f"WHERE {compared(len(way.sort), '>')}{indexed}"


def behind_parameters(after: Key | None) -> dict[str, Any]:
    """The key that a page goes on behind, as `page_sql` names it."""
    return {f"a{n}": value for n, value in enumerate(after or (), start=1)}
