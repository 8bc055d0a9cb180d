"""What a run folder tells: tables of figures, derived from its predictions alone; nothing here trains."""

from affetto.report.build import build_table
from affetto.report.render import Sheet, sheets, to_csv, to_latex, to_markdown, to_values
from affetto.report.table import Comparison, Figure, Table, TableRow, Verdict

__all__ = [
    "Comparison",
    "Figure",
    "Sheet",
    "Table",
    "TableRow",
    "Verdict",
    "build_table",
    "sheets",
    "to_csv",
    "to_latex",
    "to_markdown",
    "to_values",
]
