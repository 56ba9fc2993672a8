"""Sweep steps on a Dask cluster, named by the address of its scheduler."""

import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import uuid4

import structlog

from domain.errors import Rejected, Unavailable
from infrastructure.compute import computed
from infrastructure.software import software_versions

if TYPE_CHECKING:
    from distributed import Client, Future

T = TypeVar("T")

CONNECT_SECONDS = 10
SHARED_AGAIN = 3  # times that what is shared is sent once more, when every worker that had it has died
ADDRESS = re.compile(r"(?:tcp|tls)://(?:\[[0-9A-Fa-f:]+\]|[\w.-]+):\d{1,5}")
# What decides numbers. Machines may differ in all else.
DECISIVE = ("rules", "numpy", "scipy", "numba")

log = structlog.get_logger(__name__)


class DaskCompute:
    """The port Compute on a cluster. A worker that dies costs what it was computing, which another does again."""

    def __init__(self, client: "Client", address: str, *, at_once: int) -> None:
        self._client = client
        self._address = address
        self._at_once = at_once

    @property
    def at_once(self) -> int:
        """As many as the workers had threads when they were asked."""
        return self._at_once

    async def share(self, value: T) -> T:
        """Send a value to every worker, so that it outlives any of them."""
        shared = _Shared(value)
        await self._send(shared)
        return cast("T", shared)  # among the arguments of `run`, it stands for the value

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function on any of the workers and return its result."""
        from distributed import KilledWorker
        from distributed.client import FutureCancelledError

        for _ in range(1 + SHARED_AGAIN):
            try:
                return await self._run(function, arguments)
            except KilledWorker as error:
                raise Unavailable(
                    f"Each worker of {self._address} that computed this died over it: {error}. They may lack memory; "
                    "what is finished is kept, and `study sweep resume` goes on"
                ) from None
            except FutureCancelledError as error:
                if self._client.status != "running":
                    raise self._gone() from None
                log.warning("workers died with what was shared", compute=self._address, reason=str(error))
            for argument in arguments:
                if isinstance(argument, _Shared):
                    await self._send(argument)
        raise self._gone()

    async def _run(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        sent = [argument.future if isinstance(argument, _Shared) else argument for argument in arguments]
        future = self._client.submit(
            computed, 1, function, *sent, key=f"study-{function.__name__}-{uuid4()}", pure=False
        )
        try:
            return await future
        finally:
            if not future.done():
                with suppress(Exception):  # whoever asked has left; the cluster may have left too
                    await future.cancel()

    async def _send(self, shared: "_Shared") -> None:
        try:
            shared.future = await self._client.scatter(
                shared.value, broadcast=True, hash=False, timeout=CONNECT_SECONDS
            )
        except (OSError, TimeoutError):
            raise self._gone() from None

    def _gone(self) -> Unavailable:
        return Unavailable(
            f"The Dask scheduler {self._address} has gone, or has no workers; what is finished is kept. Start it again "
            "and `study sweep resume` goes on, or resume with --compute local"
        )


class _Shared:
    """A value, and where the cluster has it now."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.future: Future | None = None


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[DaskCompute]:
    """A cluster for as long as the block runs.

    Raises Rejected for what is no address, and where the workers would compute other numbers than we; Unavailable.
    """
    check_address(address)
    try:
        from distributed import Client
    except ImportError:
        raise Rejected(
            f"To compute at {address}, Dask must be installed: pip install 'study-query-llm[dask]'", fields=("compute",)
        ) from None
    try:
        client = await Client(address, asynchronous=True, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise Unavailable(f"The Dask scheduler {address} can't be reached: {error}") from None
    try:
        threads = await client.nthreads()
        if not threads:
            raise Unavailable(f"The Dask scheduler {address} has no workers; start some with `dask worker {address}`")
        await _check_software(client, address)
        yield DaskCompute(client, address, at_once=sum(threads.values()))
    finally:
        await client.close()


def check_address(address: str) -> None:
    """Raise Rejected for what is no scheduler's address."""
    if not ADDRESS.fullmatch(address):
        raise Rejected(
            f"{address[:60]!r} is no place to compute at: write local, or a scheduler such as tcp://127.0.0.1:8786",
            fields=("compute",),
        )


async def _check_software(client: "Client", address: str) -> None:
    """Raise Rejected unless every worker has our code and our libraries, so that results are the same bits."""
    ours = _decisive(software_versions())
    try:
        of_workers: Mapping[str, Mapping[str, str]] = await client.run(software_versions)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong there, it is because our code is missing
        raise Rejected(
            f"The workers at {address} can't run our code ({type(error).__name__}: {error}): install this version of "
            "study-query-llm there",
            fields=("compute",),
        ) from None
    for worker, theirs in of_workers.items():
        if _decisive(theirs) != ours:
            raise Rejected(
                f"Worker {worker} has {_decisive(theirs)} and this machine {ours}, so that it would compute other "
                "numbers; install the same versions",
                fields=("compute",),
            )


def _decisive(software: Mapping[str, str]) -> dict[str, str | None]:
    return {name: software.get(name) for name in DECISIVE}
