"""Keep the read models up with the log: any process may follow, none twice."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import psycopg
from msgspec import MsgspecError, Struct

from application.ports import EventPages
from application.store_trouble import unavailable
from domain.errors import StudyError, Unavailable
from projections.advance import Advance, advance
from projections.generations import Connect, Connection, Generation, create_indexes, generations, opened
from projections.pages import LARGEST_BATCH, BatchSize, SharedPages
from projections.positions import PositionWaits
from projections.read_model import ReadModel
from projections.swap import swap

IDLE_SECONDS = 1.0
FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 60.0
FIRST_RECONNECT_SECONDS = 0.2
LONGEST_RECONNECT_SECONDS = 10.0
UNHURRIED_SECONDS = 2.0
INTERRUPT_SECONDS = 0.5
# A round costs nearly as much for one event as for a hundred, and takes the processor from the calls that bring them:
# who has just come is shown soon, and while more keep coming, more of them at once.
GATHER_SECONDS = 0.05
GATHER_MORE_SECONDS = 0.25
MANY_MOVES = 1_000  # that one round made in all read models: there is a backlog, and no reason to wait for more


class ReadModelFailure(Struct, frozen=True, kw_only=True):
    """A read model that stopped at an event it can't apply; the others went on."""

    read_model: str
    position: int
    reason: str


class CaughtUp(Struct, frozen=True, kw_only=True):
    """Up to where the read models were brought, but for those that failed."""

    position: int
    failures: tuple[ReadModelFailure, ...] = ()


class _Retry(Struct):
    """When a failed read model is tried again, on the monotonic clock."""

    at: float
    wait_seconds: float


class Follower:
    """Applies new events to every live generation, and to those that are to replace an outdated one.

    Calls from several threads take turns. Every call may raise Unavailable when the server is gone; the next one
    connects anew.
    """

    def __init__(
        self,
        pages: EventPages,
        connect: Connect,
        read_models: Sequence[ReadModel],
        *,
        largest_batch: int = LARGEST_BATCH,
    ) -> None:
        self.pages = pages
        self.connect = connect
        self.read_models = tuple(read_models)
        self._batch = BatchSize(largest_batch)
        self._shared = SharedPages(pages)
        self._turn = threading.Lock()
        self._connection: Connection | None = None
        self._retries: dict[str, _Retry] = {}
        self._waits = PositionWaits(connect)
        self._leaving = False

    def step(self) -> int:
        """One batch for every read model that has events to read; returns how many were read, 0 when all are done."""
        with self._turn:
            return sum(each.moved for _, each in self._round(self._last_position(), self._due))

    def catch_up(self, until: int | None = None, *, backfill: bool = True, patience_seconds: float = 30.0) -> CaughtUp:
        """Bring every read model to `until`, or to where the log ends now; failed ones are tried once more.

        backfill: also those that are only being built, which may take minutes on a long log
        Raises Unavailable when others hold a read model, or its views, and it doesn't move for `patience_seconds`.
        """
        with self._turn:
            target = self._last_position() if until is None else until
            failures: dict[str, ReadModelFailure] = {}
            moved_at = time.monotonic()
            positions: dict[str, int] = {}
            while True:
                done = self._round(
                    target,
                    lambda generation: (
                        generation.schema not in failures and (backfill or generation.state != "building")
                    ),
                )
                for generation, each in done:
                    if each.outcome == "failed":
                        failures[generation.schema] = _failure(generation, each)
                waiting = {generation.schema: each.position for generation, each in done if each.outcome == "held"}
                if not any(each.outcome == "moved" for _, each in done):
                    if not waiting:
                        return CaughtUp(position=target, failures=tuple(failures.values()))
                    if waiting == positions and time.monotonic() - moved_at > patience_seconds:
                        raise Unavailable(
                            f"Another process or a long query holds {', '.join(waiting)}, which has not moved for "
                            f"{patience_seconds:g} s; see `study projections status`, or end what holds it"
                        )
                    time.sleep(0.02)
                if waiting != positions:
                    moved_at, positions = time.monotonic(), waiting

    async def wait_until(self, at_least: int, timeout_seconds: float = 5.0, reads: tuple[str, ...] = ()) -> None:
        """Until live read models show a position, whoever moves them; `reads` are those that matter, or all of ours.

        Raises Unavailable when it takes longer, or one of them has stopped.
        """
        ours = reads or tuple(model.name for model in self.read_models)
        await self._waits.wait_until(at_least, timeout_seconds, ours)

    def positions(self) -> dict[str, int]:
        """Up to where each live read model has read."""
        return self._waits.positions()

    def gather(self, seconds: float) -> None:
        """Let more events come before the next round, unless somebody waits for what this one brings."""
        if not self._leaving:
            self._waits.anybody.wait(seconds)

    def leave(self) -> None:
        """Gather no more: who follows in another thread is about to stop."""
        self._leaving = True
        self._waits.anybody.set()

    def interrupt(self) -> None:
        """Give up what another thread does just now; it then raises Unavailable there, and nothing of it is written."""
        connection = self._connection
        if connection is not None:
            with suppress(psycopg.Error):
                connection.cancel_safe(timeout=INTERRUPT_SECONDS)

    def close(self) -> None:
        """Let go of the connections."""
        with self._turn:
            self._disconnect()
            self._shared.close()
        self._waits.close()

    def _last_position(self) -> int:
        try:
            return self.pages.last_position()
        except psycopg.Error as error:
            raise unavailable("The log can't be read", error) from error

    def _due(self, generation: Generation) -> bool:
        retry = self._retries.get(generation.schema)
        return retry is None or time.monotonic() >= retry.at

    def _round(self, target: int, wanted: Callable[[Generation], bool]) -> list[tuple[Generation, Advance]]:
        """One batch for each generation that is behind the target and wanted."""
        self._shared.forget()
        done: list[tuple[Generation, Advance]] = []
        batch_size, began = self._batch.events, time.monotonic()
        try:
            connection = self._connected()
            for model, generation in self._followed(connection):
                if generation.position < target and wanted(generation):
                    each = advance(connection, self._shared, model, generation, batch_size=batch_size)
                    self._remember(generation, each)
                    done.append((generation, each))
                    if each.outcome == "moved" and generation.state == "live" and model.missing_indexes is not None:
                        create_indexes(connection, model, generation)
                elif generation.state == "building" and generation.position >= target and wanted(generation):
                    done.append((generation, self._swap(connection, model, generation)))
        except psycopg.Error as error:
            self._disconnect()
            raise unavailable("The read models can't be brought up to date", error) from error
        if any(each.moved >= batch_size for _, each in done):
            self._batch.took(time.monotonic() - began)
        return done

    def _swap(self, connection: Connection, model: ReadModel, generation: Generation) -> Advance:
        try:
            # Indexes take their time, and events arrive meanwhile: only when they are there and those are read, swap.
            if not create_indexes(connection, model, generation):
                swap(connection, self._shared, model, generation)
        except psycopg.errors.LockNotAvailable:
            return Advance(outcome="held", position=generation.position)
        return Advance(outcome="moved", position=generation.position)

    def _followed(self, connection: Connection) -> list[tuple[ReadModel, Generation]]:
        """Live generations of the shape we know, and building ones whose live one has another."""
        found: list[tuple[ReadModel, Generation]] = []
        all_of_them = generations(connection, "live", "building")
        for model in self.read_models:
            mine = {each.state: each for each in all_of_them if each.name == model.name}
            live, building = mine.get("live"), mine.get("building")
            if live is not None and live.shape == model.shape:
                found.append((model, live))
            elif building is not None and building.shape == model.shape:
                found.append((model, building))
        return found

    def _remember(self, generation: Generation, each: Advance) -> None:
        if each.outcome == "failed":
            before = self._retries.get(generation.schema)
            wait = min(before.wait_seconds * 2, LONGEST_RETRY_SECONDS) if before else FIRST_RETRY_SECONDS
            self._retries[generation.schema] = _Retry(time.monotonic() + wait, wait)
        elif each.outcome == "moved":
            self._retries.pop(generation.schema, None)

    def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = opened(self.connect)
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _failure(generation: Generation, each: Advance) -> ReadModelFailure:
    return ReadModelFailure(
        read_model=generation.name, position=each.failed_position or 0, reason=each.reason or "unknown"
    )


class FollowerThread:
    """Follows in the background: when woken, and every second in case a wake-up was missed.

    unhurried: begin only after a while, which short commands don't last, and leave off in the middle of a batch when
    told to stop; for read models whose batches, or indexes, take long
    """

    def __init__(self, follower: Follower, wake: threading.Event, *, unhurried: bool = False) -> None:
        self.follower = follower
        self.last_error: str | None = None
        self._unhurried = unhurried
        self._wake = wake
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="study follower", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the batch under way, or give it up, and let go of the follower's connections."""
        self._stopping.set()
        self._wake.set()
        self.follower.leave()
        if self._thread.ident is not None:
            while self._unhurried and self._thread.is_alive():
                self.follower.interrupt()
                self._thread.join(INTERRUPT_SECONDS)
            self._thread.join()
        self.follower.close()

    def _run(self) -> None:
        wait_seconds = FIRST_RECONNECT_SECONDS
        if self._unhurried:
            self._stopping.wait(UNHURRIED_SECONDS)
        while not self._stopping.is_set():
            try:
                while (moved := self.follower.step()) and not self._stopping.is_set():
                    if moved < MANY_MOVES:
                        self.follower.gather(GATHER_MORE_SECONDS)
            except (psycopg.Error, StudyError, MsgspecError, OSError) as error:
                # The server restarts, or a newer version writes events we don't know: keep trying, and say why.
                self.last_error = f"{type(error).__name__}: {error}"
                self._stopping.wait(wait_seconds)
                wait_seconds = min(wait_seconds * 2, LONGEST_RECONNECT_SECONDS)
            else:
                self.last_error = None
                wait_seconds = FIRST_RECONNECT_SECONDS
                if self._wake.wait(IDLE_SECONDS):
                    self.follower.gather(GATHER_SECONDS)
                self._wake.clear()
