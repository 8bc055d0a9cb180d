"""The report of a run folder: tables, figures and a page, derived from its predictions alone; nothing here trains."""

from affetto.report.build import build_table
from affetto.report.page import Written, write_report
from affetto.report.render import Sheet, sheets, to_csv, to_latex, to_markdown, to_values
from affetto.report.table import Comparison, Figure, Table, TableRow, Verdict

__all__ = [
    "Comparison",
    "Figure",
    "Sheet",
    "Table",
    "TableRow",
    "Verdict",
    "Written",
    "build_table",
    "sheets",
    "to_csv",
    "to_latex",
    "to_markdown",
    "to_values",
    "write_report",
]
