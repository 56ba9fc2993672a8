"""The answer journal: what can't be stored just now is fsynced to a file of this process's own until it can.

The file is locked for as long as its process lives: one whose lock is free was left by a dead process, and whoever
opens the store next replays it.
"""

import asyncio
import errno
import mmap
import os
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from uuid import UUID

import structlog
from msgspec import Struct

from domain.errors import Unavailable
from infrastructure.journal_frames import Damage, Entries, Frames

if sys.platform != "win32":
    import fcntl

JOURNALS = "journal"  # the folder in STUDY_HOME; in it one folder a store
SUFFIX = ".journal"
SET_ASIDE = ".set-aside"

log = structlog.get_logger(__name__)


class _Waiting(Struct):
    frame: bytes
    done: bool = False
    error: OSError | None = None


class AnswerJournal:
    """Implements the port Journal. Nothing is made on disk before something must be kept."""

    def __init__(self, folder: Path, *, process: str) -> None:
        self._folder = folder
        self._path = folder / f"{process}{SUFFIX}"
        self._frames = Frames()
        self._held: Counter[UUID] = Counter()
        self._pending: deque[_Waiting] = deque()
        self._writing = threading.Lock()
        self._file: int | None = None
        self._size = 0

    async def keep(self, entries: Entries) -> None:
        """Make events of one stream durable here; see the port."""
        stream_id = entries[0].stream_id
        waiting = _Waiting(self._frames.encode(entries))
        self._held[stream_id] += 1
        self._pending.append(waiting)
        await asyncio.to_thread(self._write, waiting)
        if waiting.error is not None:
            self._held[stream_id] -= 1
            raise Unavailable(
                f"What happened to call {stream_id} can't be recorded: the store is away, and {self._path} can't be "
                f"written: {waiting.error.strerror}. Make room there, or set STUDY_HOME to another folder"
            ) from waiting.error
        log.warning("the store is away; an entry waits in the journal", call_id=str(stream_id), file=str(self._path))

    def holds(self, stream_id: UUID) -> bool:
        """Whether entries for this stream wait here."""
        return self._held[stream_id] > 0

    @property
    def waits(self) -> bool:
        """Whether anything waits here."""
        return self._size > 0

    def waiting_bytes(self) -> int:
        """How much waits for this store in all journals of this home, other processes' too."""
        found = 0
        for path in self._folder.glob(f"*{SUFFIX}"):
            with suppress(OSError):  # replayed meanwhile
                found += path.stat().st_size
        return found

    def files(self) -> Iterator["JournalFile"]:
        """This process's file, if anything waits, and those that dead processes left; see the port."""
        if self._file is not None and self._size:
            size = self._size
            yield JournalFile(self._file, size, self._frames, lambda left_over: self._forget(size, left_over))
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            file = None if path == self._path else _take(path)
            if file is not None:
                try:
                    yield JournalFile(file, os.fstat(file).st_size, self._frames, _forgetting(path))
                finally:
                    os.close(file)

    def close(self) -> None:
        """Let go of the file; what waits in it is now for others to replay."""
        with self._writing:
            if self._file is not None:
                if not self._size:
                    self._path.unlink(missing_ok=True)
                os.close(self._file)
                self._file = None

    def _write(self, mine: _Waiting) -> None:
        """Write everything that waits with one fsync; whoever comes while that lasts finds theirs done."""
        with self._writing:
            if mine.done:
                return
            batch = [self._pending.popleft() for _ in range(len(self._pending))]
            try:
                if self._file is None:
                    self._file = _create(self._path)
                _write_at(self._file, self._size, b"".join(waiting.frame for waiting in batch))
            except OSError as error:
                for waiting in batch:
                    waiting.error = error
            else:
                self._size += sum(len(waiting.frame) for waiting in batch)
            for waiting in batch:
                waiting.done = True

    def _forget(self, size: int, left_over: bool) -> bool:
        """Empty the file, unless more came meanwhile: then all of it is replayed again, which changes nothing."""
        with self._writing:
            if self._file is None or self._size != size or self._pending:
                return False
            if left_over:
                _set_aside(self._path)
                os.close(self._file)
                self._file = None
            else:
                os.ftruncate(self._file, 0)
                os.fsync(self._file)
            self._size = 0
            self._held.clear()
            return True


class JournalFile:
    """Implements the port: one file of which `size` bytes are read, and what to do once all of it is durable."""

    def __init__(self, file: int, size: int, frames: Frames, forget: Callable[[bool], bool]) -> None:
        self._file = file
        self._size = size
        self._frames = frames
        self._forget = forget
        self._damages: list[Damage] = []

    def entries(self) -> Iterator[Entries]:
        """What can be read, in order; see the port."""
        if not self._size:
            return
        with mmap.mmap(self._file, self._size, access=mmap.ACCESS_READ) as content:
            for found in self._frames.read(content):
                if isinstance(found, Damage):
                    self._damages.append(found)
                else:
                    yield found

    def close(self, *, unplaced: int) -> bool:
        """Forget what was read; see the port."""
        left_over = bool(self._damages or unplaced)
        return self._forget(left_over) and left_over


def _forgetting(path: Path) -> Callable[[bool], bool]:
    """What to do with a dead process's file."""

    def forget(left_over: bool) -> bool:
        if left_over:
            _set_aside(path)
        else:
            path.unlink()
        return True

    return forget


def _create(path: Path) -> int:
    """Make this process's file, for its owner alone, and lock it; it is there after a power cut too."""
    _make_folder(path.parent)
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        # Somebody who looked for the dead's files may have taken it, still empty, before it was locked.
        if _locks(file, wait=True) and _is_at(path, file):
            _sync(path.parent)
            return file
        os.close(file)


def _make_folder(folder: Path) -> None:
    if not folder.exists():
        _make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        _sync(folder.parent)


def _take(path: Path) -> int | None:
    """Open and lock a file that a dead process left; None for one that is in use or was replayed meanwhile."""
    try:
        file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):  # another user's is theirs to replay
        return None
    if _locks(file) and _is_at(path, file):
        return file
    os.close(file)
    return None


def _locks(file: int, *, wait: bool = False) -> bool:
    if sys.platform == "win32":
        raise OSError(errno.ENOTSUP, "Windows has no file locks that end with their process")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _is_at(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False


def _write_at(file: int, offset: int, content: bytes) -> None:
    """Write and fsync; what was written in vain is taken back, or later frames would stand behind its rest."""
    view = memoryview(content)
    try:
        while view:
            view = view[os.pwrite(file, view, offset + len(content) - len(view)) :]
        os.fsync(file)
    except OSError:
        os.ftruncate(file, offset)
        raise


def _set_aside(path: Path) -> None:
    """Keep a file of which something is left over, under a name that is not replayed."""
    names = (path.with_name(f"{path.stem}.{number}{SET_ASIDE}") for number in count(1))
    path.rename(next(name for name in names if not name.exists()))
    _sync(path.parent)


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
