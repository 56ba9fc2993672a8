"""The application's role can do what the product does, and no more; a reader's can only read."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from application.ports import Claim, Payload
from domain.errors import Rejected, Unavailable
from infrastructure.event_store import migrations
from infrastructure.event_store.migrations import migrate
from infrastructure.event_store.roles import application_grants, reader_grants
from infrastructure.settings import read_settings
from interfaces.as_of import Moment
from interfaces.composition import open_study
from tests.conftest import Database, role_of, uri_on
from tests.support.appends import append_of

ON_TABLES = """
    SELECT c.relname, array_agg(a.privilege_type::text ORDER BY a.privilege_type)
    FROM pg_class c CROSS JOIN aclexplode(c.relacl) AS a
    WHERE c.relnamespace = 'events'::regnamespace AND pg_get_userbyid(a.grantee) = %s GROUP BY c.relname
"""
CHANGES_TO_THE_LOG = (
    "UPDATE events.events SET topic = 'x'",
    "DELETE FROM events.events",
    "TRUNCATE events.events",
    "UPDATE events.payloads SET part = 'x'",
    "DELETE FROM events.payloads",
    "TRUNCATE events.payloads",
    "UPDATE events.store SET store_id = gen_random_uuid()",
    "INSERT INTO events.schema_version VALUES (99)",
    "DROP TABLE events.events",
    "DROP SCHEMA events CASCADE",
    "ALTER TABLE events.events ADD COLUMN more text",
    "ALTER TABLE events.events DISABLE TRIGGER append_only",
    "ALTER TABLE events.payloads DISABLE TRIGGER ALL",
    "DROP TRIGGER append_only ON events.events",
    "CREATE TRIGGER own BEFORE INSERT ON events.events FOR EACH ROW EXECUTE FUNCTION events.refuse_change()",
    "CREATE OR REPLACE FUNCTION events.is_alive(process bigint) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    "CREATE TABLE events.own (n int)",
    "CREATE RULE own AS ON INSERT TO events.events DO INSTEAD NOTHING",
    "ALTER TABLE events.events OWNER TO CURRENT_USER",
    "SET session_replication_role = replica",
)


@pytest.fixture
def role(database: Database) -> Iterator[str]:
    """A role without rights, whose name needs quoting."""
    name = f'odd "{uuid4().hex[:8]}" role; --'
    with psycopg.connect(database.owner_uri, autocommit=True) as owner:
        owner.execute(SQL("CREATE ROLE {} LOGIN PASSWORD 'odd'").format(Identifier(name)))
        yield name
        owner.execute(SQL("DROP OWNED BY {} CASCADE").format(Identifier(name)))
        owner.execute(SQL("DROP ROLE {}").format(Identifier(name)))


def grant(database: Database, grants: Callable[[psycopg.Connection, str], list[str]], role: str) -> None:
    with psycopg.connect(database.owner_uri, autocommit=True) as owner:
        for statement in grants(owner, role):
            owner.execute(statement.encode())


def uri_as(database: Database, role: str) -> str:
    return uri_on(database.owner_uri, user=role, password="odd")


@contextmanager
def only_the_first_step(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    steps = migrations._steps()
    with monkeypatch.context() as patched:
        patched.setattr(migrations, "_steps", lambda: steps[:1])
        yield


async def use(uri: str, home: Path) -> None:
    """Every kind of statement that the product runs."""
    async with open_study(read_settings(database_url=uri, study_home=home)) as study:
        claim = Claim(key="key", holder=uuid4())
        await study.store.append(append_of(None, 1, None, Payload(part="body", body=b"x"), take=claim))
        await study.store.append(append_of(free=(claim,)))
        await study.store.processes_in_doubt([1])
        await study.house.catch_up()
        await study.house.rebuild(None)
        assert (await study.house.verify(None)).equal
        await study.calls.list(moment=Moment(datetime.now(UTC).isoformat()))


@pytest.mark.parametrize("statement", CHANGES_TO_THE_LOG)
def test_the_application_can_not_change_the_log(database: Database, statement: str) -> None:
    with (
        psycopg.connect(database.application_uri, autocommit=True) as application,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        application.execute(statement.encode())


def test_the_application_has_these_rights_on_the_log_and_no_others(database: Database) -> None:
    with psycopg.connect(database.owner_uri) as owner:
        rights = dict(owner.execute(ON_TABLES, (role_of(database.application_uri),)).fetchall())
    changing = ["DELETE", "INSERT", "SELECT", "UPDATE"]
    assert rights == {
        "events": ["INSERT", "SELECT"],
        "payloads": ["INSERT", "SELECT"],
        "claims": changing,
        "process_looks": changing,
        "schema_version": ["SELECT"],
        "store": ["SELECT"],
    }


async def test_a_role_with_an_odd_name_gets_what_the_product_needs(
    database: Database, role: str, tmp_path: Path
) -> None:
    with pytest.raises(Unavailable, match="permission denied"):
        await use(uri_as(database, role), tmp_path)
    grant(database, application_grants, role)
    await use(uri_as(database, role), tmp_path)


async def test_read_models_that_the_owner_made_are_handed_over(database: Database, role: str, tmp_path: Path) -> None:
    await use(database.owner_uri, tmp_path)
    with pytest.raises(Unavailable, match="study db grant"):
        await use(uri_as(database, role), tmp_path)
    grant(database, application_grants, role)
    await use(uri_as(database, role), tmp_path)
    with psycopg.connect(database.owner_uri) as owner:
        assert not any(statement.startswith("ALTER") for statement in application_grants(owner, role))


async def test_a_reader_reads_the_log_and_the_views_and_changes_nothing(
    database: Database, role: str, tmp_path: Path
) -> None:
    with psycopg.connect(database.owner_uri) as owner, pytest.raises(Rejected, match="open the store once"):
        reader_grants(owner, role)
    await use(database.application_uri, tmp_path)
    grant(database, reader_grants, role)
    with psycopg.connect(database.application_uri, autocommit=True) as application:
        application.execute("DROP VIEW study.sweep_steps")
        application.execute("CREATE VIEW study.sweep_steps AS SELECT 1 AS renewed")
    with psycopg.connect(uri_as(database, role), autocommit=True) as reader:
        for readable in ("events.events", "events.payloads", "study.raw_calls", "study.sweep_steps"):
            reader.execute(f"SELECT count(*) FROM {readable}".encode())
        for refused in (
            *CHANGES_TO_THE_LOG,
            "INSERT INTO events.events SELECT * FROM events.events",
            "DELETE FROM events.claims",
            "CREATE SCHEMA own",
            "DROP VIEW study.raw_calls",
            "SELECT * FROM projections.generations",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(refused.encode())


def test_the_owner_needs_no_rights(database: Database) -> None:
    with psycopg.connect(database.owner_uri) as owner, pytest.raises(Rejected, match="owns the log"):
        application_grants(owner, role_of(database.owner_uri))


@pytest.fixture
def behind(database: Database, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database whose log is still at its first step."""
    with psycopg.connect(database.owner_uri, autocommit=True) as owner:
        owner.execute("DROP SCHEMA events CASCADE")
    with only_the_first_step(monkeypatch):
        migrate(database.owner_uri)
    return database.owner_uri


async def test_the_application_is_told_who_brings_a_store_up_to_date(
    database: Database, behind: str, role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(behind, autocommit=True) as owner:
        owner.execute(SQL("GRANT USAGE ON SCHEMA events TO {}").format(Identifier(role)))
    with pytest.raises(
        Unavailable, match=rf"is at schema version 1.*its owner {role_of(behind)} .*study db migrate --database-url"
    ):
        migrate(uri_as(database, role))
    migrate(behind)
    migrate(uri_as(database, role))


def test_who_could_use_the_log_can_use_what_a_migration_added(database: Database, behind: str, role: str) -> None:
    with psycopg.connect(behind, autocommit=True) as owner:
        owner.execute(SQL("GRANT USAGE ON SCHEMA events TO {}").format(Identifier(role)))
        owner.execute(SQL("GRANT SELECT, INSERT ON events.events TO {}").format(Identifier(role)))
    migrate(behind)
    with psycopg.connect(uri_as(database, role)) as application:
        assert application.execute("SELECT count(*) FROM events.store").fetchone() == (1,)


def test_what_a_migration_makes_belongs_to_the_owner_whoever_runs_it(
    database: Database, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(database.owner_uri, autocommit=True) as superuser:
        superuser.execute("DROP SCHEMA events CASCADE")
        name = superuser.info.dbname
        superuser.execute(SQL("GRANT CREATE ON DATABASE {} TO {}").format(Identifier(name), Identifier(role)))
    with only_the_first_step(monkeypatch):
        migrate(uri_as(database, role))
    migrate(database.owner_uri)
    with psycopg.connect(database.owner_uri) as superuser:
        assert superuser.execute(
            "SELECT DISTINCT pg_get_userbyid(relowner)::text FROM pg_class WHERE relnamespace = 'events'::regnamespace"
        ).fetchall() == [(role,)]
