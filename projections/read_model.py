"""What a read model is: tables, the facts that fill them, and the views that people read.

Rows depend on events alone: no clock, no chance, no body of a payload. So a rebuild gives the same rows, however the
log was cut into batches.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
import psycopg
from msgspec import Struct
from psycopg.adapt import Dumper
from psycopg.postgres import types
from psycopg.pq import Format

from domain.events import Fact, RecordedEvent
from domain.identity import canonical_json, sha256_hex

Rows = Sequence[tuple[Any, ...]]

FEWEST_ROWS_TO_COPY = 50


class Step(Protocol):
    """Part of what a batch of events does to a generation's tables."""

    def apply(self, cursor: psycopg.Cursor[Any], schema: str) -> None:
        """Write the rows, in the batch's transaction."""


class Change(NamedTuple):
    """One set-based statement and its columns; `{schema}` stands for the generation's schema.

    kinds: the columns' types when the rows travel by COPY; none when the statement unnests them.
    """

    sql: str
    columns: list[list[Any]]
    kinds: tuple[str, ...] = ()

    def apply(self, cursor: psycopg.Cursor[Any], schema: str) -> None:
        """Write the rows into a generation's tables."""
        sql = self.sql.replace("{schema}", schema).encode()
        if not self.kinds:
            cursor.execute(sql, self.columns)
            return
        with cursor.copy(sql) as copy:
            copy.set_types(self.kinds)
            for row in zip(*self.columns, strict=True):
                copy.write_row(row)


class Table(Struct, frozen=True, kw_only=True):
    """A table of every generation. Columns map a name to its SQL type, NOT NULL included."""

    name: str
    columns: dict[str, str]
    key: tuple[str, ...]
    indexes: tuple[str, ...] = ()  # what follows ON table: "(provider, model)", "(position) WHERE ended IS NULL"

    def statement(self, schema: str) -> str:
        """What creates the table, with its key, in a schema."""
        columns = ", ".join(f"{name} {kind}" for name, kind in self.columns.items())
        return f"CREATE TABLE {schema}.{self.name} ({columns}, PRIMARY KEY ({', '.join(self.key)}))"

    def index_statements(self, schema: str) -> list[str]:
        """What creates the other indexes, unless they are there."""
        return [
            f"CREATE INDEX IF NOT EXISTS {self.name}_{number} ON {schema}.{self.name} {index}"
            for number, index in enumerate(self.indexes, start=1)
        ]


class View(Struct, frozen=True, kw_only=True):
    """A view in schema `study` over the live generation, whose schema is `{schema}`."""

    name: str
    select: str


class ReadModel(Struct, frozen=True, kw_only=True):
    """A read model. Raise `version` when `changes` gives other rows for the same events: that rebuilds it.

    missing_indexes: statements for indexes that depend on the rows of a generation, given its schema
    """

    name: str
    version: int
    reads: tuple[type[Fact], ...]
    tables: tuple[Table, ...]
    views: tuple[View, ...]
    changes: Callable[[Sequence[RecordedEvent]], Sequence[Step]]
    missing_indexes: Callable[[psycopg.Connection[Any], str], list[str]] | None = None

    @property
    def shape(self) -> str:
        """Changes when the rows would: the tables, the facts read and the version, hashed."""
        return sha256_hex(canonical_json([self.version, [fact.stored_name for fact in self.reads], self.tables]))

    @property
    def views_shape(self) -> str:
        """Changes when the views do."""
        return sha256_hex(canonical_json(self.views))


class Insert:
    """Inserts rows, given as tuples in the order of the table's columns; many go by COPY, which knows no conflicts.

    unless: rows are left out for which there is a row (`kept`) in the table already, of which this holds (`fresh` is
    the new one); of the rows of one statement, none keeps another out
    """

    def __init__(self, table: Table, *, on_conflict: str = "", unless: str = "") -> None:
        names = list(table.columns)
        self._kinds, source, selected = _unnested(table, names)
        self._copied = tuple("int4" if kind == "int" else kind.partition("(")[0] for kind in self._kinds)
        into = f"{{schema}}.{table.name} ({', '.join(names)})"
        new = f"WHERE NOT EXISTS (SELECT FROM {{schema}}.{table.name} kept WHERE {unless}) " if unless else ""
        self._sql = f"INSERT INTO {into} SELECT {', '.join(selected)} FROM {source} {new}{on_conflict}"  # noqa: S608
        self._copy = None if on_conflict or unless else f"COPY {into} FROM STDIN (FORMAT BINARY)"

    def __call__(self, rows: Rows) -> list[Change]:
        """No change for no rows."""
        if not rows:
            return []
        columns = _columns(rows, self._kinds)
        if self._copy is not None and len(rows) >= FEWEST_ROWS_TO_COPY:
            return [Change(self._copy, columns, self._copied)]
        return [Change(self._sql, columns)]


class Update:
    """Sets some columns of rows that are there already, given as tuples: the key first, then those columns.

    key: the columns that say which rows (`kept`); the table's key if none are given
    where: a further condition on them
    """

    def __init__(self, table: Table, *columns: str, key: tuple[str, ...] = (), where: str = "") -> None:
        key = key or table.key
        self._kinds, source, selected = _unnested(table, [*key, *columns])
        settings = zip(columns, selected[len(key) :], strict=True)
        conditions = [*(f"kept.{name} = fresh.{name}" for name in key), *([where] if where else [])]
        self._sql = (
            f"UPDATE {{schema}}.{table.name} AS kept SET {', '.join(f'{name} = {value}' for name, value in settings)} "  # noqa: S608
            f"FROM {source} WHERE {' AND '.join(conditions)}"
        )

    def __call__(self, rows: Rows) -> list[Change]:
        """No change for no rows."""
        return [Change(self._sql, _columns(rows, self._kinds))] if rows else []


def text_value(text: str) -> str:
    """Text as Postgres can hold it: it has no NUL."""
    return text.replace("\x00", "\ufffd") if "\x00" in text else text


def json_value(value: Any) -> str:
    """JSON as `jsonb` can hold it; an empty object is by far the most frequent."""
    if value == {}:
        return "{}"
    encoded = msgspec.json.encode(value)
    return (
        msgspec.json.encode(_without_nul(msgspec.to_builtins(value))) if b"\\u0000" in encoded else encoded
    ).decode()


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return text_value(value)
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):  # to_builtins leaves tuples as they are
        return [_without_nul(member) for member in value]
    return value


class JsonText(Dumper):
    """Sends JSON that is text already as `jsonb` in COPY's binary format, whose version comes first."""

    format = Format.BINARY
    oid = types["jsonb"].oid

    def dump(self, obj: str) -> bytes:
        """The version, then the text."""
        return b"\x01" + obj.encode()


def _texts(values: list[Any]) -> list[Any]:
    """A column of texts; looking at all of them at once is cheaper than at each."""
    if "\x00" in "".join(value for value in values if value is not None):
        return [None if value is None else text_value(value) for value in values]
    return values


def _jsons(values: list[Any]) -> list[Any]:
    return [None if value is None else json_value(value) for value in values]


ENCODERS: dict[str, Callable[[list[Any]], list[Any]]] = {"text": _texts, "jsonb": _jsons}


def _unnested(table: Table, names: list[str]) -> tuple[tuple[str, ...], str, list[str]]:
    """The types of the named columns, and how to unnest them (as `fresh`) and cast them."""
    kinds = tuple(table.columns[name].removesuffix(" NOT NULL") for name in names)
    sent = ", ".join(f"%b::{'text' if kind == 'jsonb' else kind}[]" for kind in kinds)
    selected = [
        f"fresh.{name}::jsonb" if kind == "jsonb" else f"fresh.{name}" for name, kind in zip(names, kinds, strict=True)
    ]
    return kinds, f"unnest({sent}) AS fresh ({', '.join(names)})", selected


def _columns(rows: Rows, kinds: Iterable[str]) -> list[list[Any]]:
    columns = map(list, zip(*rows, strict=True))
    return [ENCODERS[kind](values) if kind in ENCODERS else values for kind, values in zip(kinds, columns, strict=True)]
