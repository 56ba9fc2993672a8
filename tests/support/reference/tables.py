"""docs/reference/tables.md: what there is to read in SQL."""

from typing import LiteralString

import psycopg

from tests.support.reference.meanings import TABLES, meaning_of

INTRODUCTION = """# Tables

For psql, DuckDB or a notebook: `psql "$(study db uri)"`, or the address of your own server. Schema `study` is
for reading; its views show the live generation of each read model, which is built from the events and can be
built again. Schema `events` is the log itself, append-only. Ids are UUIDs, times have a zone. `position` is the
event's place in the log. This page is generated from a store."""

COLUMNS: LiteralString = """
    SELECT n.nspname || '.' || c.relname, a.attname, format_type(a.atttypid, a.atttypmod)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE n.nspname = 'study' AND c.relkind = 'v' AND c.relname <> 'near_vectors'
        OR n.nspname = 'events' AND c.relkind = 'r' AND c.relname IN ('events', 'payloads')
    ORDER BY n.nspname DESC, c.relname, a.attnum"""


def tables_page(connection: psycopg.Connection[tuple[str, ...]]) -> str:
    """Every table that people read, with its columns."""
    lines = [INTRODUCTION]
    table = ""
    for name, column, kind in connection.execute(COLUMNS).fetchall():
        if name != table:
            table = name
            lines += ["", f"## {name}", "", TABLES[name], ""]
            lines += ["| column | type | what it says |", "|---|---|---|"]
        lines.append(f"| {column} | `{kind}` | {meaning_of(name, column)} |")
    return "\n".join(lines) + "\n"
