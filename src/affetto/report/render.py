"""A table as text: sheets of plain cells, and these as Markdown or LaTeX; every number as CSV or JSON values."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict
from itertools import chain
from typing import Any, NamedTuple

from affetto.drawing.words import share
from affetto.report.table import Figure, Published, Table, TableRow, Verdict, score_label

VERSION = 1  # Of the JSON values
Cells = list[tuple[str, str]]  # What a row shows: heading and text of each cell


class Sheet(NamedTuple):
    """Cells to be set out in columns; the first column holds names, the others numbers."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def sheets(table: Table, *, wide: bool) -> list[Sheet]:
    """A table in parts: wide with every score's spread (130 characters), else with the main one's only (80)."""
    found = [_sheet("Scores", table.rows, lambda row: _scores(row, wide))]
    if any(row.corpora for row in table.rows):
        found.append(_corpora_sheet(table, wide))
    if compared := [row for row in table.rows if row.comparison is not None]:
        title = f"{table.main} less that of {table.baseline}"
        found.append(_sheet(title, compared, lambda row: _difference(row, wide)))
    if matched := [row for row in table.rows if row.published is not None]:
        found.append(_sheet("Here and as published", matched, _beside_paper))
    return found


def to_markdown(table: Table) -> str:
    """Tables for a Markdown page, with the notes as a list below."""
    return markdown_of(sheets(table, wide=True), table.notes)


def markdown_of(found: Iterable[Sheet], notes: Iterable[str]) -> str:
    """Sheets and what one has to know to read them, for a Markdown page."""
    lines: list[str] = []
    for sheet in found:
        rows = [[_markdown(cell) for cell in cells] for cells in (sheet.header, *sheet.rows)]
        rule = ["---", *["---:"] * (len(sheet.header) - 1)]
        table = [f"| {' | '.join(cells)} |" for cells in (rows[0], rule, *rows[1:])]
        lines += [f"**{_markdown(sheet.title)}**", "", *table, ""]
    return "\n".join([*lines, *(f"- {_markdown(note)}" for note in notes), ""])


def to_latex(table: Table) -> str:
    r"""A ``table`` of booktabs (``\usepackage{booktabs}``) for each sheet; the notes stand below the last."""
    parts = ["% needs \\usepackage{booktabs}"]
    found = sheets(table, wide=False)
    for sheet in found:
        rows = [" & ".join(map(_latex, row)) + r" \\" for row in (sheet.header, *sheet.rows)]
        notes = [r"  \par\medskip\raggedright\footnotesize", *(f"  {_latex(note)}\\par" for note in table.notes)]
        parts += [
            r"\begin{table}",
            r"  \centering",
            f"  \\caption{{{_latex(sheet.title)}}}",
            f"  \\begin{{tabular}}{{l{'r' * (len(sheet.header) - 1)}}}",
            r"    \toprule",
            f"    {rows[0]}",
            r"    \midrule",
            *(f"    {row}" for row in rows[1:]),
            r"    \bottomrule",
            r"  \end{tabular}",
            *(notes if sheet is found[-1] else ()),
            r"\end{table}",
        ]
    return "\n".join([*parts, ""])


def to_csv(table: Table) -> str:
    """A line a row and a column a number, unrounded; empty where there is none."""
    records = [_flat(value) for value in to_values(table)["rows"]]
    header = list(dict.fromkeys(name for record in records for name in record))
    file = io.StringIO()
    writer = csv.DictWriter(file, header, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return file.getvalue()


def to_values(table: Table) -> dict[str, Any]:
    """All that is in a table, as JSON has it: unrounded, and null where something is not known."""
    values = asdict(table)
    values["rows"] = [_scores_apart(row) for row in values["rows"]]
    for row, original in zip(values["rows"], table.rows, strict=True):
        row["corpora"] = {name: _scores_apart(each) for name, each in row["corpora"].items()}
        row["unfinished"] = original.unfinished
        row["published"] = original.published and _paper_values(original.published)
    return {"version": VERSION, "unfinished": table.unfinished, **plain(values)}


def _scores_apart(values: dict[str, Any]) -> dict[str, Any]:
    """Each score by its own name, in the place of all of them."""
    parts = (value.items() if key == "scores" else [(key, value)] for key, value in values.items())
    return dict(chain.from_iterable(parts))


def _sheet(title: str, rows: Iterable[TableRow], shown: Callable[[TableRow], Cells]) -> Sheet:
    """A line a row: its name, and the cells that are shown of it."""
    cells = [[("row", row.name + ("*" if row.unfinished else "")), *shown(row)] for row in rows]
    header = tuple(heading for heading, _ in cells[0])
    return Sheet(title, header, tuple(tuple(text for _, text in row) for row in cells))


def _scores(row: TableRow, wide: bool) -> Cells:
    if wide:
        exact = "" if row.parameters is None else f"{row.parameters:,}"
        found = [("parameters", exact), ("runs × folds", f"{row.runs} × {row.folds}")]
    else:
        found = [("params", _rounded(row.parameters))]
    for place, (name, figure) in enumerate(row.scores.items()):
        main = place == 0
        found.append((score_label(name), share(figure.mean)))
        if wide or main:
            found += [("± runs", share(figure.over_runs)), ("± folds", share(figure.over_folds))]
        # Of dimensions, each is a score that papers report.
        if main or name.startswith("ccc"):
            found.append(("95 %", extent(figure.low, figure.high)))
    return found


def _corpora_sheet(table: Table, wide: bool) -> Sheet:
    """The main score by tested corpus; rows that have not yet been tested on one leave it empty."""
    names = sorted({name for row in table.rows for name in row.corpora})

    def shown(row: TableRow) -> Cells:
        cells: Cells = []
        for name in names:
            found = row.corpora[name].main if name in row.corpora else Figure(*[math.nan] * 6)
            cells += [(name, share(found.mean)), *([("95 %", extent(found.low, found.high))] if wide else [])]
        means = [figures.main.mean for figures in row.corpora.values()]
        return [*cells, ("mean", share(sum(means) / len(means) if len(means) == len(names) else math.nan))]

    return _sheet(f"{table.main} by tested corpus", table.rows, shown)


def _difference(row: TableRow, wide: bool) -> Cells:
    found = row.comparison
    assert found is not None
    cells = [("difference", signed(found.difference)), ("95 %", extent(found.low, found.high, signed))]
    if wide:
        cells += [("over folds", signed(found.fold_difference)), ("folds", str(found.folds))]
    cells += [("p", chance(found.p)), ("p (Holm)", chance(found.p_holm))]
    if wide:
        cells.append(("p (Wilcoxon)", chance(found.p_signed_rank)))
    return [*cells, ("shown", "no" if found.verdict is Verdict.NOT_SHOWN else found.verdict.value)]


def _beside_paper(row: TableRow) -> Cells:
    theirs = row.published
    assert theirs is not None
    uar, accuracy, f1 = [theirs.u_acc], [theirs.w_acc], [theirs.f1] if theirs.f1 else []
    if not theirs.readable:
        uar, accuracy = uar + accuracy, accuracy + uar
    digits = 2 if theirs.name else 3  # the paper prints two
    cells: Cells = []
    for name, values in (("uar", uar), ("accuracy", accuracy), ("f1_macro", f1)):
        published = " or ".join(share(mean, digits) for mean, _ in values)
        cells += [(score_label(name), share(row.scores[name].mean)), ("published", published)]
    return cells


def signed(value: float) -> str:
    """With its sign, and none for what rounds to zero.

    >>> signed(0.0314), signed(-0.02), signed(-0.0001)
    ('+.031', '-.020', '.000')
    """
    text = share(value)
    if not text.strip("-.0"):
        return text.lstrip("-")
    return text if value < 0 else f"+{text}"


def extent(low: float, high: float, text: Callable[[float], str] = share) -> str:
    """An interval; nothing for none."""
    return "" if math.isnan(low) else f"{text(low)} to {text(high)}"


def chance(p: float) -> str:
    """A p-value; .0496 is not .050, which would read as not shown.

    >>> chance(0.0496), chance(0.0012), chance(0.2), chance(0.00001)
    ('.0496', '.001', '.200', '<.001')
    """
    if math.isnan(p):
        return ""
    if p < 0.001:
        return "<.001"
    return share(p, 4) if 0.0495 <= p < 0.0505 else share(p)


def _rounded(count: int | None) -> str:
    """A count to three digits, such as 1.23 M, 98.3 k, 516 or 1.00 k."""
    if count is None:
        return ""
    if count < 1_000:
        return str(count)
    for unit, letter in ((1_000, "k"), (1_000_000, "M"), (1_000_000_000, "G")):
        if count < 999.5 * unit:
            return f"{count / unit:#.3g}".rstrip(".") + f" {letter}"
    return f"{count:.2e}"


def _paper_values(theirs: Published) -> dict[str, Any]:
    pairs = {"u_acc": theirs.u_acc, "w_acc": theirs.w_acc, "f1": theirs.f1 or (math.nan, math.nan)}
    values = {name: {"mean": mean, "plus_minus": spread} for name, (mean, spread) in pairs.items()}
    return {"name": theirs.name, **values, "readable": theirs.readable}


def plain(value: Any) -> Any:
    """JSON knows no number that is none."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values side by side: ``{"uar": {"mean": 1}}`` -> ``{"uar_mean": 1}``."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found.update(_flat(value, f"{prefix}{key}_"))
        elif not (value is None and key in ("comparison", "published")):
            found[prefix + key] = value
    return found


def _markdown(text: str) -> str:
    """Escaped, so that a name with a star or a bar stays a name."""
    return " ".join(re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", text).split())


_LATEX: dict[str, str | int | None] = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    **{letter: f"${letter}$" for letter in "<>|"},
    **{letter: f"\\{letter}" for letter in "{}&%$#_"},
}


def _latex(text: str) -> str:
    r"""Escaped, and with minus signs where numbers are negative.

    >>> print(_latex("GRU_96 & more: -.020"))
    GRU\_96 \& more: $-$.020
    """
    return re.sub(r"(?<![\w.])-(?=\.?\d)", "$-$", " ".join(text.split()).translate(str.maketrans(_LATEX)))
