"""The table of a run folder: every figure recomputed from its predictions by other means."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import numpy as np
import pytest
from scipy import stats as scipy_stats
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from tests.predictions import read_tested

from affetto import stats
from affetto.errors import RunError
from affetto.evaluate import Prediction, Row, RunFolder
from affetto.evaluate.predictions import Answers
from affetto.report import build_table
from affetto.report.table import Table, TableRow, Verdict

Make = Callable[..., RunFolder]
WHOLE = set(product(range(3), range(5)))


def _row(table: Table, name: str) -> TableRow:
    return next(row for row in table.rows if row.name == name)


def _uar(predictions: list[Prediction], repeat: int | None = None, fold: int | None = None) -> float:
    chosen = [
        each
        for each in predictions
        if (repeat is None or each.repeat == repeat) and (fold is None or each.fold == fold)
    ]
    return float(balanced_accuracy_score([each.reference for each in chosen], [each.predicted for each in chosen]))


def test_figures_are_those_of_the_predictions(make_run: Make) -> None:
    run = make_run()
    said = read_tested(run, "Large")
    runs = [[each for each in said if each.repeat == repeat] for repeat in range(3)]
    pairs = [([each.reference for each in part], [each.predicted for each in part]) for part in runs]
    folds = [np.mean([_uar(said, repeat, fold) for repeat in range(3)]) for fold in range(5)]
    row = _row(build_table(run), "Large")
    uars = [balanced_accuracy_score(*pair) for pair in pairs]
    assert (row.main.mean, row.main.over_runs) == (pytest.approx(np.mean(uars)), pytest.approx(np.std(uars, ddof=1)))
    assert row.main.over_folds == pytest.approx(np.std(folds, ddof=1))
    assert row.main.fold_mean == pytest.approx(np.mean(folds))
    assert row.scores["accuracy"].mean == pytest.approx(np.mean([accuracy_score(*pair) for pair in pairs]))
    assert row.scores["f1_macro"].mean == pytest.approx(np.mean([f1_score(*pair, average="macro") for pair in pairs]))
    assert row.main.low < row.main.mean < row.main.high
    assert (row.kind, row.parameters, row.runs, row.folds, row.cells, row.planned) == (
        "baseline",
        1_234_567,
        3,
        5,
        15,
        15,
    )


def test_rows_stand_in_the_recipes_order_and_best_first_when_asked(make_run: Make) -> None:
    table = build_table(make_run())
    assert [row.name for row in table.rows][:3] == ["Most frequent class", "Small", "Large"]
    uars = [row.main.mean for row in table.best_first().rows]
    assert uars == sorted(uars, reverse=True)


def test_the_difference_is_tested_over_folds(make_run: Make) -> None:
    run = make_run()
    table = build_table(run, "Large")
    ours, theirs = read_tested(run, "MP_3"), read_tested(run, "Large")
    by_fold = [
        np.mean([_uar(ours, repeat, fold) - _uar(theirs, repeat, fold) for repeat in range(3)]) for fold in range(5)
    ]
    # two speakers of ten are tested, two validate, six are trained on
    statistic = np.mean(by_fold) / (np.std(by_fold, ddof=1) * np.sqrt(1 / 5 + 2 / 6))
    found = _row(table, "MP_3").comparison
    assert found is not None
    assert found.p == pytest.approx(2 * scipy_stats.t.sf(abs(statistic), 4))
    assert found.p_signed_rank == pytest.approx(scipy_stats.wilcoxon(by_fold).pvalue)
    assert found.fold_difference == pytest.approx(np.mean(by_fold))
    assert found.difference == pytest.approx(_row(table, "MP_3").main.mean - _row(table, "Large").main.mean)
    assert found.low < found.difference < found.high
    compared = [row.comparison for row in table.rows if row.comparison]
    assert [each.p_holm for each in compared] == pytest.approx(stats.holm([each.p for each in compared]))
    assert len(compared) == 5


def test_a_test_that_cannot_show_anything_says_so(make_run: Make) -> None:
    notes = build_table(make_run()).notes
    assert "p (Wilcoxon) cannot show anything here: over 5 folds it is never below .0625, whatever the rows." in notes


def test_large_differences_are_shown_and_small_ones_are_not(make_run: Make) -> None:
    table = build_table(make_run())
    verdicts = {row.name: row.comparison and row.comparison.verdict for row in table.rows}
    assert verdicts["Progressive net-2"] is Verdict.BETTER
    assert verdicts["Most frequent class"] is Verdict.WORSE
    assert verdicts["MP_3"] is Verdict.NOT_SHOWN
    assert verdicts["Large"] is None


def test_the_baseline_is_chosen_by_validation_speakers_alone(make_run: Make) -> None:
    """Large is better on test speakers, Small on those that may choose."""
    table = build_table(make_run(validation={"Small": 0.9, "Large": 0.3}))
    assert table.baseline == "Small"
    assert _row(table, "Large").main.mean > _row(table, "Small").main.mean
    assert any("validation speakers" in note and "Small .9" in note for note in table.notes)


def test_baselines_are_chosen_among_over_the_cells_that_all_have(make_run: Make) -> None:
    run = make_run(validation={"Small": 0.9, "Large": 0.3}, unfinished={"Small": WHOLE - {(1, 2)}})
    assert build_table(run).baseline == "Small"


def test_baselines_without_a_cell_in_common_cannot_be_chosen_among(make_run: Make) -> None:
    table = build_table(make_run(unfinished={"Small": WHOLE - {(0, 0)}, "Large": {(0, 0)}}))
    assert table.baseline == "Small"
    assert any("no cell of all of them is finished" in note for note in table.notes)


def test_any_row_can_be_the_baseline(make_run: Make) -> None:
    run = make_run()
    table = build_table(run, "MP_3")
    assert table.baseline == "MP_3"
    assert any(note.startswith("Baseline: MP_3 (as asked for)") for note in table.notes)
    with pytest.raises(RunError, match=r"no row with a finished cell is called 'joy'; choose among"):
        build_table(run, "joy")


def test_without_a_baseline_nothing_is_tested(make_run: Make, models: tuple[Row, ...]) -> None:
    table = build_table(make_run(models[3:]))
    assert table.baseline is None
    assert [row.comparison for row in table.rows] == [None] * 3
    assert any(note.startswith("No baseline") for note in table.notes)


def test_an_unfinished_row_shows_its_whole_runs(make_run: Make) -> None:
    run = make_run(unfinished={"MP_3": {(2, 3), (2, 4)}})
    table = build_table(run)
    row = _row(table, "MP_3")
    said = read_tested(run, "MP_3")
    assert row.main.mean == pytest.approx(np.mean([_uar(said, 0), _uar(said, 1)]))
    assert (row.runs, row.cells, row.planned, row.unfinished, table.unfinished) == (2, 13, 15, True, True)
    assert "MP_3 13 of 15 cells" in table.notes[0]
    assert row.comparison is not None
    assert row.comparison.folds == 5


def test_a_row_without_a_whole_run_is_compared_over_the_folds_both_have(make_run: Make) -> None:
    run = make_run(unfinished={"MP_3": {cell for cell in WHOLE if cell[1] > 2}})
    table = build_table(run)
    row = _row(table, "MP_3")
    said = read_tested(run, "MP_3")
    assert row.main.mean == pytest.approx(np.mean([_uar(said, repeat) for repeat in range(3)]))
    assert row.folds == 3
    assert row.comparison is not None
    assert row.comparison.folds == 3
    theirs = [each for each in read_tested(run, "Large") if each.fold <= 2]
    expected = np.mean([_uar(said, repeat) - _uar(theirs, repeat) for repeat in range(3)])
    assert row.comparison.difference == pytest.approx(expected)
    assert any("over fewer folds than the 5 of the others: MP_3 over 3" in note for note in table.notes)


def test_rows_of_fewer_repeats_are_no_unfinished_rows(make_run: Make, models: tuple[Row, ...]) -> None:
    once = [models[2], models[3]._replace(repeats=1)]  # type: ignore[call-arg]
    table = build_table(make_run(once))
    row = _row(table, "MP_3")
    assert (row.runs, row.unfinished) == (1, False)
    assert np.isnan(row.main.over_runs)
    assert row.comparison is not None
    assert row.comparison.folds == 5


def test_one_fold_alone_cannot_be_tested(make_run: Make) -> None:
    run = make_run(unfinished={"MP_3": {cell for cell in WHOLE if cell[1] != 1}})
    found = _row(build_table(run), "MP_3").comparison
    assert found is not None
    assert (found.folds, found.verdict, np.isnan(found.p)) == (1, Verdict.UNTESTED, True)
    assert np.isfinite([found.difference, found.low, found.high]).all()


def test_nothing_in_common_is_no_comparison(make_run: Make) -> None:
    unfinished = {"MP_3": {cell for cell in WHOLE if cell[1] < 2}, "Large": {cell for cell in WHOLE if cell[1] > 1}}
    found = _row(build_table(make_run(unfinished=unfinished), "Large"), "MP_3").comparison
    assert found is not None
    assert (found.folds, found.verdict, np.isnan(found.difference)) == (0, Verdict.UNTESTED, True)


def test_classes_that_a_fold_has_not_are_reported(make_run: Make) -> None:
    """The two speakers who are tested in fold 3 are never sad."""
    run = make_run(
        emotions=lambda speaker, number: ("happiness", "neutral", "anger", "sadness")[
            number % (3 if speaker % 5 == 3 else 4)
        ]
    )
    table = build_table(run)
    assert any("1 fold without an utterance of some class (sadness in 1)" in note for note in table.notes)
    said = read_tested(run, "Large")
    present = [each for each in said if each.repeat == 0 and each.fold == 3]
    assert {each.reference for each in present} == {"anger", "happiness", "neutral"}


def test_notes_name_the_data(make_run: Make) -> None:
    notes = " ".join(build_table(make_run()).notes)
    assert "mine, 240 utterances by 10 speakers: anger 60, happiness 60, neutral 60, sadness 60." in notes
    assert "Labels: source votes, merge {excited happiness}." in notes
    assert "Protocol: grouped k fold, folds 5." in notes
    assert "seed 7; affetto 0.1.0; commit abc123; manifest (SHA-256) 0123abcd" in notes
    assert "some use the two names the other way round" in notes
    assert "Kendall's tau-b 1.00" in notes


def test_a_run_folder_always_gives_the_same_table(make_run: Make) -> None:
    run = make_run()
    assert repr(build_table(run)) == repr(build_table(run))


def test_refuses_a_folder_in_which_nothing_is_finished(make_run: Make, models: tuple[Row, ...]) -> None:
    run = make_run(models[:1], unfinished={models[0].name: WHOLE})
    with pytest.raises(RunError, match="no cell is finished yet"):
        build_table(run)


def test_progress_is_reported(make_run: Make) -> None:
    heard: list[tuple[float, float]] = []
    build_table(make_run(), progress=lambda done, total: heard.append((done, total)))
    assert heard == [(number, 6) for number in range(6)]


class _Memory(RunFolder):
    """As large a run as there may be, without the disk."""

    def __init__(self, small: RunFolder, predictions: list[Prediction], count: int) -> None:
        super().__init__(small.root)
        self._count = count
        cells = [(each.repeat, each.fold) for each in predictions]
        names = ("utterance", "speaker", "reference", "predicted")
        shares = np.array([[*each.probabilities.values()] for each in predictions])
        self._answers = Answers(cells, *([getattr(each, name) for each in predictions] for name in names), shares)

    def rows(self) -> list[Row]:
        return [
            Row(name=f"Row {number}", model={"kind": "recurrent"}, training={}, parameters=1)
            for number in range(self._count)
        ]

    def config(self) -> dict[str, object]:
        return {"rows": [{"name": row.name, "repeats": 10} for row in self.rows()]}

    def answers(self, row_name: str) -> Answers:  # noqa: ARG002
        return self._answers

    def validation_answers(self, row_name: str) -> Answers:
        return Answers(*(column[:100] for column in self.answers(row_name)))


class _Large(NamedTuple):
    repeats: int = 1
    folds: int = 10
    speakers: int = 70
    each: int = 70


def test_a_large_table_takes_little_more_than_scoring_its_cells(make_run: Make) -> None:
    """25 rows, 10 repeats, 10 folds, 4,900 utterances by 70 speakers, beside reading the files."""
    rng = np.random.default_rng(1)
    classes = ("anger", "happiness", "neutral", "sadness")
    shares = dict.fromkeys(classes, 0.25)
    said = [
        Prediction(
            repeat, speaker % 10, f"s{speaker}-{number}", f"s{speaker}",
            classes[number % 4], classes[(number * right) % 4], shares,
        )
        for repeat in range(10)
        for speaker in range(70)
        for number, right in enumerate(rng.integers(1, 3, 70).tolist())
    ]  # fmt: skip
    run = _Memory(make_run((), design=_Large()), said, 25)
    since = time.process_time()
    table = build_table(run, "Row 0")
    built = time.process_time()
    columns = [each.reference for each in said], [each.predicted for each in said]
    for first in range(0, len(said), 490):
        balanced_accuracy_score(*(column[first : first + 490] for column in columns))
    assert len(table.rows) == 25
    assert built - since < 3 * 25 * (time.process_time() - built)  # about as long


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda text: text[:-5], "ends in the middle of a line"),
        (lambda text: text.replace("p_anger", "p_joy"), "a class has no column"),
        (lambda text: text.replace("1,2,", "1,3,", 1), "another fold or repeat"),
        (lambda text: text.replace(",0.7", "", 1), ":[0-9]+: damaged .9 values"),
        (lambda text: text.replace(",anger,", ",joy,", 1), "a class has no column"),
        (lambda text: text.replace(",0.7", ",7", 1), "not between 0 and 1"),
        (lambda text: text.replace(",0.700000", ",nan", 1), "not between 0 and 1"),
        (lambda text: text.replace(",0.7", ",much", 1), "damaged .*much"),
        (lambda text: text.splitlines()[0] + "\n", "no predictions"),
        (lambda _: "", "ends in the middle"),
        (lambda _: "hello\n", "not a file of predictions"),
    ],
)
def test_a_damaged_file_is_no_answer(make_run: Make, damage: Callable[[str], str], complaint: str) -> None:
    run = make_run()
    path = run.root / "rows" / "mp-3" / "repeat-01-fold-02" / "predictions.csv"
    path.write_text(damage(path.read_text()))
    with pytest.raises(RunError, match=complaint):
        run.answers("MP_3")
    with pytest.raises(RunError, match=r"predictions\.csv"):
        build_table(run)
