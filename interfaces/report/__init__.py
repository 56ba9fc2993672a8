"""A sweep's report: one page of HTML that needs nothing but a browser, or the same as Markdown."""

from interfaces.report.command import command_of, unsaid
from interfaces.report.data import ReportData
from interfaces.report.markdown import to_markdown
from interfaces.report.writing import ReportFormat, format_of, report_as, write_report

__all__ = [
    "ReportData",
    "ReportFormat",
    "command_of",
    "format_of",
    "report_as",
    "to_markdown",
    "unsaid",
    "write_report",
]
