"""A report as a file: its ending says of which kind, and it is written whole or not at all."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

from domain.errors import Rejected
from interfaces.report.data import ReportData

ReportFormat = Literal["html", "md"]
ENDINGS: Mapping[str, ReportFormat] = {".html": "html", ".htm": "html", ".md": "md", ".markdown": "md"}


def format_of(out: Path) -> ReportFormat:
    """Which kind of report a file is to hold. Raises Rejected for what can't become one, before any work is done."""
    if not out.name or out.is_dir():
        raise Rejected(f"{out} is a folder; name a file in it, such as {out / 'report.html'}", fields=("out",))
    if not out.parent.is_dir():
        raise Rejected(f"{out} can't be written: there is no folder {out.parent}", fields=("out",))
    if not os.access(out.parent, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise Rejected(f"{out} can't be written: you may not write into {out.parent.absolute()}", fields=("out",))
    if out.suffix.lower() not in ENDINGS:
        raise Rejected(f"{out} is neither a page nor Markdown: let its name end in .html or .md", fields=("out",))
    return ENDINGS[out.suffix.lower()]


def report_as(kind: ReportFormat, data: ReportData) -> str:
    """The report's text. Raises Rejected for an unfinished sweep."""
    if kind == "md":
        from interfaces.report.markdown import to_markdown

        return to_markdown(data)
    from interfaces.report.page import render

    return render(data)


def write_report(data: ReportData, out: Path) -> Path:
    """Render and write a report; returns the whole path. Raises Rejected."""
    page = report_as(format_of(out), data)
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        temporary.write_text(page, encoding="utf-8")
        temporary.replace(out)
    except OSError as error:
        raise Rejected(f"{out} can't be written: {error.strerror}", fields=("out",)) from None
    finally:
        with suppress(OSError):
            temporary.unlink()  # there only if it did not become the report
    return out.absolute()
