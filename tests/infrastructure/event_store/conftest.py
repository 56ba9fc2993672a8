"""A store on a fresh database."""

from collections.abc import Iterator

import psycopg
import pytest

from infrastructure.event_store.keeper import Keeper
from infrastructure.event_store.store import PostgresEventStore
from tests.conftest import Database

APPEND_LOCK = "SELECT pg_advisory_xact_lock(7453, 1)"


@pytest.fixture
def keeper(database: Database) -> Iterator[Keeper]:
    keeper = Keeper(database.application_uri, on_event=lambda: None)
    yield keeper
    keeper.close()


@pytest.fixture
def store(database: Database, keeper: Keeper) -> Iterator[PostgresEventStore]:
    store = PostgresEventStore(database.application_uri, process=keeper.number)
    yield store
    store.close()


@pytest.fixture
def blocker(database: Database) -> Iterator[psycopg.Connection]:
    """Who has the lock that every append waits for, once it executes APPEND_LOCK."""
    with psycopg.connect(database.owner_uri) as connection:
        yield connection
