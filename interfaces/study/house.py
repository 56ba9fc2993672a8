"""Keeping the house in order: read models, journals, calls of dead processes."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import uuid4

import msgspec
import structlog

from application.call_provider import Stopping
from application.notebook import Context
from application.recover_calls import RecoverCalls
from application.recover_sweeps import RecoverSweeps
from application.replay_journal import ReplayJournal
from application.share_calls import ShareCalls
from domain.errors import Unavailable
from infrastructure.answer_journal import AnswerJournal
from infrastructure.event_store.store import PostgresEventStore, StorePlace
from interfaces.study.words import Json
from projections.follow import Follower
from projections.rebuild import rebuild
from projections.replay import WholeLog
from projections.status import status as status_of
from projections.verify import VerifyReport, verify

if TYPE_CHECKING:
    from infrastructure.metrics import Metrics

WORTH_A_WORD = 50_000  # events that take seconds to apply

log = structlog.get_logger(__name__)


class House:
    """The state of an open study, and what brings it in order."""

    def __init__(
        self,
        store: PostgresEventStore,
        follower: Follower,
        apart: tuple[Follower, ...],
        replay_journal: ReplayJournal,
        recover_calls: RecoverCalls,
        recover_sweeps: RecoverSweeps,
        share_calls: ShareCalls,
        journal: AnswerJournal,
        stopping: Stopping,
        *,
        ready_lag_seconds: float,
        metrics: "Metrics | None",
    ) -> None:
        self._store = store
        self._follower = follower
        self._apart = apart
        read_models = [model for each in (follower, *apart) for model in each.read_models]
        self._all = WholeLog(follower.pages, follower.connect, tuple(read_models))
        self._replay_journal = replay_journal
        self._recover_calls = recover_calls
        self._recover_sweeps = recover_sweeps
        self._share_calls = share_calls
        self._journal = journal
        self._stopping = stopping
        self._ready_lag_seconds = ready_lag_seconds
        self._metrics = metrics

    async def catch_up(self, *, backfill: bool = True) -> None:
        """Bring every read model to the end of the log; one that fails stops alone, and the log says why.

        backfill: also those that are only being built, which may take minutes on a long log
        """
        ours = {model.name for model in self._follower.read_models}
        behind = max((row["lag_events"] for row in (await self.status())["items"] if row["name"] in ours), default=0)
        if backfill and behind > WORTH_A_WORD:
            log.warning("bringing the read models up to date first", events_behind=behind)
        caught_up = await asyncio.to_thread(self._follower.catch_up, backfill=backfill)
        for failure in caught_up.failures:
            log.warning("a read model has stopped; see `study projections status`", **msgspec.to_builtins(failure))

    async def give_up_claims(self) -> None:
        """Give up the claims of calls that were never made, if the store was away when they were to be given up."""
        await self._share_calls.give_up()

    async def replay(self) -> int:
        """Append what waits in this process's journal and in those of dead ones; returns how many entries."""
        replayed = await self._replay_journal()
        if replayed.set_aside:
            log.warning("something in a journal can't be appended; see `study doctor`", files=replayed.set_aside)
        return replayed.entries

    async def recover(self) -> int:
        """Mark the calls and sweeps that dead processes left open, but for what they could still write down."""
        await self.replay()
        context = Context("recovery", uuid4())
        marked = await self._recover_calls(context) + await self._recover_sweeps(context)
        if marked:
            await self.catch_up(backfill=False)
        return marked

    async def status(self) -> Json:
        """Every read model: where it stands, how far behind, and why it stopped if it did."""
        rows = await asyncio.to_thread(status_of, self._all)
        return {"items": [msgspec.to_builtins(row) for row in rows], "next_cursor": None}

    async def rebuild(self, name: str | None, *, progress: Callable[[str, int, int], None] | None = None) -> Json:
        """Replay one read model, or all, beside the live ones, and swap. Raises NotFound for an unknown name."""
        await asyncio.to_thread(rebuild, self._all, name, progress)
        return await self.status()

    async def verify(
        self, name: str | None, *, progress: Callable[[str, int, int], None] | None = None
    ) -> VerifyReport:
        """Replay into fresh tables and compare with the live ones, row by row.

        Those that follow at their own pace are brought to the end of the log first, else little might be compared.
        """
        for each in self._apart:
            if name is None or name in {model.name for model in each.read_models}:
                await asyncio.to_thread(each.catch_up)
        return await asyncio.to_thread(verify, self._all, name, progress)

    async def health(self) -> Json:
        """Each part of a server, whether it is well, and what there is to know of it.

        A read model that has stopped at an event is told, but is in the way of nobody who doesn't ask it; one that is
        far behind makes its server wait for its turn. What waits in a journal is told too: it will be stored.
        """
        return {
            **await self._store_and_follower(),
            "journal": {"ok": True, "waiting_bytes": await asyncio.to_thread(self._journal.waiting_bytes)},
            "serving": {"ok": not self._stopping.has_begun},
        }

    async def place(self) -> StorePlace:
        """Which server this is, and how much lies there. Raises Unavailable."""
        return await self._store.place()

    def measure(self, *, readers: int) -> None:
        """Say how things stand in this process, if anybody measures."""
        if self._metrics is not None:
            self._metrics.stands("study_store_queued_appends", self._store.queued)
            self._metrics.stands("study_events_readers", readers)

    async def _store_and_follower(self) -> Json:
        try:
            last = await asyncio.to_thread(self._store.last_position)
            rows = (await self.status())["items"]
        except Unavailable as error:
            return {
                "store": {"ok": False, "detail": str(error)},
                "follower": {"ok": False, "detail": "Nobody knows without the store"},
            }
        followed = {model.name for model in self._follower.read_models}
        live = [row for row in rows if row["state"] == "live" and row["name"] in followed]
        behind = [row for row in live if row["failed_position"] is None]
        lag_seconds = max((row["lag_seconds"] for row in behind), default=0.0)
        return {
            "store": {"ok": True, "position": last},
            "follower": {
                "ok": lag_seconds <= self._ready_lag_seconds,
                "lag_events": max((row["lag_events"] for row in behind), default=0),
                "lag_seconds": round(lag_seconds, 3),
                "stopped": sorted(row["name"] for row in live if row["failed_position"] is not None),
                "read_models": [
                    {name: row[name] for name in ("name", "state", "position", "lag_events", "lag_seconds")}
                    for row in rows
                ],
            },
        }
