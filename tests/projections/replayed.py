"""The read models as a replay of the log up to a position makes them, and the queries that ask those."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool

from application.ports import EventPages
from projections.advance import advance
from projections.generations import Connection, Generation, create, drop
from projections.pages import SharedPages
from projections.read_model import ReadModel


class Redirect:
    """Sends what asks the live tables to the tables of some generations, and notes which ones were asked."""

    def __init__(self) -> None:
        self.schemas: dict[bytes, bytes] = {}  # by table
        self.tables_read: set[str] = set()

    def pool(self, uri: str) -> AsyncConnectionPool[Any]:
        """A pool whose cursors are redirected."""
        redirect = self

        class Cursor(psycopg.AsyncCursor[Any]):
            async def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
                there = re.sub(
                    rb"projections\.(\w+)", redirect.there, query.encode() if isinstance(query, str) else query
                )
                return await super().execute(there, params, **options)

        return AsyncConnectionPool(uri, min_size=1, max_size=1, open=False, kwargs={"cursor_factory": Cursor})

    def there(self, found: re.Match[bytes]) -> bytes:
        """Where a table of the live view's name lies."""
        if found[1] == b"generations":
            return found[0]  # where each read model stands, which is no read model's table
        self.tables_read.add(found[1].decode())
        return self.schemas[found[1]] + b"." + found[1]


@contextmanager
def replaying(
    connection: Connection, pages: EventPages, models: Sequence[ReadModel], redirect: Redirect, *, batch_size: int
) -> Iterator[Callable[[int], None]]:
    """Fresh tables, to which queries are redirected, and how to replay the log into them up to exactly a position."""
    shared = SharedPages(pages)
    with ExitStack() as stack:
        fresh: list[tuple[ReadModel, Generation]] = []
        for model in models:
            generation = create(connection, model, "verifying")
            stack.callback(drop, connection, generation)
            redirect.schemas |= {table.name.encode(): generation.schema.encode() for table in model.tables}
            fresh.append((model, generation))

        def replay(until: int) -> None:
            for model, generation in fresh:
                _replay(connection, shared, model, generation, until, batch_size)

        yield replay


def _replay(
    connection: Connection, pages: SharedPages, model: ReadModel, generation: Generation, until: int, batch_size: int
) -> None:
    outcome = "moved"
    while outcome == "moved":
        done = advance(connection, pages, model, generation, until=until, batch_size=batch_size)
        outcome = done.outcome
    assert (outcome, done.position) == ("at_end", until), done
