"""Reaching the store as its owner, for what is done to it as a whole: no study is opened, nothing follows the log."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import Connection

from application.store_trouble import unavailable
from infrastructure.event_store.datastore import KEEPALIVES
from infrastructure.event_store.keeper import APPLICATION_NAME
from infrastructure.event_store.migrations import migrate
from infrastructure.settings import Settings


@contextmanager
def owners_connection(settings: Settings) -> Iterator[Connection[Any]]:
    """A connection to the migrated store: as the embedded server's owner, or as whom DATABASE_URL names.

    The embedded server stays up meanwhile, whoever else leaves. Raises Unavailable.
    """
    name = f"copying {uuid4().hex[:12]}"
    if settings.database_url is not None:
        with _connected(settings.database_url.get_secret_value(), name) as connection:
            yield connection
        return
    # Only here, since it needs what Windows has not.
    from infrastructure.embedded_postgres import EmbeddedPostgres

    embedded = EmbeddedPostgres(settings.study_home)
    connection = embedded.start(lambda running: _connected(running.owner_uri, name))
    try:
        with connection:
            yield connection
    finally:
        embedded.stop_if_unused(leaving=name)


def _connected(uri: str, name: str) -> Connection[Any]:
    """Under a name by which the embedded server counts as used."""
    migrate(uri)
    try:
        return Connection.connect(uri, autocommit=True, application_name=f"{APPLICATION_NAME} {name}", **KEEPALIVES)
    except psycopg.Error as error:
        raise unavailable("The store can't be opened", error) from None
