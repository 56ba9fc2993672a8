"""Reading the live tables, for queries."""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, nullcontext
from functools import wraps
from typing import Any, Literal, ParamSpec

import msgspec
import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row
from psycopg.types.json import JsonbLoader
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from application.store_trouble import unavailable
from domain.errors import Rejected, Unavailable

Row = dict[str, Any]
Json = dict[str, Any]
Planned = Literal["anew", "once"]
PREPARED: dict[Planned | None, bool | None] = {"anew": False, "once": True, None: None}
P = ParamSpec("P")
ASK_SECONDS = 2
READING = "The read models can't be read"
# One plan has to guess how many rows there are: such a guess must not make a server compile it.
ONE_PLAN = b"SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL jit = off"


@asynccontextmanager
async def connected(pool: AsyncConnectionPool[Any]) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    """A pooled connection for reading. Raises Unavailable for trouble with the store, Rejected for a NUL."""
    try:
        async with pool.connection() as connection:
            yield connection
    except PoolTimeout as error:
        # The pool knows that there is none, not why: the server says it to one who asks.
        raise unavailable(READING, await _refusal(pool) or error) from error
    except psycopg.DataError as error:
        raise Rejected(f"The store can't look for that: {str(error).strip().splitlines()[0]}") from None
    except psycopg.errors.UndefinedTable as error:
        raise Unavailable(
            f"A read model is still being built ({str(error).splitlines()[0]}); "
            "try again when `study projections status` shows it live"
        ) from error
    except psycopg.Error as error:
        raise unavailable(READING, error) from error


async def _refusal(pool: AsyncConnectionPool[Any]) -> psycopg.Error | None:
    try:
        connection = await psycopg.AsyncConnection.connect(str(pool.conninfo), connect_timeout=ASK_SECONDS)
    except psycopg.Error as refused:
        return refused
    await connection.close()
    return None


def in_json(question: Callable[P, Awaitable[Any]]) -> Callable[P, Coroutine[Any, Any, Json]]:
    """Answer a question with what JSON can hold; ids, times and exact numbers become text. A page becomes an object."""

    @wraps(question)
    async def answered(*args: P.args, **options: P.kwargs) -> Json:
        answer: Json = msgspec.to_builtins(await question(*args, **options))
        return answer

    return answered


class JsonReader(Loader):
    """Reads JSON that came as text: there may be three of it in each row."""

    def load(self, data: Buffer) -> Any:
        """Numbers that are too large for a float are left to Python's own, which calls them infinite."""
        try:
            return msgspec.json.decode(data)
        except msgspec.DecodeError:
            return JsonbLoader(self.oid).load(data)


@asynccontextmanager
async def _statement_by_statement(connection: psycopg.AsyncConnection[Any]) -> AsyncIterator[None]:
    """Each statement is a transaction, so that the server isn't asked to begin one before and to end it after it."""
    await connection.set_autocommit(True)
    try:
        yield
    finally:
        # In any other state the pool gives it up.
        if connection.info.transaction_status == TransactionStatus.IDLE:
            await connection.set_autocommit(False)


class Reader:
    """Runs one SELECT at a time on a pooled connection."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool

    async def rows(
        self, sql: str, parameters: dict[str, Any], *, binary: bool = False, planned: Planned | None = None
    ) -> list[Row]:
        """All rows, as name → value. Raises Unavailable for trouble with the store, Rejected for a NUL.

        binary: have them sent so, which is faster where there are many numbers or bytes
        planned: anew for these very parameters, where one way doesn't suit them all; or once, where planning takes
            longer than the answer and one way does; or as the server finds best
        """
        async with connected(self._pool) as connection, connection.cursor(row_factory=dict_row) as cursor:
            cursor.adapters.register_loader("jsonb", JsonReader)
            async with nullcontext() if planned == "once" else _statement_by_statement(connection):
                if planned == "once":
                    await cursor.execute(ONE_PLAN)
                await cursor.execute(sql.encode(), parameters, binary=binary, prepare=PREPARED[planned])
                rows: list[Row] = await cursor.fetchall()
                return rows

    async def row(self, sql: str, parameters: dict[str, Any]) -> Row | None:
        """The only row, or None."""
        found = await self.rows(sql, parameters)
        return found[0] if found else None
