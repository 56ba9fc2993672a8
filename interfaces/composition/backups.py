"""Backing a store up into one file, and restoring it from there, with the files of its artifacts."""

import asyncio
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from uuid import UUID

import psycopg
from msgspec import Struct

from application.ports import ArtifactFiles, Clock
from application.read_artifact import ReadArtifact
from application.store_trouble import unavailable
from application.sweep_progress import Progress
from domain.artifacts import ArtifactKept
from domain.errors import NotFound, Rejected, Unavailable
from domain.events import FACTS
from infrastructure.artifact_urls import artifact_files
from infrastructure.backup_file import (
    FORMAT,
    BackupReader,
    BackupWriter,
    Contents,
    CopiedFile,
    CopiedTable,
    existing_backup,
    new_backup,
)
from infrastructure.clock import SystemClock
from infrastructure.earlier_artifacts import with_earlier
from infrastructure.event_store.copying import COLUMNS, LogSnapshot, Snapshot, check_empty, fill, identity
from infrastructure.settings import Settings
from interfaces.composition.reaching import owners_connection

NAMES_TOLD = 3


class Restored(Struct, frozen=True, kw_only=True):
    """What a store holds after it was restored."""

    store_id: UUID
    position: int
    events: int
    payloads: int
    artifacts: int


def back_up(
    settings: Settings,
    path: Path,
    progress: Progress,
    *,
    without_artifacts: bool = False,
    clock: Clock | None = None,
) -> Contents:
    """Write all that the store holds at this moment into a new file, while others go on using it.

    Files of artifacts that are gone or altered are named in what it returns, and the rest is backed up. Raises
    Rejected, Unavailable.
    """
    made_at = (clock or SystemClock()).now()
    with new_backup(path) as backup, owners_connection(settings) as connection:
        log = LogSnapshot(connection)
        try:
            snapshot = log.begin()
            tables = {table: _copied(backup, log, table, snapshot, progress) for table in COLUMNS}
            artifacts = log.artifacts()
            log.end()
        except psycopg.Error as error:
            raise unavailable("The store can't be backed up", error) from None
        kept = {} if without_artifacts else artifacts
        files = ReadArtifact(_files(settings, snapshot.store_id))
        copied, missing = asyncio.run(_artifacts(backup, files, kept, progress))
        contents = Contents(
            format=FORMAT,
            made_at=made_at,
            made_by=_our_version(),
            store_id=snapshot.store_id,
            schema_version=snapshot.schema_version,
            position=snapshot.position,
            stored_names=snapshot.stored_names,
            tables=tables,
            artifacts=tuple(copied),
            missing=tuple(missing),
            without_artifacts=without_artifacts,
        )
        backup.end(contents)
    return contents


def restore(settings: Settings, path: Path, progress: Progress, *, as_copy: bool = False) -> Restored:
    """Fill an empty store, which is made if need be, with a backup: all of it, or nothing.

    as_copy: it becomes another store, with an identity of its own, and may live beside the one that was backed up.
    Raises Conflict for a store that is in use, Rejected for what is no whole backup, Unavailable.
    """
    with existing_backup(path) as backup:
        contents = backup.contents
        _check_readable(path, contents)
        with owners_connection(settings) as connection:
            check_empty(connection)
            store_id = identity(connection) if as_copy else contents.store_id
            # Files first: an event never tells of a file that isn't there.
            asyncio.run(_keep_artifacts(backup, _files(settings, store_id), progress))
            parts = {
                table: _with_progress(backup, table, copied.sha256, progress)
                for table, copied in contents.tables.items()
            }
            rows = {table: copied.rows for table, copied in contents.tables.items()}
            fill(
                connection,
                parts,
                rows,
                position=contents.position,
                store_id=None if as_copy else contents.store_id,
            )
    return Restored(
        store_id=store_id,
        position=contents.position,
        events=rows["events"],
        payloads=rows["payloads"],
        artifacts=len(contents.artifacts),
    )


def _copied(backup: BackupWriter, log: LogSnapshot, table: str, snapshot: Snapshot, progress: Progress) -> CopiedTable:
    rows = snapshot.rows[table]
    with backup.part(_part(table), shrink=True) as part:
        log.copy(table, part.write, lambda done, total: progress(table, done, total), rows)
    return CopiedTable(rows=rows, sha256=part.sha256)


async def _artifacts(
    backup: BackupWriter, files: ReadArtifact, kept: dict[str, ArtifactKept], progress: Progress
) -> tuple[list[CopiedFile], list[str]]:
    """Returns those that were copied, and the names of those that are gone or altered."""
    copied, missing = [], []
    for number, (sha256, fact) in enumerate(kept.items(), start=1):
        try:
            with backup.part(_file(sha256), shrink=False) as part:
                async for block in files.blocks(sha256, fact.byte_size):
                    part.write(block)
            copied.append(CopiedFile(sha256=sha256, byte_size=part.written_bytes))
        except (NotFound, Unavailable):
            missing.append(fact.name)
        progress("artifacts", number, len(kept))
    return copied, missing


async def _keep_artifacts(backup: BackupReader, files: ArtifactFiles, progress: Progress) -> None:
    artifacts = backup.contents.artifacts
    for number, copied in enumerate(artifacts, start=1):
        with backup.opened(_file(copied.sha256)) as file:
            if await files.keep(file) != copied.sha256:
                raise Rejected(f"The backup's file of artifact {copied.sha256} was altered", fields=("file",))
        progress("artifacts", number, len(artifacts))


def _with_progress(backup: BackupReader, table: str, sha256: str, progress: Progress) -> Iterator[bytes]:
    done, total = 0, backup.size_of(_part(table))
    for block in backup.blocks(_part(table), sha256):
        yield block
        done += len(block)
        progress(f"{table}, bytes", done, total)


def _check_readable(path: Path, contents: Contents) -> None:
    unknown = sorted({*contents.stored_names} - {*FACTS.current, *FACTS.retired})
    if unknown or {*contents.tables} != {*COLUMNS}:
        named = ", ".join(unknown[:NAMES_TOLD]) or "other tables"
        raise Rejected(
            f"{path} was made by version {contents.made_by}, and this is {_our_version()}, which can't read all of it "
            f"({named}); install that version or a later one, and restore it with that",
            fields=("file",),
        )


def _files(settings: Settings, store_id: UUID) -> ArtifactFiles:
    files = artifact_files(settings.artifacts_place(), str(store_id))
    return with_earlier(files, settings.earlier_artifacts_folder())


def _part(table: str) -> str:
    return f"{table}.copy"


def _file(sha256: str) -> str:
    return f"artifacts/{sha256}"


def _our_version() -> str:
    try:
        return version("study-query-llm")
    except PackageNotFoundError:
        return "unknown"
