"""``affetto report``: a page that needs nothing else, with the table's numbers, whatever the run lacks."""

from __future__ import annotations

import base64
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

from affetto.data.utterance import Utterance
from affetto.errors import MissingExtraError, RunError
from affetto.evaluate import Prediction, Row, RunFolder
from affetto.report import build_table, page, write_report
from affetto.report.page import Written
from affetto.report.render import sheets
from affetto.training.heads.tasks import Epoch

Make = Callable[..., RunFolder]
FIGURES = ("uar", "confusion", "counts", "recall", "speakers", "learning", "calibration")
FETCHES = {"src", "srcset", "href", "data", "poster", "action", "background"}
VOID = {"meta", "img", "br", "hr", "link", "source", "input"}


class Parsed(HTMLParser):
    """What a browser would find in a page; an element that is not closed where it should be is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.pictures: list[dict[str, str | None]] = []
        self.tags: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.words: list[str] = []
        self.style = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in FETCHES]
        if tag == "img":
            self.pictures.append(dict(attrs))
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            self.style += data
            return
        self.words.append(data)
        if self._open and self._open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


class Made(NamedTuple):
    run: RunFolder
    written: Written
    text: str
    parsed: Parsed


def _curve(place: int) -> list[Epoch]:
    return [] if place == 5 else [Epoch(number, 0.1, 1.0 / (number + 1), 1.2 - 0.1 * number) for number in range(4)]


def _made(run: RunFolder, **asked: object) -> Made:
    written = write_report(run.root, **asked)  # type: ignore[arg-type]
    text = written.page.read_text(encoding="utf-8")
    parsed = Parsed(text)
    assert " nan" not in parsed.text.lower()
    assert not any("nan" in (each["alt"] or "").lower() for each in parsed.pictures)
    return Made(run, written, text, parsed)


@pytest.fixture(scope="module")
def made(make_run_in: Make, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The report of a whole run, of which the last row learns nothing in epochs."""
    return _made(make_run_in(tmp_path_factory.mktemp("whole"), curve=_curve))


def test_the_page_needs_nothing_else(made: Made) -> None:
    assert made.parsed.addresses
    assert all(address.startswith(("data:", "#")) for address in made.parsed.addresses)
    assert not {"script", "link", "iframe", "object"} & set(made.parsed.tags)
    assert not any(word in made.parsed.style for word in ("url(", "@import", "@font-face"))
    assert "http" not in made.text.replace(made.parsed.style, "").split("<body>")[0]


def test_names_of_utterances_are_not_broken_and_more_to_the_right_is_shown(made: Made) -> None:
    names = re.search(r"tbody th \{[^}]*\}", made.parsed.style)
    assert names is not None
    assert "overflow-wrap: break-word" in names[0]
    assert re.search(r"\.scroll \{[^}]*linear-gradient[^}]*local", made.parsed.style)


def test_links_lead_somewhere(made: Made) -> None:
    anchors = [address[1:] for address in made.parsed.addresses if address.startswith("#")]
    assert anchors
    assert all(f'id="{anchor}"' in made.text for anchor in anchors)


def test_every_figure_is_there_with_an_alt_text(made: Made) -> None:
    assert len(made.parsed.pictures) == len(FIGURES)
    for picture in made.parsed.pictures:
        assert len(str(picture["alt"])) > 40
        root = ET.fromstring(base64.b64decode(str(picture["src"]).partition("base64,")[2]).decode())
        assert root.tag.endswith("}svg")


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_a_file_too(made: Made, name: str) -> None:
    folder = made.written.page.parent
    Image.open(folder / f"{name}.png").verify()
    content = (folder / f"{name}.svg").read_bytes()
    assert ET.fromstring(content.decode()).tag.endswith("}svg")
    assert base64.b64encode(content).decode() in made.text
    assert {folder / f"{name}.png", folder / f"{name}.svg"} <= set(made.written.figures)
    assert f"{name}.svg, {name}.png" in made.parsed.text


def test_only_the_report_is_left_in_its_folder(made: Made) -> None:
    found = {path.name for path in made.written.page.parent.iterdir()}
    assert found == {"index.html", *(f"{name}{kind}" for name in FIGURES for kind in (".png", ".svg"))}


def test_the_numbers_are_the_tables(made: Made) -> None:
    for sheet in sheets(build_table(made.run), wide=True):
        assert [list(sheet.header), *map(list, sheet.rows)] in made.parsed.tables


def test_recipe_environment_and_digest_are_there(made: Made) -> None:
    assert "0123abcd" in made.parsed.text
    assert "environment: commit abc123" in made.parsed.text
    assert 'kind = "grouped_k_fold"' in made.parsed.text


def test_names_are_names(make_run: Make, models: tuple[object, ...]) -> None:
    """What a recipe calls its rows is neither markup nor a formula."""
    name = "<script>alert('a')</script> $x_1$ & 日本"
    run = make_run([models[1], models[4]._replace(name=name)])  # type: ignore[attr-defined]
    found = _made(run, output=run.root.parent / "page")
    assert "script" not in found.parsed.tags
    assert any(name in row for table in found.parsed.tables for row in table)
    assert found.written.page.parent == run.root.parent / "page"
    again = write_report(run.root, run.root.parent / "again")
    assert again.page.read_bytes() == found.written.page.read_bytes()


def test_rows_can_be_chosen(make_run: Make) -> None:
    found = _made(make_run(), rows=["Small", "MP_3", "Small"])
    assert "looked into here and below: Small and MP_3 (as asked for)" in found.parsed.text


def test_an_unfinished_run_says_what_is_missing(make_run: Make, models: Sequence[object]) -> None:
    cells = {(repeat, fold) for repeat in range(3) for fold in range(5)}
    run = make_run(unfinished={"Large": cells - {(0, 0), (0, 1)}, "MP_3": cells, "Small": {(2, 4)}}, curve=_curve)
    found = _made(run)
    assert found.written.missing == {
        "Small": "14 of 15 cells are finished",
        "Large": "2 of 15 cells are finished",
        "MP_3": "nothing is finished",
    }
    assert "This run is not finished." in found.parsed.text
    assert "MP_3: nothing is finished" in found.parsed.text


def test_what_cannot_be_read_is_said(make_run: Make) -> None:
    """Learning curves and validation predictions are worth a gap; the rest of the page stands."""
    run = make_run(curve=lambda place: [Epoch(0, 0.1, float("nan"), 1.0)] if place == 3 else _curve(place))
    rows = run.root / "rows"
    (rows / "progressive-net-2" / "repeat-01-fold-02" / "curve.csv").write_text("epoch\n")
    (rows / "progressive-net-2" / "repeat-01-fold-02" / "validation.csv").unlink()
    shutil.copy(rows / "svm-egemaps" / "repeat-00-fold-00" / "validation.csv", rows / "mp-3" / "repeat-00-fold-01")
    found = _made(run).parsed.text
    assert "Progressive net-2 has no learning curve here:" in found
    assert "Progressive net-2 could not be calibrated:" in found
    assert "MP_3 could not be calibrated:" in found
    assert "MP_3: every learning curve holds losses that are no numbers" in found
    assert "since nothing is trained in epochs: SVM | eGeMAPS*" in found


def test_a_class_that_nobody_means(make_run: Make) -> None:
    found = _made(make_run(emotions=lambda _, number: ("anger", "happiness", "neutral")[number % 3])).parsed
    assert "No utterance tested so far is of sadness" in found.text
    assert "sadness has no utterance" in str(found.pictures[1]["alt"])


def _small_run(folder: Path, kind: str, speakers: int) -> RunFolder:
    """Two classes, one fold and one repeat."""
    classes = ("no", "yes")
    said = [
        Utterance(id=f"{speaker}{number}", audio=folder / "a.wav", speaker=speaker, corpus="mine", emotion=emotion)
        for speaker in "abcdef"
        for number, emotion in enumerate(classes * 4)
    ]
    run = RunFolder(folder / "run")
    row = {"name": "Only", "model": {"kind": kind}}
    run.begin({"rows": [row]}, {"classes": list(classes), "counts": {"folds": 1}}, {}, said, [])

    def predictions(names: str) -> list[Prediction]:
        return [
            Prediction(0, 0, each.id, each.speaker, str(each.emotion), "yes", {"no": 0.3, "yes": 0.7})
            for each in said
            if each.speaker in names
        ]

    card = Row(name="Only", model={"kind": kind}, training={})
    run.write_cell(card, predictions("abc"[:speakers]), predictions("e"), [])
    return run


@pytest.mark.parametrize(("kind", "speakers"), [("recurrent", 1), ("baseline", 3), ("random", 2)])
def test_little_is_little_but_no_crash(tmp_path: Path, kind: str, speakers: int) -> None:
    """A single row, fold and repeat, two classes that are no emotions, one or few speakers, no baseline."""
    found = _made(_small_run(tmp_path, kind, speakers)).parsed.text
    assert ("There is a single test speaker" in found) == (speakers == 1)
    assert ("No row that reads the sound can be calibrated" in found) == (kind == "random")
    assert "Without a learning curve" in found


def test_damaged_predictions_stop_it_and_leave_nothing(make_run: Make) -> None:
    run = make_run()
    (run.root / "rows" / "mp-3" / "repeat-01-fold-02" / "predictions.csv").write_text("hello\n")
    with pytest.raises(RunError, match=r"predictions\.csv: not a file of predictions"):
        write_report(run.root)
    assert not (run.root / "report").exists()


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"rows": ["joy"]}, "no row with a finished cell is called 'joy'; choose among Most frequent class, Small"),
        ({"baseline": "joy"}, "no row with a finished cell is called 'joy'"),
    ],
)
def test_rows_that_are_not_there(make_run: Make, asked: dict[str, object], complaint: str) -> None:
    with pytest.raises(RunError, match=complaint):
        write_report(make_run().root, **asked)  # type: ignore[arg-type]


def test_no_run_folder(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run folder"):
        write_report(tmp_path)


def test_without_jinja2_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r'jinja2 is not installed; pip install "affetto\[report\]"'):
        write_report(tmp_path)


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_full_disk_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page._write(tmp_path, {"uar.png": b"old", "index.html": b"old"})

    def fill(path: Path, content: bytes) -> int:
        if content == b"newer":
            raise OSError(28, "No space left on device", str(path))
        with path.open("wb") as file:
            return file.write(content)

    monkeypatch.setattr(Path, "write_bytes", fill)
    with pytest.raises(RunError, match=r"cannot be written \(No space left on device\); make room"):
        page._write(tmp_path, {"uar.png": b"newer", "index.html": b"new"})
    monkeypatch.undo()
    assert _files(tmp_path) == {"uar.png": b"old", "index.html": b"old"}


def test_figures_of_an_older_report_go_and_other_files_stay(tmp_path: Path) -> None:
    page._write(tmp_path, {"learning.svg": b"old", "index.html": b"old"})
    (tmp_path / "mine.txt").write_text("mine")
    page._write(tmp_path, {"uar.png": b"new", "index.html": b"new"})
    assert _files(tmp_path) == {"uar.png": b"new", "index.html": b"new", "mine.txt": b"mine"}


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="the report cannot be written"):
        page._write(tmp_path / "file" / "report", {"index.html": b""})
