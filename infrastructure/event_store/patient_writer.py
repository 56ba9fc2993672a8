"""Batches sent on a connection of their own, again and again while trouble passes. It takes the time that it takes."""

import contextlib
import time
from collections.abc import Callable, Sequence

import psycopg
import structlog

from application.ports import Append, AppendConflict, ClaimHeld, Unacknowledged
from application.store_trouble import is_inputs_fault, trouble_of, unavailable
from domain.errors import Rejected, StudyError, Unavailable
from infrastructure.event_store.append_call import TELL
from infrastructure.event_store.append_queue import Waiting
from infrastructure.event_store.datastore import configure, writers
from infrastructure.event_store.recorder import Recorder, Refused

RETRY_SECONDS = 5.0

log = structlog.get_logger(__name__)


class PatientWriter:
    """Connects when it must. Whoever takes its connection leaves None in its place."""

    def __init__(self, recorder: Recorder, connect: Callable[[], psycopg.Connection], *, process: int) -> None:
        self.connection: psycopg.Connection | None = None
        self._recorder = recorder
        self._connect = connect
        self._process = process

    def write(self, batch: Sequence[Waiting], failed: Exception | None = None) -> list[int | StudyError | None]:
        """Send a batch; one result an append, None for those to be sent once more.

        failed: what came of it when it was sent on a line

        The same bytes sent again are recognised by the store, so that a lost acknowledgement is simply retried. So is
        trouble that passes, for a while; other trouble is told at once.
        """
        sent = isinstance(failed, psycopg.Error) and _may_have_landed(failed)
        # Whoever queued while the store was away has waited already; who is in doubt, perhaps for a silent line alone.
        deadline = (time.monotonic() if sent else batch[0].since) + RETRY_SECONDS
        pause = 0.05
        while True:
            try:
                if failed is not None:
                    error, failed = failed, None
                    raise error
                connection = self._connected()
                try:
                    results = self._recorder.insert_appends(
                        connection, [each.encoded for each in batch], process=self._process
                    )
                except psycopg.Error as error:
                    if not sent and _may_have_landed(error):
                        sent, deadline = True, time.monotonic() + RETRY_SECONDS
                    raise
            except Exception as error:  # noqa: BLE001 - its callers would wait for ever for a writer that died
                if is_inputs_fault(error):
                    if len(batch) == 1:
                        return [Rejected(f"The store refused the event: {str(error).strip()}")]
                    return [result for each in batch for result in self.write([each])]
                trouble = trouble_of(error)
                gives_up = trouble is None or not trouble.passes or time.monotonic() + pause > deadline
                what = f"The event store can't be written{self._behind_whom(error)}" if gives_up else ""
                self.close()
                if gives_up:
                    with contextlib.suppress(Exception):  # who reads the log may have left, and closed it
                        log.warning("the store can't be written", reason=str(error).strip(), appends=len(batch))
                    family, said = Unacknowledged if sent else Unavailable, str(unavailable(what, error))
                    return [family(said) for _ in batch]
                time.sleep(pause)
                pause = min(pause * 2, 1.0)
            else:
                return told(batch, results)

    def tell(self) -> None:
        """Tell those who wait for events, if it can be done at once; else they look by themselves within a second."""
        try:
            self._connected().execute(TELL)
        except psycopg.Error:
            self.close()

    def _behind_whom(self, error: Exception) -> str:
        """Who holds the lock that didn't come free, if that was it."""
        if isinstance(error, psycopg.errors.LockNotAvailable):
            with contextlib.suppress(psycopg.Error):
                return f" while {writers(self._connected())} is writing"
        return ""

    def _connected(self) -> psycopg.Connection:
        if self.connection is None or self.connection.closed:
            self.connection = self._connect()
            configure(self.connection)
        return self.connection

    def close(self) -> None:
        """Let go of the connection."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()


def told(batch: Sequence[Waiting], results: Sequence[int | Refused]) -> list[int | StudyError | None]:
    """What each caller is told; None for those to be sent once more."""
    return [
        result if isinstance(result, int) else _failure(each.encoded.append, result)
        for each, result in zip(batch, results, strict=True)
    ]


def _failure(append: Append, refused: Refused) -> StudyError | None:
    """What the caller is told; None when the append is to be sent once more."""
    if refused.outcome == "conflict":
        first = append.events[0]
        return AppendConflict(
            f"Version {first.version} of {first.stream_id} is taken: somebody else wrote it first",
            existing_id=str(first.stream_id),
        )
    if refused.outcome == "held" and append.take and refused.holder is not None:
        more = f" or one of {len(append.take) - 1} other claims" if len(append.take) > 1 else ""
        return ClaimHeld(
            f"{append.take[0].key}{more} is held by {refused.holder}, which is alive", holder=refused.holder
        )
    if _is_in_its_own_way(append):
        return Rejected("An append holds two events for one version of a stream, or takes a claim for two holders")
    return None


def _is_in_its_own_way(append: Append) -> bool:
    """Whether it could be sent again for ever."""
    versions = {(event.stream_id, event.version) for event in append.events}
    holders = {(claim.key, claim.holder) for claim in append.take}
    return len(versions) < len(append.events) or len({key for key, _ in holders}) < len(holders)


def _may_have_landed(error: psycopg.Error) -> bool:
    """Whether the line or the server went away (class 57P) before it was said what became of a batch.

    A server that panics may have written the commit before: its full disk is no refusal.
    """
    if error.sqlstate is None or error.sqlstate.startswith("57P"):
        return True
    return error.diag.severity_nonlocalized == "PANIC"
