"""Read your writes: wait until the read models show a position, with one poll for all who wait."""

import asyncio
import threading

import psycopg

from application.store_trouble import unavailable
from domain.errors import Unavailable
from projections.generations import Connect, Connection, opened
from projections.reading import READING

POLL_SECONDS = 0.01

LIVE = """
    SELECT name, position, failed_position, failed_reason FROM projections.generations WHERE state = 'live'
    ORDER BY name
"""


class PositionWaits:
    """Knows where the live read models stand, by asking the database; all waiters of a process share the asking."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._connection: Connection | None = None
        self._turn = threading.Lock()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._polling: asyncio.Task[None] | None = None

    def positions(self) -> dict[str, int]:
        """Up to where each live read model has read. Raises Unavailable."""
        return {name: position for name, position, _, _ in self._standing()}

    async def wait_until(self, at_least: int, timeout_seconds: float) -> None:
        """Until every live read model shows a position. Raises Unavailable when one has failed, or in time."""
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((at_least, reached))
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll())
        try:
            await asyncio.wait_for(reached, timeout_seconds)
        except TimeoutError:
            behind = {name: at for name, at in (await asyncio.to_thread(self.positions)).items() if at < at_least}
            if behind:
                raise Unavailable(
                    f"Position {at_least} is stored, but not to be read after {timeout_seconds:g} s: "
                    f"{', '.join(f'{name} is at {at}' for name, at in behind.items())}; "
                    "try again later, or see `study projections status`"
                ) from None

    def close(self) -> None:
        """Let go of the connection."""
        with self._turn:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    async def _poll(self) -> None:
        while self._waiting:
            try:
                standing = await asyncio.to_thread(self._standing)
            except Unavailable as error:
                self._tell_all(error)
                return
            self._tell(standing)
            if self._waiting:
                await asyncio.sleep(POLL_SECONDS)

    def _tell(self, standing: list[tuple[str, int, int | None, str | None]]) -> None:
        reached = min((position for _, position, _, _ in standing), default=0)
        stuck = [row for row in standing if row[2] is not None]
        still_waiting: list[tuple[int, asyncio.Future[None]]] = []
        for at_least, waiter in self._waiting:
            if waiter.done():
                continue
            failed = next((row for row in stuck if row[1] < at_least), None)
            if reached >= at_least:
                waiter.set_result(None)
            elif failed is not None:
                waiter.set_exception(
                    Unavailable(
                        f"Position {at_least} is stored, but the read model {failed[0]} stopped at "
                        f"event {failed[2]}: {failed[3]}; see `study projections status`"
                    )
                )
            else:
                still_waiting.append((at_least, waiter))
        self._waiting = still_waiting

    def _tell_all(self, error: Unavailable) -> None:
        for _, waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(error)
        self._waiting = []

    def _standing(self) -> list[tuple[str, int, int | None, str | None]]:
        with self._turn:
            try:
                if self._connection is None or self._connection.closed:
                    self._connection = opened(self._connect)
                return self._connection.execute(LIVE).fetchall()
            except psycopg.Error as error:
                if self._connection is not None:
                    self._connection.close()
                    self._connection = None
                raise unavailable(READING, error) from error
