"""Predictions and run folders to disk and back, what is damaged in them, and the figures derived from them."""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.predictions import read_predictions, read_tested, read_validated

from affetto.data.splits import Split
from affetto.data.utterance import Utterance
from affetto.errors import RunError
from affetto.evaluate import Prediction, Row, RunFolder, run_folder, score, write_predictions
from affetto.training.heads.tasks import Epoch

CLASSES = ("sadness", "anger")
CONFIG = {"seed": 1, "rows": [{"name": "MP-2"}, {"name": "Random guess"}, {"name": "never begun"}]}
FACTS = {"classes": list(CLASSES), "manifest_sha256": "0" * 64}
ENVIRONMENT = {"affetto": "0.1", "commit": None}
UTTERANCES = [Utterance(id="a", audio=Path("/c/a.wav"), speaker="ann", corpus="c", emotion="anger")]
CARD = Row(name="MP-2", model={"kind": "mean_pooling", "layer": "gru2"}, training={"epochs": 3}, parameters=18)
CURVE = [Epoch(0, 0.1, 1.5, 1 / 3), Epoch(1, 0.05, 1.25, 0.1 + 0.2)]
FILES = ["config.toml", "environment.json", "folds.csv", "manifest.jsonl", "rows", "run.json"]


def _prediction(name: str, reference: str, anger: float, repeat: int = 0, fold: int = 1) -> Prediction:
    predicted = "anger" if anger > 0.5 else "sadness"
    shares = {"sadness": 1 - anger, "anger": anger}
    return Prediction(repeat, fold, name, f"speaker, {name}", reference, predicted, shares)


PREDICTIONS = [_prediction("a", "anger", 0.75), _prediction("b", "sadness", 0.625), _prediction('"c"', "sadness", 0.25)]


def test_figures_by_hand() -> None:
    scores = score(PREDICTIONS)
    assert scores.uar == pytest.approx((1 + 1 / 2) / 2)
    assert scores.accuracy == pytest.approx(2 / 3)
    assert scores.f1_macro == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert (scores.classes, scores.confusion) == (CLASSES, [[1, 1], [0, 1]])


def test_to_disk_and_back(tmp_path: Path) -> None:
    write_predictions(tmp_path / "predictions.csv", PREDICTIONS)
    assert read_predictions(tmp_path / "predictions.csv") == PREDICTIONS
    assert [each.name for each in tmp_path.iterdir()] == ["predictions.csv"]


def test_the_columns(tmp_path: Path) -> None:
    write_predictions(tmp_path / "predictions.csv", PREDICTIONS[:1])
    assert (tmp_path / "predictions.csv").read_text().splitlines() == [
        "repeat,fold,utterance,speaker,reference,predicted,p_sadness,p_anger",
        '0,1,a,"speaker, a",anger,anger,0.250000,0.750000',
    ]


LINE = "0,1,a,ann,anger,anger,0.25,0.75"
HEADER = "repeat,fold,utterance,speaker,reference,predicted,p_sadness,p_anger"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "ends in the middle of a line"),
        (f"{HEADER}\n".encode(), "no predictions in it"),
        (b"repeat,fold\n0,1\n", "not a file of predictions"),
        (f"{HEADER},p_anger\n{LINE},0\n".encode(), "not a file of predictions"),
        (f"{HEADER}\n{LINE}\n{LINE[:-5]}\n".encode(), ":3: damaged"),
        (f"{HEADER}\n{LINE},0.1\n".encode(), ":2: damaged"),
        (b"\n", "not a file of predictions"),
        (f"{HEADER}\n{LINE.replace('0.75', 'nan')}\n".encode(), ":2: damaged .a probability is not between 0 and 1"),
        (f"{HEADER}\n{LINE.replace('0.75', '1.5')}\n".encode(), ":2: damaged .a probability is not between 0 and 1"),
        (f"{HEADER}\n{LINE.replace('anger', 'joy')}\n".encode(), ":2: damaged .a class has no column"),
        (f"{HEADER}\nfirst{LINE}\n".encode(), ":2: damaged"),
        (f'{HEADER}\n"{LINE}\n'.encode(), "cannot be read"),
        (f"{HEADER}\n{LINE}".encode(), "ends in the middle of a line"),
        (b"\xff\xfe\n", "cannot be read"),
    ],
)
def test_damaged_predictions_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "predictions.csv").write_bytes(content)
    with pytest.raises(RunError, match=message) as caught:
        read_predictions(tmp_path / "predictions.csv")
    assert "predictions.csv" in str(caught.value.where)
    assert "run the same command again" in caught.value.remedy


@given(content=st.binary(max_size=200) | st.text(max_size=50).map(lambda text: f"{HEADER}\n{LINE}\n{text}".encode()))
def test_no_file_of_predictions_is_more_than_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.csv"
    path.write_bytes(content)
    with contextlib.suppress(RunError):
        assert read_predictions(path)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Two cells of one row, one of another."""
    folder = RunFolder(tmp_path / "run")
    folder.begin(CONFIG, FACTS, ENVIRONMENT, UTTERANCES, [Split((), (), (UTTERANCES[0],))])
    for repeat, fold in ((1, 0), (0, 12)):
        folder.write_cell(CARD, _cell(repeat, fold), _cell(repeat, fold)[:1], CURVE)
    folder.write_cell(Row(name="Random guess", model={"kind": "random"}, training={}), PREDICTIONS, PREDICTIONS, [])
    return folder


def _cell(repeat: int, fold: int) -> list[Prediction]:
    return [each._replace(repeat=repeat, fold=fold) for each in PREDICTIONS]


def test_a_run_folder_to_disk_and_back(run: RunFolder) -> None:
    assert run.config() == CONFIG
    assert run.facts() == {"version": 1, **FACTS}
    assert run.environment() == ENVIRONMENT
    assert run.utterances() == UTTERANCES
    assert (run.root / "folds.csv").read_text().splitlines() == ["fold,part,speaker", "0,test,ann"]
    assert run.rows() == [
        CARD,
        Row(name="Random guess", model={"kind": "random"}, training={}),
    ]
    assert run.finished("MP-2") == {(1, 0), (0, 12)}
    assert run.finished("never begun") == set()
    assert read_tested(run, "MP-2") == [*_cell(0, 12), *_cell(1, 0)]
    assert read_validated(run, "MP-2") == [_cell(0, 12)[0], _cell(1, 0)[0]]
    assert run.curves("MP-2") == {(0, 12): CURVE, (1, 0): CURVE}
    assert run.curves("Random guess") == {(0, 1): []}


def test_a_finished_cell_stays(run: RunFolder) -> None:
    run.write_cell(CARD, [_prediction("z", "anger", 1.0, 1, 0)], PREDICTIONS, [])
    assert read_tested(run, "MP-2") == [*_cell(0, 12), *_cell(1, 0)]
    assert sorted(path.name for path in run.root.iterdir()) == FILES
    assert sorted(path.name for path in (run.root / "rows" / "mp-2").iterdir()) == [
        "repeat-00-fold-12",
        "repeat-01-fold-00",
        "row.json",
    ]


def test_half_a_cell_is_none_and_is_swept(run: RunFolder) -> None:
    draft = run.root / "rows" / "mp-2" / ".repeat-05-fold-00.x"
    draft.mkdir()
    (draft / "predictions.csv").write_text("half")
    (draft.parent / ".row.json.x").write_text("half")
    assert run.finished("MP-2") == {(1, 0), (0, 12)}
    run.sweep()
    assert sorted(path.name for path in draft.parent.glob(".*")) == []
    assert run.finished("MP-2") == {(1, 0), (0, 12)}


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot be written .*what is finished stays"):
        RunFolder(tmp_path / "file").begin(CONFIG, FACTS, ENVIRONMENT, UTTERANCES, [])


def test_a_full_disk_leaves_nothing_half_written(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(path: Path, predictions: Sequence[Prediction]) -> None:
        path.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    before = sorted(run.root.rglob("*"))
    monkeypatch.setattr(run_folder, "write_predictions", fill)
    with pytest.raises(RunError, match=r"repeat-02-fold-03: cannot be written \(No space left on device\); make room"):
        run.write_cell(CARD, _cell(2, 3), _cell(2, 3), CURVE)
    assert sorted(run.root.rglob("*")) == before


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


READERS: dict[str, Callable[[RunFolder], object]] = {
    "run.json": RunFolder.facts,
    "config.toml": RunFolder.rows,
    "environment.json": RunFolder.environment,
    "manifest.jsonl": RunFolder.utterances,
    "rows/mp-2/row.json": RunFolder.rows,
    "rows/mp-2/repeat-01-fold-00/predictions.csv": lambda run: read_tested(run, "MP-2"),
    "rows/mp-2/repeat-01-fold-00/validation.csv": lambda run: read_validated(run, "MP-2"),
    "rows/mp-2/repeat-01-fold-00/curve.csv": lambda run: run.curves("MP-2"),
}
DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut short": _truncate,
    "missing": Path.unlink,
    "no text": lambda path: path.write_bytes(b"\xff\x00"),
    "another kind": lambda path: path.write_text("[1]\n"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("file", READERS)
def test_damaged_files_are_named(run: RunFolder, file: str, damage: Callable[[Path], object]) -> None:
    damage(run.root / file)
    with pytest.raises(RunError) as caught:
        READERS[file](run)
    assert str(run.root if file == "run.json" else run.root / file) in str(caught.value.where)


def test_a_version_of_tomorrow(run: RunFolder) -> None:
    (run.root / "run.json").write_text(json.dumps({"version": 2}))
    with pytest.raises(RunError, match="version 2 of the layout"):
        run.rows()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("p_anger", "p_joy", "a class has no column"),
        ("p_sadness", "p_fear", "classes|column"),
        ("1,0,", "1,5,", "fold"),
    ],
)
def test_a_cell_of_another_run(run: RunFolder, old: str, new: str, message: str) -> None:
    path = run.root / "rows" / "mp-2" / "repeat-01-fold-00" / "predictions.csv"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(RunError, match=message):
        read_tested(run, "MP-2")


def test_a_row_that_is_not_there(run: RunFolder) -> None:
    with pytest.raises(RunError, match="nothing finished of a row 'MP-9'; choose among MP-2, Random guess"):
        read_tested(run, "MP-9")


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, Path.absolute], ids=["empty", "a file", "nothing"])
def test_no_run_folder(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "run")
    with pytest.raises(RunError, match="no run folder; name the output folder"):
        RunFolder(tmp_path / "run").rows()


def test_a_run_without_any_cell_has_no_rows(run: RunFolder) -> None:
    shutil.rmtree(run.root / "rows")
    assert run.rows() == []
