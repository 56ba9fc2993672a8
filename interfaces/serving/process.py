"""One server process: it opens the study, serves it, and ends well when it is told to."""

import asyncio
import errno
import gc
import ipaddress
import socket
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, cast

import click
import structlog
import uvicorn
from litestar import Litestar
from msgspec import Struct

from domain.errors import Conflict, Rejected
from infrastructure.settings import Settings
from interfaces.composition import open_study
from interfaces.http.app import create_app, gate_of
from interfaces.signals import cancelled_by_signals, exit_at_once, reason
from interfaces.study import Study

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from interfaces.serving.dispatch import Dispatcher, Place


FIRST_NAME = "first"  # whose the token is that a server makes
EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - what is asked for is compared, not bound
NOT_OURS = {
    errno.EADDRINUSE: "is taken by another program, perhaps another `study serve`: stop that one, or choose a --port",
    errno.EACCES: "may not be listened at by this user: choose a --port of 1024 or more",
}
RECORDING_SECONDS = 10.0  # for what is cancelled at the end of the drain, also when the store is away

log = structlog.get_logger(__name__)


class Address(Struct, frozen=True, kw_only=True):
    """Where a server listens, and how many processes do there."""

    host: str
    port: int
    workers: int = 1
    dashboard: bool = True
    first_token: bool = False  # make one when other machines reach it and there is none

    def outside(self) -> list[str]:
        """The addresses among those of the host that other machines reach. Raises Rejected for what is no host."""
        try:
            found = {str(entry[4][0]) for entry in socket.getaddrinfo(self.host, None)} if self.host else {"every"}
        except OSError as error:
            raise Rejected(f"--host {self.host!r} is no address of this machine: {error}", fields=("host",)) from None
        return sorted(address for address in found if not _is_loopback(address))

    def check_free(self) -> None:
        """Raise Rejected where another program listens already, or this user may not: before the store is opened."""
        for family, kind, protocol, _, place in socket.getaddrinfo(
            self.host or None, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            with socket.socket(family, kind, protocol) as tried:
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    tried.bind(place)
                except OSError as error:
                    if error.errno in NOT_OURS:
                        told = f"{self.host}:{self.port} {NOT_OURS[error.errno]}"
                        raise Rejected(told, fields=("port",)) from None

    def told(self, port: int) -> None:
        """Write to the log where browsers find what is served."""
        host = "127.0.0.1" if self.host in EVERYWHERE else f"[{self.host}]" if ":" in self.host else self.host
        root = f"http://{host}:{port}"
        pages = {"dashboard": f"{root}/dashboard/"} if self.dashboard else {}
        log.info("ready; Ctrl-C ends it", **pages, documentation=f"{root}/api/docs")

    def uvicorn_options(self, drain_seconds: float) -> dict[str, Any]:
        """As uvicorn takes them."""
        return {
            "host": self.host,
            "port": self.port,
            "access_log": False,  # the gate writes it, with the request's id
            "log_config": None,
            "server_header": False,
            "proxy_headers": False,
            "timeout_graceful_shutdown": drain_seconds,
        }


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False


def run(
    settings: Settings, address: Address, listener: socket.socket | None = None, place: "Place | None" = None
) -> None:
    """Serve until a signal ends it. Raises StudyError when it can't begin.

    place: where the dashboard is to be had, when several processes serve together
    """
    with _runner() as runner, suppress(asyncio.CancelledError):
        runner.run(_until_told(_serve(settings, address, listener, place)))


def try_once(settings: Settings, address: Address) -> None:
    """Say what is wrong before any worker starts, and each of them says it. Raises StudyError."""

    async def opened() -> None:
        async with open_study(settings) as study:
            await check_somebody_may_come(study, address)

    with _runner() as runner:
        runner.run(opened())


async def check_somebody_may_come(study: Study, address: Address) -> None:
    """Whoever reaches a server may spend money: beyond this machine there must be a token. Raises Rejected."""
    outside = address.outside()
    if not outside:
        return
    if address.first_token:
        await _make_first_token(study)
    if not await study.tokens.check.is_there_one():
        raise Rejected(
            f"--host {address.host!r} can be reached from other machines ({', '.join(outside)}), and there is no token "
            "to come in with. Make one first, with `study token issue --name NAME --scope admin`, by --first-token or "
            "STUDY_TOKEN, or bind to 127.0.0.1",
            fields=("host",),
        )
    log.warning("other machines reach this server: tokens travel in clear unless a proxy with TLS stands before it")


async def _make_first_token(study: Study) -> None:
    """Print an admin's token, unless there is any; of several servers that start at once, one does."""
    if await study.tokens.check.is_there_one():
        return
    with suppress(Conflict):
        issued = await study.tokens.issue(FIRST_NAME, "admin", study.context())
        click.echo(
            f"An admin's token, {FIRST_NAME}, was made; keep it, since it is not shown again:\n{issued['token']}"
        )


async def _until_told(serving: Coroutine[Any, Any, None]) -> None:
    """Serve, and give it up at a signal that comes before uvicorn looks for them, or after it has.

    It is cancelled and not torn out: an exception that a signal's handler raises may come out anywhere, also where
    Python can only print it and go on, as at the end of an import.
    """
    with cancelled_by_signals(lambda _number: None):
        await serving


async def _serve(settings: Settings, address: Address, listener: socket.socket | None, place: "Place | None") -> None:
    async with open_study(settings, serving=True) as study, AsyncExitStack() as stack:
        await check_somebody_may_come(study, address)
        app = create_app(
            settings, study, loopback=not address.outside(), workers=address.workers, runs_sweeps=address.workers == 1
        )
        served = await _with_dashboard(app, study, place, stack) if address.dashboard else app
        listeners = [] if listener is None else [listener]
        if address.dashboard and place is not None and place.is_here:
            listeners.append(stack.enter_context(_listening_at(place)))
        config = uvicorn.Config(served, **address.uvicorn_options(settings.study_drain_s))
        server = _Server(config, study, address if listener is None else None)
        gc.freeze()  # what is there by now stays; each walk through it would make all calls wait for 0.1 s
        await server.serve(listeners or None)
        await _recorded(server)


async def _with_dashboard(app: Litestar, study: Study, place: "Place | None", stack: AsyncExitStack) -> "Dispatcher":
    # Only here, so that who wants none loads nothing of it.
    from interfaces.serving.dispatch import Dispatcher
    from interfaces.serving.doorkeeper import Doorkeeper
    from interfaces.serving.forwarding import Forwarding

    api = cast("ASGIApp", app)
    if place is not None and not place.is_here:
        forwarding = Forwarding(place.path)
        stack.push_async_callback(forwarding.aclose)
        return Dispatcher(api, forwarding)
    doorkeeper = Doorkeeper(gate_of(app), study)
    await stack.enter_async_context(doorkeeper.dashboard.running())
    return Dispatcher(api, doorkeeper)


def _listening_at(place: "Place") -> socket.socket:
    """For the other workers, in place of a worker that had it before and died."""
    place.path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(place.path))
    return listening


class _Server(uvicorn.Server):
    """Says where it serves, and why it stops, so that calls that are cancelled do; a second signal ends it at once.

    address: of a server that listens by itself; who hands it a socket tells where
    """

    def __init__(self, config: uvicorn.Config, study: Study, address: Address | None) -> None:
        super().__init__(config)
        self._study = study
        self._address = address
        self._loop = asyncio.get_running_loop()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then tell where."""
        await super().startup(sockets)
        if self._address is not None and self.started:
            self._address.told(self.servers[0].sockets[0].getsockname()[1])

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's own signature
        """Drain at the first signal."""
        if self.should_exit:
            exit_at_once(sig)
        self._study.stopping.reason = reason(sig)
        # Who follows the log would stay for ever.
        self._loop.call_soon_threadsafe(self._study.live.end, f"{reason(sig)}; another one may go on from here")
        self.should_exit = True  # and no more: uvicorn would raise the signal once more at the end


async def _recorded(server: uvicorn.Server) -> None:
    """Until the requests that were cancelled have written down what became of their calls."""
    if server.server_state.tasks:
        await asyncio.wait(server.server_state.tasks, timeout=RECORDING_SECONDS)


def _runner() -> asyncio.Runner:
    return asyncio.Runner(loop_factory=uvicorn.Config(_nowhere, log_config=None).get_loop_factory())


async def _nowhere(*_: Any) -> None:
    """An application for asking uvicorn which event loop it would use."""
