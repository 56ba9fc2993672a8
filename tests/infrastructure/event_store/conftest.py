"""A store on a fresh database."""

from collections.abc import Iterator

import pytest

from infrastructure.event_store.keeper import Keeper
from infrastructure.event_store.store import PostgresEventStore
from tests.conftest import Database


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
