"""Bringing an older notebook in."""

import asyncio
from contextlib import closing

from application.import_legacy_runs import Imported, ImportLegacyRuns, Told
from application.legacy_runs import OpensLegacyRuns
from application.notebook import Context
from application.validate_legacy_import import ValidateLegacyImport, Validation
from domain.errors import Rejected
from domain.time_buckets import zone_named
from infrastructure.event_store.store import PostgresEventStore
from projections.follow import Follower
from projections.group_links import GROUP_LINKS
from projections.raw_calls import RAW_CALLS

LONGEST_SOURCE = 100
SHOWN_SECONDS = 600.0


class Legacy:
    """Imports the rows of an older database, and compares them with what was imported."""

    def __init__(
        self,
        databases: OpensLegacyRuns,
        import_runs: ImportLegacyRuns,
        validate: ValidateLegacyImport,
        store: PostgresEventStore,
        follower: Follower,
    ) -> None:
        self._databases = databases
        self._import_runs = import_runs
        self._validate = validate
        self._store = store
        self._follower = follower

    async def import_runs(
        self,
        context: Context,
        *,
        url: str | None = None,
        timezone: str = "UTC",
        source: str | None = None,
        dry_run: bool = False,
        told: Told | None = None,
    ) -> Imported:
        """Import what is not there yet. Raises Rejected, Unavailable.

        url: sqlite:////path or postgresql://…; without it LEGACY_DATABASE_URL
        timezone: of times that name none; source: what the database is known by, if not by its first row
        """
        zone, source = zone_named(timezone), checked_source(source)
        with closing(await asyncio.to_thread(self._databases.open, url)) as runs:
            return await self._import_runs(runs, context, zone=zone, source=source, dry_run=dry_run, told=told)

    async def validate(
        self,
        *,
        url: str | None = None,
        timezone: str = "UTC",
        source: str | None = None,
        sample: int | None = None,
        seed: int = 0,
        told: Told | None = None,
    ) -> Validation:
        """Compare the rows with what was imported from them. Raises Rejected, Unavailable."""
        zone, source = zone_named(timezone), checked_source(source)
        last = await asyncio.to_thread(self._store.last_position)
        await self._follower.wait_until(last, SHOWN_SECONDS, (RAW_CALLS.name, GROUP_LINKS.name))
        with closing(await asyncio.to_thread(self._databases.open, url)) as runs:
            return await self._validate(runs, zone=zone, source=source, sample=sample, seed=seed, told=told)


def checked_source(source: str | None) -> str | None:
    """What a database is known by. Raises Rejected for an empty or overlong name."""
    if source is not None and not 0 < len(source.strip()) <= LONGEST_SOURCE:
        raise Rejected(f"source must have 1 to {LONGEST_SOURCE} characters", fields=("source",))
    return source
