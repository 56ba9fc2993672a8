"""What a read model is: tables, the facts that fill them, and the views that people read.

Rows depend on events alone: no clock, no chance, no body of a payload. So a rebuild gives the same rows, however the
log was cut into batches.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from domain.events import Fact, RecordedEvent
from domain.identity import canonical_json, sha256_hex

Encoder = Callable[[Any], Any]


class Change(NamedTuple):
    """One set-based statement and the columns it unnests; `{schema}` stands for the generation's schema."""

    sql: str
    columns: list[list[Any]]


class Table(Struct, frozen=True, kw_only=True):
    """A table of every generation. Columns map a name to its SQL type, NOT NULL included."""

    name: str
    columns: dict[str, str]
    key: tuple[str, ...]
    indexes: tuple[str, ...] = ()  # what follows ON table: "(provider, model)", "(position) WHERE ended IS NULL"

    def statements(self, schema: str) -> list[str]:
        """What creates the table in a schema."""
        columns = ", ".join(f"{name} {kind}" for name, kind in self.columns.items())
        return [
            f"CREATE TABLE {schema}.{self.name} ({columns}, PRIMARY KEY ({', '.join(self.key)}))",
            *(f"CREATE INDEX ON {schema}.{self.name} {index}" for index in self.indexes),
        ]


class View(Struct, frozen=True, kw_only=True):
    """A view in schema `study` over the live generation, whose schema is `{schema}`."""

    name: str
    select: str


class ReadModel(Struct, frozen=True, kw_only=True):
    """A read model. Raise `version` when `changes` gives other rows for the same events: that rebuilds it."""

    name: str
    version: int
    reads: tuple[type[Fact], ...]
    tables: tuple[Table, ...]
    views: tuple[View, ...]
    changes: Callable[[Sequence[RecordedEvent]], list[Change]]

    @property
    def shape(self) -> str:
        """Changes when the rows would: the tables, the facts read and the version, hashed."""
        return sha256_hex(canonical_json([self.version, [fact.stored_name for fact in self.reads], self.tables]))

    @property
    def views_shape(self) -> str:
        """Changes when the views do."""
        return sha256_hex(canonical_json(self.views))


class Insert:
    """Inserts rows, given as tuples in the order of the table's columns."""

    def __init__(self, table: Table, *, on_conflict: str = "") -> None:
        names = list(table.columns)
        self._encoders, source, selected = _unnested(table, names)
        self._sql = (
            f"INSERT INTO {{schema}}.{table.name} ({', '.join(names)}) "  # noqa: S608 - our own names
            f"SELECT {', '.join(selected)} FROM {source} {on_conflict}"
        )

    def __call__(self, rows: Sequence[tuple[Any, ...]]) -> list[Change]:
        """No change for no rows."""
        return [Change(self._sql, _columns(rows, self._encoders))] if rows else []


class Update:
    """Sets some columns of rows that are there already, given as tuples: the key first, then those columns."""

    def __init__(self, table: Table, *columns: str) -> None:
        self._encoders, source, selected = _unnested(table, [*table.key, *columns])
        settings = zip(columns, selected[len(table.key) :], strict=True)
        self._sql = (
            f"UPDATE {{schema}}.{table.name} AS kept SET {', '.join(f'{name} = {value}' for name, value in settings)} "  # noqa: S608
            f"FROM {source} WHERE {' AND '.join(f'kept.{name} = fresh.{name}' for name in table.key)}"
        )

    def __call__(self, rows: Sequence[tuple[Any, ...]]) -> list[Change]:
        """No change for no rows."""
        return [Change(self._sql, _columns(rows, self._encoders))] if rows else []


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


@lru_cache(maxsize=1024)
def array_value(items: tuple[str, ...]) -> str:
    """A text array as its literal: arrays of arrays can't be unnested."""
    return "{" + ",".join('"' + _quoted(text_value(item)) + '"' for item in items) + "}"


def _quoted(item: str) -> str:
    return item.replace("\\", "\\\\").replace('"', '\\"')


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return text_value(value)
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_without_nul(member) for member in value]
    return value


ENCODERS: dict[str, Encoder] = {"text": text_value, "jsonb": json_value, "text[]": array_value}
SENT_AS_TEXT = {"jsonb", "text[]"}


def _unnested(table: Table, names: list[str]) -> tuple[list[Encoder | None], str, list[str]]:
    """How to encode, unnest (as `fresh`) and cast the named columns."""
    kinds = [table.columns[name].removesuffix(" NOT NULL") for name in names]
    sent = ", ".join(f"%b::{'text' if kind in SENT_AS_TEXT else kind}[]" for kind in kinds)
    selected = [
        f"fresh.{name}::{kind}" if kind in SENT_AS_TEXT else f"fresh.{name}"
        for name, kind in zip(names, kinds, strict=True)
    ]
    return [ENCODERS.get(kind) for kind in kinds], f"unnest({sent}) AS fresh ({', '.join(names)})", selected


def _columns(rows: Sequence[tuple[Any, ...]], encoders: list[Encoder | None]) -> list[list[Any]]:
    return [
        list(values) if encode is None else [None if value is None else encode(value) for value in values]
        for encode, values in zip(encoders, zip(*rows, strict=True), strict=True)
    ]
