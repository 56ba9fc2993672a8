"""Bringing an older notebook in."""

from application.import_legacy_runs import Imported
from application.validate_legacy_import import Validation
from study_query_llm.asynchronous.opened import Opened


class Migrating(Opened):
    """Bringing an older notebook in."""

    async def import_legacy(
        self, url: str | None = None, *, timezone: str = "UTC", source: str | None = None, dry_run: bool = False
    ) -> Imported:
        """Import the rows of `inference_runs` as calls at their own times; what is there already stays as it is.

        url: sqlite:////path or postgresql://…; without it LEGACY_DATABASE_URL
        timezone: of times that name none; source: what the database is known by, if not by its first row
        Returns counts, and in `odd` each row of which not all could be imported, with the reason. Raises Rejected,
        Unavailable.
        """
        context = self._wired.context()
        return await self._wired.legacy.import_runs(context, url=url, timezone=timezone, source=source, dry_run=dry_run)

    async def validate_legacy(
        self,
        url: str | None = None,
        *,
        timezone: str = "UTC",
        source: str | None = None,
        sample: int | None = None,
        seed: int = 0,
    ) -> Validation:
        """Compare the rows with what was imported: `equal`, and in `differences` every one that there is.

        sample: compare only so many rows one by one, chosen by `seed`; sums are always of all
        Raises Rejected, Unavailable.
        """
        return await self._wired.legacy.validate(url=url, timezone=timezone, source=source, sample=sample, seed=seed)
