"""The report of a run folder: tables, figures and a page, derived from its predictions alone; nothing here trains."""

from affetto.report.build import build_table
from affetto.report.page import write_report

__all__ = ["build_table", "write_report"]
