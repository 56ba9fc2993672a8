"""Made-up databases of an older notebook, the same rows in SQLite and in Postgres, some of them odd."""

import json
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

COLUMNS = ("id", "prompt", "response", "provider", "tokens", "latency_ms", "metadata_json", "batch_id", "created_at")
PROVIDERS = ("azure", "openai", "hyperbolic")
Row = tuple[Any, ...]

# Each is the row of this id, and what an import says of it.
ODD = {
    5: "it has no response: imported as a failed call",
    6: "its metadata is no JSON: kept as legacy_metadata: '{bad'",
    7: "it has no provider: imported as unknown; its tokens, -4, is no number of tokens",
    8: "its created_at, 'yesterday', is no time: imported as of 1970-01-01",
    9: "its metadata is no JSON object: kept as legacy_metadata",
}


def rows(count: int, *, huge: int = 300_000) -> Iterator[Row]:
    """Rows with batches in turn; from the fifth on, one each of ODD, then one with a huge text."""
    chance = random.Random(1)
    for number in range(1, count + 1):
        row = [
            number,
            f"What is number {number}?",
            f"It is {number}." * (1 + number % 5),
            PROVIDERS[number % 3],
            number % 500,
            round(chance.uniform(50, 900), 3),
            json.dumps({"temperature": 0.5, "model": f"m{number % 2}"}),
            f"batch-{number % 40}" if number % 3 else None,
            f"2024-03-{1 + number * 28 // (count + 1):02d} {number % 24:02d}:{number % 60:02d}:00.{number % 1000:03d}",
        ]
        match number:
            case 5:
                row[2] = None
            case 6:
                row[6] = "{bad"
            case 7:
                row[3:5] = None, -4
            case 8:
                row[5], row[8] = None, "yesterday"
            case 9:
                row[6] = "[1, 2]"
            case 10:
                row[1] = "huge " * (huge // 5)
        yield tuple(row)


def in_sqlite(path: Path, made: Iterator[Row]) -> str:
    """The URL of a new file with these rows."""
    with sqlite3.connect(path) as database:
        database.execute(f"CREATE TABLE inference_runs ({', '.join(COLUMNS)}, PRIMARY KEY (id))")
        database.executemany(f"INSERT INTO inference_runs VALUES ({', '.join('?' * len(COLUMNS))})", made)
    database.close()
    return f"sqlite:///{path}"


def in_postgres(uri: str, made: Iterator[Row]) -> str:
    """The URL of a database that has the table now."""
    with psycopg.connect(uri) as database:
        database.execute(
            "CREATE TABLE inference_runs (id bigint PRIMARY KEY, prompt text, response text, provider text, "
            "tokens int, latency_ms float8, metadata_json text, batch_id text, created_at text)"
        )
        with database.cursor().copy(f"COPY inference_runs ({', '.join(COLUMNS)}) FROM STDIN".encode()) as copy:
            for row in made:
                copy.write_row(row)
    return uri


def run(url: str, *statements: str) -> None:
    """Change a database after it was imported."""
    if url.startswith("sqlite:///"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as database:
            for statement in statements:
                database.execute(statement)
        database.close()
        return
    with psycopg.connect(url) as connection:
        for statement in statements:
            connection.execute(statement.encode())


# What is changed after the import, and what validation has to say of it: what differs, and in which row.
PLANTED = (
    "UPDATE inference_runs SET response = 'something else' WHERE id = 12",
    "UPDATE inference_runs SET tokens = tokens + 1 WHERE id = 14",
    "UPDATE inference_runs SET batch_id = 'batch-0' WHERE id = 17",
    "DELETE FROM inference_runs WHERE id = 18",
    """INSERT INTO inference_runs (id, prompt, response, provider, created_at)
        VALUES (1000001, 'late', 'yes', 'azure', '2030-01-01T00:00:00Z')""",
)
NAMED = {
    ("response", 12),
    ("tokens", 14),
    ("batch", 17),
    ("missing", 1000001),
    ("last time", None),
    ("size of batch batch-0", None),
    ("size of batch batch-17", None),
}
