"""Rights printed by `study db grant`, run by the owner, used by the application."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from infrastructure.embedded_postgres import EmbeddedPostgres
from tests.conftest import Database, fresh_database, role_of, uri_on
from tests.interfaces.cli.conftest import Study


@pytest.fixture
def database(server: tuple[str, str], template: str) -> Iterator[Database]:
    """A database that nobody has opened: whoever does so first owns its read models."""
    with fresh_database(server, template) as database:
        yield database


@pytest.fixture
def role(database: Database) -> Iterator[str]:
    name = f"Granted-{uuid4().hex[:8]}"
    with psycopg.connect(database.owner_uri, autocommit=True) as owner:
        owner.execute(f"""CREATE ROLE "{name}" LOGIN PASSWORD 'granted'""".encode())
        yield name
        owner.execute(f'DROP OWNED BY "{name}" CASCADE'.encode())
        owner.execute(f'DROP ROLE "{name}"'.encode())


def test_the_whole_product_works_under_the_printed_rights(
    study_here: Study, database: Database, role: str, tmp_path: Path
) -> None:
    as_owner = ("--database-url", database.owner_uri)
    as_application = ("--database-url", uri_on(database.owner_uri, user=role, password="granted"))
    assert study_here("db", "migrate", *as_owner).code == 0
    refused = study_here("ask", "Rome is in Italy.", *as_application)
    assert refused.code == 4
    assert "study db grant" in refused.err
    printed = study_here("db", "grant", role, *as_owner)
    with psycopg.connect(database.owner_uri, autocommit=True) as owner:
        owner.execute(printed.out.encode())
    texts = tmp_path / "texts.txt"
    texts.write_text("".join(f"{verb} the {thing}\n" for verb in ("bake", "eat", "take") for thing in ("bread", "bus")))
    for words in (
        ("doctor",),
        ("ask", "Rome is in Italy. Where is Rome?", "--provider", "local", "--group", "batch/cities"),
        ("dataset", "import", str(texts), "--name", "texts"),
        ("embed", "texts", "--provider", "local"),
        ("calls", "--group", "batch/cities", "--search", "Rome"),
        ("sweep", "run", "texts", "--provider", "local", "--k-max", "3", "--restarts", "2", "--pca-dim", "2"),
        ("projections", "rebuild"),
        ("projections", "verify"),
    ):
        done = study_here(*words, *as_application)
        assert done.code == 0, (words, done)


def test_the_sql_is_returned_as_json_and_a_missing_role_is_named(study_here: Study, database: Database) -> None:
    done = study_here("db", "grant", "nobody-yet", "--json", "--database-url", database.owner_uri)
    assert done.code == 0
    assert done.document["role"] == "nobody-yet"
    assert done.document["exists"] is False
    assert 'GRANT USAGE ON SCHEMA events TO "nobody-yet"' in done.document["sql"]
    assert "CREATE ROLE" in done.err


def test_rights_for_nobody_and_for_the_owner_are_refused(study_here: Study, database: Database) -> None:
    assert study_here("db", "grant", "--database-url", database.owner_uri).code == 2
    refused = study_here("db", "grant", role_of(database.owner_uri), "--json", "--database-url", database.owner_uri)
    assert refused.code == 2
    assert refused.document["fields"] == ["role"]
    unread = study_here("db", "grant", "analyst", "--reader", "--database-url", database.owner_uri)
    assert unread.code == 2
    assert "open the store once" in unread.err


def test_the_embedded_servers_application_has_the_printed_rights_already(study_here: Study, tmp_path: Path) -> None:
    home = tmp_path / "embedded"
    try:
        done = study_here("db", "grant", "--json", "--home", str(home), DATABASE_URL="")
        assert done.code == 0
        assert (done.document["role"], done.document["exists"]) == ("study_app", True)
        assert study_here("ask", "Rome is in Italy.", "--home", str(home), DATABASE_URL="").code == 0
        assert not EmbeddedPostgres(home).status().running
    finally:
        embedded = EmbeddedPostgres(home)
        embedded.stop()
        shutil.rmtree(embedded.status().data_folder.parent)


def test_a_store_in_trouble_ends_a_command_with_4(study: Study, database: Database) -> None:
    with psycopg.connect(database.owner_uri, autocommit=True) as owner:
        owner.execute(f'ALTER DATABASE "{owner.info.dbname}" SET default_transaction_read_only = on'.encode())
    done = study("ask", "Rome is in Italy.", "--json")
    assert done.code == 4
    assert json.loads(done.out)["title"] == "Store unavailable"
    assert "takes no writes" in done.err
