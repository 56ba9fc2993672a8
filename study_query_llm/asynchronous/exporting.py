"""What is recorded, as files."""

from pathlib import Path
from typing import Any

from application.export_rows import Exported
from domain.errors import Rejected
from interfaces.as_of import AsOf, Moment
from interfaces.study.analytics import analytics_wanted
from interfaces.study.audit import events_wanted
from interfaces.study.calls import calls_wanted
from interfaces.study.vectors import filter_of
from study_query_llm.asynchronous.opened import Opened

KINDS = ("calls", "embeddings", "events", "analytics")
OF_A_TABLE = ("table", "bucket", "timezone", "by")


class Exporting(Opened):
    """What is recorded, as files."""

    async def export(
        self,
        what: str,
        out: str | Path,
        *,
        file_format: str = "parquet",
        spreadsheet: bool = False,
        as_of: AsOf | None = None,
        **filters: Any,
    ) -> Exported:
        """Write what is recorded to a file, in bounded memory; one that was there is replaced at the end.

        what: "calls" (with their requests and answers, the oldest first), "embeddings" (of one model), "events" or
            "analytics" (table="timeseries", with bucket, timezone and by; or "providers", "errors", "summary")
        file_format: parquet, jsonl or csv; npy for embeddings
        spreadsheet: of csv, put an apostrophe before texts that a spreadsheet takes for formulas
        filters: those of `study export WHAT`: provider, model, group ("TYPE/NAME"), since, until, status …
        Raises Rejected, NotFound where no vector or no such group is there.
        """
        if what not in KINDS:
            raise Rejected(f"{what!r} can't be exported; there are {', '.join(KINDS)}", fields=("what",))
        exports, moment = self._wired.exports, Moment(as_of)
        if what == "calls":
            export = await exports.calls(file_format, calls_wanted(**filters), moment, spreadsheet=spreadsheet)
        elif what == "embeddings":
            export = await exports.embeddings(file_format, filter_of(**filters), moment, spreadsheet=spreadsheet)
        elif what == "analytics":
            table = {name: filters.pop(name) for name in OF_A_TABLE if name in filters}
            wanted_sums = analytics_wanted(**filters)
            export = await exports.analytics(file_format, wanted_sums, moment, spreadsheet=spreadsheet, **table)
        else:
            after = filters.pop("after", 0)
            wanted = events_wanted(**filters)
            export = await exports.events(file_format, wanted, moment, after=after, spreadsheet=spreadsheet)
        return await exports.to_file(export, Path(out))
