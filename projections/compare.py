"""Whether two copies of a table hold the same rows, and which rows they don't agree on."""

from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import islice
from typing import Any, Literal, NamedTuple

import psycopg
from msgspec import Struct

from projections.read_model import Table

DIFFERENCES_NAMED = 20


class Checksum(NamedTuple):
    """Of a whole table: the number of rows and the sum of their hashes."""

    rows: int
    digest: str


class Difference(Struct, frozen=True, kw_only=True):
    """A row on which live and replayed tables don't agree, by its key.

    missing: the replay has it, the live table has not. extra: the other way round. different: both have it.
    """

    key: str
    kind: Literal["missing", "extra", "different"]


def checksum(connection: psycopg.Connection[Any], schema: str, table: Table) -> Checksum:
    """Count and order-independent checksum of a table's rows."""
    row = connection.execute(
        f"SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)::text FROM {schema}.{table.name} t".encode()  # noqa: S608
    ).fetchone()
    return Checksum(*row) if row else Checksum(0, "0")


def differences(
    live: psycopg.Connection[Any], live_schema: str, fresh: psycopg.Connection[Any], fresh_schema: str, table: Table
) -> tuple[Difference, ...]:
    """The first rows, in the order of their keys, on which the two don't agree."""
    with (
        live.transaction(),
        fresh.transaction(),
        closing(_hashes(live, live_schema, table)) as kept,
        closing(_hashes(fresh, fresh_schema, table)) as replayed,
    ):
        return tuple(islice(_merge(kept, replayed), DIFFERENCES_NAMED))


def _hashes(connection: psycopg.Connection[Any], schema: str, table: Table) -> Generator[tuple[str, int], None, None]:
    """(key, row hash) in the order of the key's characters, which is Python's order of strings too."""
    key = f"""concat_ws('/', {", ".join(f"t.{name}::text" for name in table.key)}) COLLATE "C" """
    with connection.cursor(name=f"rows_of_{schema}") as cursor:
        cursor.itersize = 10_000
        cursor.execute(
            f"SELECT {key} AS key, hashtextextended(t::text, 0) FROM {schema}.{table.name} t ORDER BY 1".encode()  # noqa: S608
        )
        yield from cursor


def _merge(live: Iterator[tuple[str, int]], fresh: Iterator[tuple[str, int]]) -> Iterator[Difference]:
    kept, replayed = next(live, None), next(fresh, None)
    while kept is not None or replayed is not None:
        if replayed is None or (kept is not None and kept[0] < replayed[0]):
            assert kept is not None  # noqa: S101 - one of the two is left
            yield Difference(key=kept[0], kind="extra")
            kept = next(live, None)
        elif kept is None or replayed[0] < kept[0]:
            yield Difference(key=replayed[0], kind="missing")
            replayed = next(fresh, None)
        else:
            if kept[1] != replayed[1]:
                yield Difference(key=kept[0], kind="different")
            kept, replayed = next(live, None), next(fresh, None)
