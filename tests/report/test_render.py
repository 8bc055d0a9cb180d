"""Tables as text: every number arrives, nothing in a name breaks the format."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affetto.evaluate import RunFolder
from affetto.report import build_table
from affetto.report.render import sheets, to_csv, to_latex, to_markdown, to_values
from affetto.report.table import PAPER, Comparison, Figure, Table, TableRow, Verdict
from affetto.stats import METRICS

Make = Callable[..., RunFolder]
NAN = float("nan")
FIGURE = Figure(mean=0.5614, over_runs=0.0042, over_folds=0.031, fold_mean=0.5598, low=0.53, high=0.59)
LONE = Figure(mean=0.25, over_runs=NAN, over_folds=NAN, fold_mean=0.25, low=NAN, high=NAN)
BETTER = Comparison(0.031, 0.011, 0.052, 0.0298, 10, 0.00004, 0.00195, 0.0496, Verdict.BETTER)
UNTESTED = Comparison(-0.02, -0.05, 0.01, -0.02, 1, NAN, NAN, NAN, Verdict.UNTESTED)


def _row(name: str, comparison: Comparison | None, figure: Figure = FIGURE, kind: str = "progressive") -> TableRow:
    paper = {"progressive": PAPER["progressive", 2], "most_frequent": PAPER["most_frequent", None]}.get(kind)
    return TableRow(name, kind, 1_234_567, 10, 10, 100, 100, dict.fromkeys(METRICS, figure), comparison, paper)


TABLE = Table(
    (
        _row("Base", None, kind="baseline"),
        _row("Progressive net-2", BETTER),
        _row("Most frequent", UNTESTED, LONE, "most_frequent"),
    ),
    "Base",
    ("What ± means: 95 % & more_or_less <5>.",),
)


def test_narrow_sheets() -> None:
    scores, differences, beside = sheets(TABLE, wide=False)
    assert scores.header == ("row", "params", "UAR", "± runs", "± folds", "95 %", "accuracy", "F1")
    assert scores.rows[1] == ("Progressive net-2", "1.23 M", ".561", ".004", ".031", ".530 to .590", ".561", ".561")
    assert scores.rows[2] == ("Most frequent", "1.23 M", ".250", "", "", "", ".250", ".250")
    assert differences.title == "UAR less that of Base"
    assert differences.rows == (
        ("Progressive net-2", "+.031", "+.011 to +.052", "<.001", ".0496", "better"),
        ("Most frequent", "-.020", "-.050 to +.010", "", "", "untested"),
    )
    assert beside.rows[0] == ("Progressive net-2", ".561", ".58", ".561", ".61", ".561", ".57")
    assert beside.rows[1] == ("Most frequent", ".250", ".39 or .33", ".250", ".33 or .39", ".250", "")


def test_wide_sheets_have_every_spread() -> None:
    scores, differences, _ = sheets(TABLE, wide=True)
    assert [scores.header.count(heading) for heading in ("± runs", "± folds")] == [3, 3]
    assert scores.rows[1][:3] == ("Progressive net-2", "1,234,567", "10 × 10")
    assert "p (Wilcoxon)" in differences.header
    assert all(len(row) == len(sheet.header) for sheet in sheets(TABLE, wide=True) for row in sheet.rows)


def test_what_is_not_there_is_not_shown() -> None:
    alone = Table((_row("Only", None, kind="recurrent"),), None)
    assert [sheet.title for sheet in sheets(alone, wide=False)] == ["Scores"]


def test_markdown_is_a_table() -> None:
    lines = to_markdown(TABLE).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert table[0].startswith("| row | parameters | runs × folds | UAR |")
    assert table[1].startswith("| --- | ---: |")
    assert lines[-1] == r"- What ± means: 95 % & more\_or\_less \<5\>."


def test_latex_is_balanced_and_escaped() -> None:
    text = to_latex(TABLE)
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 3
    assert text.count(r"\toprule") == text.count(r"\midrule") == text.count(r"\bottomrule") == 3
    assert r"Most frequent & $-$.020 & $-$.050 to +.010" in text
    assert r"What $\pm$ means: 95 \% \& more\_or\_less $<$5$>$." in text
    assert "Progressive net-2" in text
    for block in re.findall(r"\\begin{tabular}{(l[r]+)}(.*?)\\end{tabular}", text, re.DOTALL):
        rows = [line for line in block[1].splitlines() if line.endswith(r"\\")]
        assert {line.count(" & ") + 1 for line in rows} == {len(block[0])}


AWKWARD = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)


@given(name=AWKWARD)
def test_no_name_breaks_a_format(name: str) -> None:
    table = Table((_row(name, BETTER),), name, (name,))
    rows = [line for line in to_markdown(table).split("\n") if line.startswith("| ") and ".561" in line]
    assert {len(re.findall(r"(?<!\\)\|", re.sub(r"\\\\", "", row))) for row in rows} == {14, 8}
    latex = re.sub(r"\\[\\{}&%$#_]", "", to_latex(table))
    assert latex.count("{") == latex.count("}")
    assert latex.count("$") % 2 == 0
    (record,) = csv.DictReader(io.StringIO(to_csv(table), newline=""))
    assert record["name"] == name


def test_csv_has_a_column_a_number() -> None:
    records = list(csv.DictReader(io.StringIO(to_csv(TABLE), newline="")))
    assert float(records[1]["uar_mean"]) == 0.5614
    assert float(records[1]["accuracy_over_folds"]) == 0.031
    assert float(records[1]["comparison_p_holm"]) == 0.0496
    assert float(records[1]["published_w_acc_mean"]) == 0.61
    assert (records[0]["comparison_p"], records[2]["uar_low"], records[2]["published_f1_mean"]) == ("", "", "")


def test_values_are_json() -> None:
    values = json.loads(json.dumps(to_values(TABLE), allow_nan=False))
    assert (values["version"], values["baseline"], values["unfinished"]) == (1, "Base", False)
    assert values["rows"][1]["comparison"]["verdict"] == "better"
    assert values["rows"][2]["uar"]["over_runs"] is None
    assert values["rows"][0]["published"] is None
    assert values["notes"] == list(TABLE.notes)


def test_a_whole_run_in_every_format(make_run: Make) -> None:
    table = build_table(make_run(unfinished={"MP_3": {(2, 4)}}))
    assert r"| MP\_3\* |" in to_markdown(table)
    assert r"SVM $|$ eGeMAPS*" in to_latex(table)
    assert [record["name"] for record in csv.DictReader(io.StringIO(to_csv(table)))] == [row.name for row in table.rows]
    assert to_values(table)["rows"][3]["unfinished"] is True


@pytest.mark.parametrize("published", [{"uar": 0.571}, {"uar": 0.571, "accuracy": 0.6, "f1_macro": 0.55}])
def test_what_a_recipe_reports_stands_beside(make_run: Make, models: tuple[TableRow, ...], published: object) -> None:
    run = make_run([models[2], models[3]._replace(published=published)])  # type: ignore[attr-defined]
    table = build_table(run)
    assert any(row[2] == ".571" for row in sheets(table, wide=False)[-1].rows)
    assert any("Figures beside MP_3" in note for note in table.notes)
