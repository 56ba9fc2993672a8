"""Reading the live tables, for queries."""

from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from domain.errors import Rejected, Unavailable

Row = dict[str, Any]


class Reader:
    """Runs one SELECT at a time on a pooled connection."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def rows(self, sql: str, parameters: dict[str, Any]) -> list[Row]:
        """All rows, as name → value. Raises Unavailable when the server can't be reached, Rejected for a NUL."""
        try:
            async with self._pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
                await cursor.execute(sql.encode(), parameters)
                rows: list[Row] = await cursor.fetchall()
                return rows
        except psycopg.DataError as error:
            raise Rejected(f"The store can't look for that: {str(error).strip().splitlines()[0]}") from None
        except psycopg.OperationalError as error:
            raise Unavailable(f"The read models can't be read: {str(error).strip()}; try again later") from error

    async def row(self, sql: str, parameters: dict[str, Any]) -> Row | None:
        """The only row, or None."""
        found = await self.rows(sql, parameters)
        return found[0] if found else None
