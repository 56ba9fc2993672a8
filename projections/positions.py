"""Read your writes: wait until the read models show a position, with one poll for all who wait."""

import asyncio
import threading
from typing import NamedTuple

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


class _Waiting(NamedTuple):
    at_least: int
    reads: tuple[str, ...]  # the read models that matter to who waits; none named means all
    reached: "asyncio.Future[None]"

    def counts(self, name: str) -> bool:
        return not self.reads or name in self.reads


class PositionWaits:
    """Knows where the live read models stand, by asking the database; all waiters of a process share the asking."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._connection: Connection | None = None
        self._closed = False
        self._turn = threading.Lock()
        self._waiting: list[_Waiting] = []
        self._polling: asyncio.Task[None] | None = None
        self.anybody = threading.Event()  # is set while somebody waits

    def positions(self) -> dict[str, int]:
        """Up to where each live read model has read. Raises Unavailable."""
        return {name: position for name, position, _, _ in self._standing()}

    async def wait_until(self, at_least: int, timeout_seconds: float, reads: tuple[str, ...] = ()) -> None:
        """Until the live read models show a position. Raises Unavailable when one has failed, or in time.

        reads: only these matter, so that another one that has stopped is in nobody's way
        """
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = _Waiting(at_least, reads, reached)
        self._waiting.append(waiting)
        self.anybody.set()
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll())
        try:
            await asyncio.wait_for(reached, timeout_seconds)
        except TimeoutError:
            positions = await asyncio.to_thread(self.positions)
            behind = {name: at for name, at in positions.items() if at < at_least and waiting.counts(name)}
            if behind:
                raise Unavailable(
                    f"Position {at_least} is stored, but not to be read after {timeout_seconds:g} s: "
                    f"{', '.join(f'{name} is at {at}' for name, at in behind.items())}; "
                    "try again later, or see `study projections status`"
                ) from None

    def close(self) -> None:
        """Let go of the connection for good: a poll that nobody waits for any more opens no other."""
        with self._turn:
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    async def _poll(self) -> None:
        try:
            await self._poll_while_waited_for()
        finally:
            self.anybody.clear()

    async def _poll_while_waited_for(self) -> None:
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
        still_waiting: list[_Waiting] = []
        for each in self._waiting:
            if each.reached.done():
                continue
            behind = [row for row in standing if row[1] < each.at_least and each.counts(row[0])]
            failed = next((row for row in behind if row[2] is not None), None)
            if not behind:
                each.reached.set_result(None)
            elif failed is not None:
                each.reached.set_exception(
                    Unavailable(
                        f"Position {each.at_least} is stored, but the read model {failed[0]} stopped at "
                        f"event {failed[2]}: {failed[3]}; see `study projections status`"
                    )
                )
            else:
                still_waiting.append(each)
        self._waiting = still_waiting

    def _tell_all(self, error: Unavailable) -> None:
        for each in self._waiting:
            if not each.reached.done():
                each.reached.set_exception(error)
        self._waiting = []

    def _standing(self) -> list[tuple[str, int, int | None, str | None]]:
        with self._turn:
            if self._closed:
                raise Unavailable(f"{READING}: the study is closed")
            try:
                if self._connection is None or self._connection.closed:
                    self._connection = opened(self._connect)
                return self._connection.execute(LIVE).fetchall()
            except psycopg.Error as error:
                if self._connection is not None:
                    self._connection.close()
                    self._connection = None
                raise unavailable(READING, error) from error
