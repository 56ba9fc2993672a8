"""What waits in the journals of a home, as a person wants to know it; reads and changes nothing."""

from datetime import datetime
from pathlib import Path

from msgspec import Struct

from infrastructure.answer_journal import JOURNALS, SET_ASIDE, SUFFIX
from infrastructure.journal_frames import Damage, Frames


class WaitingFile(Struct, frozen=True, kw_only=True):
    """One journal: how many calls wait in it, since when, and whether it was set aside."""

    path: Path
    calls: int
    since: datetime | None
    damaged_bytes: int
    set_aside: bool


def waiting_files(home: Path) -> list[WaitingFile]:
    """The journals of every store in a home, without those that hold nothing. Raises OSError."""
    files = sorted((home / JOURNALS).glob("*/*"))
    found = [_state(path) for path in files if path.suffix in {SUFFIX, SET_ASIDE}]
    return [state for state in found if state.calls or state.damaged_bytes]


def _state(path: Path) -> WaitingFile:
    calls, since, damaged = set(), None, 0
    for entries in Frames().read(path.read_bytes()):
        if isinstance(entries, Damage):
            damaged += entries.size
        else:
            calls.add(entries[0].stream_id)
            since = min(since or entries[0].envelope.occurred_at, entries[0].envelope.occurred_at)
    return WaitingFile(
        path=path, calls=len(calls), since=since, damaged_bytes=damaged, set_aside=path.suffix == SET_ASIDE
    )
