"""A log, its read models and the way to ask them."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from projections.follow import Follower
from projections.generations import install, opened
from projections.queries import Queries
from projections.read_models import READ_MODELS
from tests.conftest import Database
from tests.projections.log import Log

Connect = Callable[[], psycopg.Connection[Any]]


@pytest.fixture
def connect(database: Database) -> Connect:
    return lambda: psycopg.connect(database.application_uri)


@pytest.fixture
def log(database: Database) -> Iterator[Log]:
    log = Log(database.application_uri)
    yield log
    log.close()


@pytest.fixture
def follower(log: Log, connect: Connect) -> Iterator[Follower]:
    with connect() as connection:
        install(connection, READ_MODELS)
    follower = Follower(log, connect, READ_MODELS)
    yield follower
    follower.close()


@pytest.fixture
def sql(database: Database, connect: Connect) -> Iterator[Callable[..., list[tuple[Any, ...]]]]:
    """Run a statement as a user with psql would."""
    connection = opened(connect)

    def run(statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        cursor = connection.execute(statement.encode(), parameters)
        return cursor.fetchall() if cursor.description else []

    yield run
    connection.close()


@pytest.fixture
async def queries(database: Database, follower: Follower) -> AsyncIterator[Queries]:
    async with AsyncConnectionPool(database.application_uri, min_size=1, max_size=4, open=False) as pool:
        yield Queries(pool)
