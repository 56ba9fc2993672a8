"""A server that can't hold the store is refused before anything is made in it."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest

from domain.errors import Unavailable
from infrastructure.event_store import server
from infrastructure.event_store.migrations import migrate
from tests.conftest import Database, uri_on
from tests.support.transaction_pooler import transaction_pooler

HAS_NO_LOG = "SELECT to_regnamespace('events') IS NULL"


@pytest.fixture
def other_encoding(database: Database) -> Iterator[str]:
    name = f"ascii_{uuid4().hex}"
    with psycopg.connect(database.owner_uri, autocommit=True) as owner:
        provider = "LOCALE_PROVIDER libc" if owner.info.server_version >= 150_000 else ""
        owner.execute(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE 'C' {provider} TEMPLATE template0".encode())
        yield uri_on(database.owner_uri, dbname=name)
        owner.execute(f"DROP DATABASE {name}".encode())


def test_another_encoding_than_utf8_is_refused_by_name(other_encoding: str) -> None:
    with pytest.raises(Unavailable, match=r"encoded in SQL_ASCII.*needs UTF8.*CREATE DATABASE"):
        migrate(other_encoding)
    with psycopg.connect(other_encoding) as connection:
        assert connection.execute(HAS_NO_LOG).fetchone() == (True,)


def test_an_old_server_is_told_its_version_and_the_one_it_needs(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "OLDEST", 99)
    with pytest.raises(Unavailable, match=r"The server is Postgres \d+.*needs 99 or later"):
        migrate(database.owner_uri)


def test_a_pooler_that_lends_sessions_is_refused(database: Database) -> None:
    with (
        transaction_pooler(database.owner_uri) as place,
        pytest.raises(Unavailable, match=r"pool_mode to session"),
    ):
        migrate(uri_on(database.owner_uri, **place))
