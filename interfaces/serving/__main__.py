"""Serve HTTP: `python -m interfaces.serving`, which `study serve` becomes."""

import sys

import click

from domain.errors import Rejected, StudyError, Unavailable
from infrastructure.settings import LogLevel, read_settings
from interfaces.logs import configure_logs
from interfaces.runner.process import sweep_runner
from interfaces.serving.process import Address, run, try_once
from interfaces.serving.workers import Workers

EXIT_CODES: tuple[tuple[type[StudyError], int], ...] = ((Rejected, 2), (Unavailable, 4), (StudyError, 1))


@click.command()
@click.option("--host", help="Address to listen on; PANEL_ADDRESS.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; PANEL_PORT.")
@click.option("--workers", default=1, type=click.IntRange(1, 64), show_default=True, help="Server processes.")
@click.option("--no-dashboard", is_flag=True, help="Serve the API alone.")
@click.option(
    "--first-token", is_flag=True, help="Make an admin's token if one is needed and there is none, and print it."
)
@click.option("--database-url", help="Use this Postgres; DATABASE_URL.")
@click.option("--home", help="Where the embedded store and artifacts lie; STUDY_HOME.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="STUDY_LOG_LEVEL; info.")
def main(
    host: str | None,
    port: int | None,
    workers: int,
    no_dashboard: bool,
    first_token: bool,
    database_url: str | None,
    home: str | None,
    log_level: LogLevel | None,
) -> None:
    """Serve the notebook over HTTP, and the dashboard at /dashboard/."""
    flags = {"database_url": database_url, "study_home": home, "study_log_level": log_level}
    try:
        settings = read_settings(**flags)
        address = Address(
            host=settings.panel_address if host is None else host,
            port=settings.panel_port if port is None else port,
            workers=workers,
            dashboard=not no_dashboard,
            first_token=first_token,
        )
        address.outside()
        address.check_free()
        configure_logs(settings, unless_asked="info")
        if workers == 1:
            run(settings, address)
            return
        try_once(settings, address)
        with sweep_runner(settings, always=True):
            ended = Workers(flags, address, settings.study_drain_s).run()
    except StudyError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(next(code for family, code in EXIT_CODES if isinstance(error, family)))
    sys.exit(ended)


if __name__ == "__main__":
    main()
