"""Older databases, read and never written: SQLite opened read-only, Postgres in a read-only transaction."""

import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import tuple_row

from application.legacy_runs import LegacyRun, LegacyRuns
from domain.errors import Rejected, Unavailable

TABLE = "inference_runs"
NEEDED = ("id", "prompt", "response")
COLUMNS = ("id", "prompt", "response", "provider", "tokens", "latency_ms", "metadata", "batch_id", "created_at")
ALIASES = {"metadata_json": "metadata"}
CHUNK_BYTES = 8 * 1024 * 1024
FETCHED = 100  # rows of Postgres on their way at once
CONNECT_SECONDS = 10
HOW = "write sqlite:////folder/legacy.db or postgresql://user@host/database"


class LegacyDatabases:
    """Implements the port OpensLegacyRuns. setting: LEGACY_DATABASE_URL as it is now"""

    def __init__(self, setting: Callable[[], str | None]) -> None:
        self._setting = setting

    def open(self, url: str | None) -> LegacyRuns:
        """See the port."""
        given = url or self._setting()
        if not given:
            raise Rejected(
                f"Say where the older database is: --legacy-url or LEGACY_DATABASE_URL; {HOW}", fields=("legacy_url",)
            )
        kind, colon, rest = given.partition("://")
        scheme = kind.partition("+")[0].lower()
        if colon and scheme == "sqlite":
            return _Sqlite(rest)
        if colon and scheme in ("postgresql", "postgres"):
            return _Postgres(f"postgresql://{rest}")
        raise Rejected(
            f"The older database's URL begins with neither sqlite:// nor postgresql://; {HOW}", fields=("legacy_url",)
        )


class _Sqlite:
    """A file of SQLite."""

    def __init__(self, place: str) -> None:
        path = Path(unquote(place.partition("?")[0].removeprefix("/")))
        if not path.is_file():
            raise Rejected(f"There is no file {path}; {HOW}", fields=("legacy_url",))
        self.name = str(path)
        with self._reading():
            self._connection = sqlite3.connect(
                f"file:{quote(str(path.resolve()))}?mode=ro", uri=True, check_same_thread=False, isolation_level=None
            )
            self._connection.text_factory = bytes
            try:
                self._connection.execute("BEGIN")  # all that is read is of one moment
                names = [row[1].decode() for row in self._connection.execute(f"PRAGMA table_info({TABLE})")]
                self._columns = _columns_of(names, self.name)
            except BaseException:
                self._connection.close()
                raise

    def count(self) -> int:
        """See the port."""
        with self._reading():
            return int(self._connection.execute(f"SELECT count(*) FROM {TABLE}").fetchone()[0])  # noqa: S608

    def chunks(self, rows: int) -> Generator[Sequence[LegacyRun]]:
        """See the port."""
        with self._reading():
            yield from _chunks(self._connection.execute(_select(self._columns)), self._columns, rows)

    def close(self) -> None:
        """See the port."""
        self._connection.close()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise Unavailable(f"{self.name} can't be read: {error}") from error


class _Postgres:
    """A database of Postgres."""

    def __init__(self, url: str) -> None:
        try:
            parts = conninfo_to_dict(url)
        except psycopg.Error:
            raise Rejected(f"The older database's URL can't be read; {HOW}", fields=("legacy_url",)) from None
        self.name = f"{parts.get('host') or 'localhost'}/{parts.get('dbname') or parts.get('user') or ''}"
        with self._reading():
            self._connection = psycopg.connect(url, connect_timeout=CONNECT_SECONDS)
            try:
                self._connection.set_read_only(True)
                self._connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
                self._connection.execute("SET LOCAL timezone = 'UTC'")
                found = self._connection.execute("SELECT to_regclass(%s)", (TABLE,)).fetchone()
                names: list[str] = []
                if found is not None and found[0] is not None:
                    described = self._connection.execute(f"SELECT * FROM {TABLE} LIMIT 0").description  # noqa: S608
                    names = [column.name for column in described or ()]
                self._columns = _columns_of(names, self.name)
            except BaseException:
                self._connection.close()
                raise

    def count(self) -> int:
        """See the port."""
        with self._reading():
            row = self._connection.execute(f"SELECT count(*) FROM {TABLE}").fetchone()  # noqa: S608
            return int(row[0]) if row else 0

    def chunks(self, rows: int) -> Generator[Sequence[LegacyRun]]:
        """See the port."""
        with (
            self._reading(),
            self._connection.cursor(name="legacy", row_factory=tuple_row) as cursor,
        ):
            cursor.itersize = FETCHED
            cursor.execute(_select(self._columns, json_as="::text").encode())
            yield from _chunks(cursor, self._columns, rows)

    def close(self) -> None:
        """See the port."""
        self._connection.close()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            said = str(error).strip().splitlines()
            raise Unavailable(f"{self.name} can't be read: {said[0] if said else type(error).__name__}") from error


def _columns_of(names: Sequence[str], database: str) -> dict[str, str]:
    """The column that holds each field. Raises Rejected where there is no such table, or not what makes one."""
    if not names:
        raise Rejected(f"There is no table {TABLE} in {database}", fields=("legacy_url",))
    known = {ALIASES.get(name, name): name for name in reversed(names) if ALIASES.get(name, name) in COLUMNS}
    if missing := [name for name in NEEDED if name not in known]:
        raise Rejected(
            f"The table {TABLE} in {database} has no column {', '.join(missing)}; it has {', '.join(names)}",
            fields=("legacy_url",),
        )
    return {name: known[name] for name in COLUMNS if name in known}


def _select(columns: dict[str, str], *, json_as: str = "") -> str:
    chosen = [f'"{column}"{json_as if name == "metadata" else ""}' for name, column in columns.items()]
    return f"SELECT {', '.join(chosen)} FROM {TABLE} ORDER BY id"  # noqa: S608 - names of our own


def _chunks(found: Iterable[tuple[Any, ...]], columns: dict[str, str], rows: int) -> Generator[list[LegacyRun]]:
    chunk: list[LegacyRun] = []
    held = 0
    for values in found:
        size = sum(len(value) for value in values if isinstance(value, str | bytes))
        if chunk and (len(chunk) >= rows or held + size > CHUNK_BYTES):
            yield chunk
            chunk, held = [], 0
        chunk.append(_row(values, columns))
        held += size
    if chunk:
        yield chunk


def _row(values: tuple[Any, ...], columns: dict[str, str]) -> LegacyRun:
    mended = []
    read: dict[str, Any] = {}
    for name, value in zip(columns, values, strict=True):
        if isinstance(value, bytes):
            try:
                read[name] = value.decode()
            except UnicodeDecodeError:
                read[name] = value.decode("utf-8", "replace")
                mended.append(name)
        else:
            read[name] = value
    return LegacyRun(**read, mended=tuple(mended))
