"""Serve HTTP: `python -m interfaces.http`, which `study serve` becomes."""

import asyncio
import ipaddress
import os
import signal
import socket
import sys
from types import FrameType
from typing import Any

import click
import uvicorn

from application.call_provider import Stopping
from domain.errors import Rejected, StudyError, Unavailable
from infrastructure.settings import LogLevel, Settings, read_settings
from interfaces.composition import open_study
from interfaces.http.app import create_app
from interfaces.logs import configure_logs
from interfaces.runner.process import sweep_runner
from interfaces.signals import exit_at_once, reason

RECORDING_SECONDS = 10.0  # for what is cancelled at the end of the drain, also when the store is away

EXIT_CODES: tuple[tuple[type[StudyError], int], ...] = ((Rejected, 2), (Unavailable, 4), (StudyError, 1))


@click.command()
@click.option("--host", default="127.0.0.1", envvar="PANEL_ADDRESS", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=8000, envvar="PANEL_PORT", type=click.IntRange(0, 65535), show_default=True, help="Port."
)
@click.option("--workers", default=1, type=click.IntRange(1, 64), show_default=True, help="Server processes.")
@click.option("--database-url", help="Use this Postgres; DATABASE_URL.")
@click.option("--home", help="Where the embedded store and artifacts lie; STUDY_HOME.")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="STUDY_LOG_LEVEL; info.")
def main(
    host: str, port: int, workers: int, database_url: str | None, home: str | None, log_level: LogLevel | None
) -> None:
    """Serve the notebook over HTTP."""
    try:
        settings = read_settings(database_url=database_url, study_home=home, study_log_level=log_level)
        check_loopback(host)
        configure_logs(settings, unless_asked="info")
        _exit_quietly_on_signals()
        with asyncio.Runner(loop_factory=uvicorn.Config(_nowhere, log_config=None).get_loop_factory()) as runner:
            if workers == 1:
                runner.run(_serve(settings, host, port))
                return
            runner.run(_open_once(settings))
        _serve_many(
            settings,
            host,
            port,
            workers,
            settings.study_drain_s,
            {"DATABASE_URL": database_url, "STUDY_HOME": home, "STUDY_LOG_LEVEL": log_level},
        )
    except StudyError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(next(code for family, code in EXIT_CODES if isinstance(error, family)))


def check_loopback(host: str) -> None:
    """Raise Rejected for an address that other machines can reach: whoever reaches the server may spend money."""
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None)} if host else {"every address"}
    except OSError as error:
        raise Rejected(f"--host {host!r} is no address of this machine: {error}", fields=("host",)) from None
    outside = sorted(str(address) for address in found if not _is_loopback(str(address)))
    if outside:
        raise Rejected(
            f"--host {host!r} can be reached from other machines ({', '.join(outside)}), and this server asks nobody "
            "who they are. Bind to 127.0.0.1 and, to serve others, put a proxy in front that authenticates them and "
            "sends requests on with the Host header 127.0.0.1",
            fields=("host",),
        )


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False


async def _serve(settings: Settings, host: str, port: int) -> None:
    async with open_study(settings, serving=True) as study:
        how = _how(host, port, settings.study_drain_s)
        server = _Server(uvicorn.Config(create_app(settings, study), **how), study.stopping)
        await server.serve()
        await _recorded(server)


class _Server(uvicorn.Server):
    """Says why it stops, so that the calls that are cancelled do; a second signal ends it at once."""

    def __init__(self, config: uvicorn.Config, stopping: Stopping) -> None:
        super().__init__(config)
        self._stopping = stopping

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain at the first signal."""
        if self.should_exit:
            exit_at_once(sig)
        self._stopping.reason = reason(sig)
        super().handle_exit(sig, frame)


async def _recorded(server: uvicorn.Server) -> None:
    """Until the requests that were cancelled have written down what became of their calls."""
    if server.server_state.tasks:
        await asyncio.wait(server.server_state.tasks, timeout=RECORDING_SECONDS)


async def _open_once(settings: Settings) -> None:
    """Say what is wrong with the store before any worker starts, and each of them says it with a traceback."""
    async with open_study(settings):
        pass


def _serve_many(
    settings: Settings, host: str, port: int, workers: int, drain_seconds: float, flags: dict[str, str | None]
) -> None:
    # Workers are processes of their own; what the flags say reaches them through the environment.
    os.environ.update({name: value for name, value in flags.items() if value is not None})
    with sweep_runner(settings, always=True):
        uvicorn.run(
            "interfaces.http.app:from_environment", factory=True, workers=workers, **_how(host, port, drain_seconds)
        )


def _how(host: str, port: int, drain_seconds: float) -> dict[str, Any]:
    return {
        "host": host,
        "port": port,
        "access_log": False,  # the gate writes it, with the request's id
        "log_config": None,
        "server_header": False,
        "proxy_headers": False,
        "timeout_graceful_shutdown": drain_seconds,
    }


def _exit_quietly_on_signals() -> None:
    """Have a served-out server exit with 0: uvicorn raises the signal again once it has drained."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))


async def _nowhere(*_: Any) -> None:
    """An application for asking uvicorn which event loop it would use."""


if __name__ == "__main__":
    main()
