"""A sweep's report: one page of HTML that needs nothing but a browser."""

from interfaces.report.command import command_of
from interfaces.report.page import ReportData, render

__all__ = ["ReportData", "command_of", "render"]
