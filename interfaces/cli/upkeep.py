"""Looking after the house: projections, the embedded server, the state of everything, serving."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from interfaces.cli import backups
from interfaces.cli.command import Invocation, study_command

if TYPE_CHECKING:
    from infrastructure.embedded_postgres import EmbeddedPostgres
    from interfaces.study import Study


def add_to(study: click.Group) -> None:
    """Add the commands."""

    @study.group()
    def projections() -> None:
        """The read models: tables that are built from the events, and can be built again."""

    study_command(projections, "status")(status)
    study_command(projections, "rebuild", examples="study projections rebuild\nstudy projections rebuild raw_calls")(
        rebuild
    )
    study_command(projections, "verify", examples="study projections verify && echo equal")(verify)

    @study.group()
    def db() -> None:
        """The store's Postgres: the embedded one, who may do what in it, and backups of all that it holds."""

    study_command(db, "start")(start)
    study_command(db, "stop")(stop)
    study_command(db, "uri", examples='psql "$(study db uri)" -c "SELECT * FROM study.raw_calls LIMIT 5"')(uri)
    study_command(db, "migrate", examples="study db migrate --database-url postgresql://owner@host/study")(migrate_log)
    study_command(
        db,
        "grant",
        examples='study db grant study_app | psql "$OWNER_URL"\nstudy db grant analyst --reader | psql "$OWNER_URL"',
    )(grant)
    backups.add_to(db)
    study_command(study, "doctor")(doctor)
    study_command(study, "serve", examples="study serve\nstudy serve --port 9000 --workers 2 --no-dashboard")(serve)


def status(invocation: Invocation) -> None:
    """Show where every read model stands, how far it is behind, and why it stopped if it did."""
    from interfaces.cli.tables import table

    async def work(study: "Study") -> dict[str, Any]:
        return await study.house.status()

    page = invocation.run(work)
    rows = [
        [
            row["name"],
            row["generation"],
            row["state"],
            row["position"],
            row["lag_events"],
            row["lag_seconds"],
            failure(row),
        ]
        for row in page["items"]
    ]
    columns = ["read model", "generation", "state", "position", "events behind", "seconds behind", "failure"]
    invocation.answer(page, lambda console: console.print(table(columns, rows)))


def failure(row: dict[str, Any]) -> str | None:
    """Why a read model stopped, in a line."""
    if row["failed_position"] is None:
        return None
    return f"at event {row['failed_position']}: {row['failed_reason']}"


@click.argument("name", required=False)
def rebuild(invocation: Invocation, name: str | None) -> None:
    """Replay the events into fresh tables beside the live ones, then swap. All read models, or the named one."""
    with invocation.progress() as progress:

        async def work(study: "Study") -> dict[str, Any]:
            return await study.house.rebuild(name, progress=progress)

        page = invocation.run(work)
    rebuilt = [row["name"] for row in page["items"] if name in (None, row["name"]) and row["state"] == "live"]
    invocation.answer(
        page, lambda _console: click.echo(f"Rebuilt {', '.join(rebuilt)}. Next: study projections verify")
    )


@click.argument("name", required=False)
def verify(invocation: Invocation, name: str | None) -> None:
    """Replay the events into fresh tables and compare them with the live ones. Exits with 1 if they differ."""
    import msgspec

    from interfaces.cli.tables import table

    with invocation.progress() as progress:

        async def work(study: "Study") -> dict[str, Any]:
            found: dict[str, Any] = msgspec.to_builtins(await study.house.verify(name, progress=progress))
            return found

        report = invocation.run(work)
    rows = [
        [
            each["read_model"],
            each["table"],
            each["rows"],
            each["checksum_live"],
            "equal" if each["equal"] else "DIFFERS",
        ]
        for each in report["tables"]
    ]

    def show(console: Any) -> None:
        console.print(table(["read model", "table", "rows", "checksum", ""], rows))
        for each in report["tables"]:
            for difference in each["differences"]:
                console.print(
                    f"{each['table']} {difference['key']}: {difference['kind']}", markup=False, highlight=False
                )
        console.print(
            "The live tables are what the events say."
            if report["equal"]
            else "The live tables are not what the events say. Mend them: study projections rebuild"
        )

    invocation.answer(report, show)
    if not report["equal"]:
        sys.exit(1)


def start(invocation: Invocation) -> None:
    """Start the embedded Postgres and keep it up until `study db stop`."""
    embedded = _embedded(invocation)
    running = embedded.start(lambda running: running)
    embedded.pin()
    _migrate(running.owner_uri)
    invocation.answer(
        {"running": True, "uri": running.owner_uri}, lambda _console: click.echo(f"Running: {running.owner_uri}")
    )


def stop(invocation: Invocation) -> None:
    """Stop the embedded Postgres now; whoever uses it loses the connection."""
    stopped = _embedded(invocation).stop()
    invocation.answer(
        {"running": False, "stopped": stopped},
        lambda _console: click.echo("Stopped." if stopped else "It was not running."),
    )


def uri(invocation: Invocation) -> None:
    """Print the store's address, as its owner, for psql and others; starts the embedded Postgres and keeps it up."""
    given = invocation.settings.database_url
    if given is not None:
        address = given.get_secret_value()
    else:
        embedded = _embedded(invocation)
        address = embedded.start(lambda running: running).owner_uri
        embedded.pin()
        _migrate(address)
    invocation.answer({"uri": address}, lambda _console: click.echo(address))


def migrate_log(invocation: Invocation) -> None:
    """Make the log's tables, or bring them up to date, as the store's owner. Opening a store as its owner does so too.

    A server whose DATABASE_URL names the application's role needs this once, and again when a new version asks for it.
    """
    with _as_owner(invocation):
        pass
    invocation.answer({"up_to_date": True}, lambda _console: click.echo("The log's tables are up to date."))


@click.argument("role", required=False)
@click.option("--reader", is_flag=True, help="Rights to read the log and the views, and to change nothing.")
def grant(invocation: Invocation, role: str | None, reader: bool) -> None:
    """Print the SQL that gives a role what the application needs, and no more. Nothing is granted by this command.

    The store's owner runs it, or a superuser where it concerns read models, which belong to the application. ROLE is
    study_app unless you name another; with DATABASE_URL name one.
    """
    import psycopg

    from domain.errors import Rejected
    from infrastructure.embedded_postgres import APPLICATION
    from infrastructure.event_store.roles import application_grants, reader_grants, role_exists

    if role is None and (reader or invocation.settings.database_url is not None):
        raise Rejected("Name the role that is to get the rights: study db grant ROLE", fields=("role",))
    named = role or APPLICATION
    with _as_owner(invocation) as address, psycopg.connect(address, autocommit=True) as connection:
        statements = (reader_grants if reader else application_grants)(connection, named)
        exists = role_exists(connection, named)
    if not exists:
        click.echo(f"There is no role {named} yet. Make it first, with CREATE ROLE … LOGIN PASSWORD …", err=True)
    invocation.answer(
        {"role": named, "exists": exists, "sql": statements},
        lambda _console: click.echo("".join(f"{each};\n" for each in statements), nl=False),
    )


@click.option(
    "--mend", is_flag=True, help="Append what waits in the journal now, and remove orphaned files of artifacts."
)
def doctor(invocation: Invocation, mend: bool) -> None:
    """Check what is configured, what works, what doesn't and how to mend it. Exits with 1 if something doesn't."""
    from interfaces.cli.doctor import checks
    from interfaces.cli.tables import table

    found = checks(invocation, mend=mend)
    rows = [["ok" if each["ok"] else "NOT OK", each["check"], each["detail"], each["remedy"] or ""] for each in found]
    invocation.answer(
        {"items": found, "next_cursor": None},
        lambda console: console.print(table(["", "check", "detail", "what to do"], rows)),
    )
    if not all(each["ok"] for each in found):
        sys.exit(1)


@click.option("--host", help="Address to bind to; PANEL_ADDRESS, else 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; PANEL_PORT, else 8000.")
@click.option("--workers", type=click.IntRange(1, 64), help="Server processes; 1.")
@click.option("--no-dashboard", is_flag=True, help="Serve the API alone.")
@click.option(
    "--first-token",
    is_flag=True,
    help="Where other machines reach it and there is no token yet: make an admin's, and print it this once.",
)
def serve(
    invocation: Invocation,
    host: str | None,
    port: int | None,
    workers: int | None,
    no_dashboard: bool,
    first_token: bool,
) -> None:
    """Serve the dashboard at /dashboard/ and the HTTP API, whose documentation is at /api/docs. Needs no internet."""
    given = {
        "--host": host,
        "--port": port,
        "--workers": workers,
        "--database-url": invocation.flags["database_url"],
        "--home": invocation.flags["study_home"],
        "--log-level": invocation.flags["study_log_level"],
    }
    words = [str(word) for option, value in given.items() if value is not None for word in (option, value)]
    words += ["--no-dashboard"] if no_dashboard else []
    words += ["--first-token"] if first_token else []
    # The server takes this process's place, so that signals reach it; -P keeps this folder's modules out of its way.
    os.execv(sys.executable, [sys.executable, "-P", "-m", "interfaces.serving", *words])  # noqa: S606


def _embedded(invocation: Invocation) -> "EmbeddedPostgres":
    from domain.errors import Rejected
    from infrastructure.embedded_postgres import EmbeddedPostgres

    if invocation.settings.database_url is not None:
        raise Rejected(
            "DATABASE_URL is set, so there is no embedded Postgres to start or stop", fields=("DATABASE_URL",)
        )
    return EmbeddedPostgres(invocation.settings.study_home)


@contextmanager
def _as_owner(invocation: Invocation) -> Iterator[str]:
    """The migrated store's address as its owner, or the one that is configured; the embedded server runs meanwhile."""
    from infrastructure.embedded_postgres import EmbeddedPostgres

    given = invocation.settings.database_url
    if given is not None:
        _migrate(given.get_secret_value())
        yield given.get_secret_value()
        return
    embedded = EmbeddedPostgres(invocation.settings.study_home)
    address = embedded.start(lambda running: running).owner_uri
    try:
        _migrate(address)
        yield address
    finally:
        embedded.stop_if_unused()


def _migrate(address: str) -> None:
    from infrastructure.event_store.migrations import migrate

    migrate(address)
