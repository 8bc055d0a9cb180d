"""Runs over several recognisers, compared: planted gains are found, and what cannot be compared is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from affetto.drawing.figures import render
from affetto.errors import RunError
from affetto.evaluate import RunFolder
from affetto.report.recognition import (
    RecogniserComparison,
    compare_recognisers,
    recognition_notes,
    recognition_picture,
    recognition_sheets,
    recognition_values,
)
from affetto.report.render import markdown_of

MakeIn = Callable[..., RunFolder]
SKILLS = {0.9: (0.3, 0.6), 0.5: (0.5, 0.6), 0.3: (0.7, 0.6)}


def _set(run: RunFolder, **facts: object) -> None:
    path = run.root / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory, make_run_in: MakeIn, two_models: Callable[..., object]
) -> list[Path]:
    """The first row gains from recognition, the second does not; not in order."""
    found = []
    for cer in (0.5, 0.9, 0.3):
        run = make_run_in(tmp_path_factory.mktemp(f"cer-{cer}"), two_models(*SKILLS[cer]))
        _set(run, recogniser_cer=cer)
        found.append(run.root)
    return found


@pytest.fixture(scope="module")
def found(runs: list[Path]) -> RecogniserComparison:
    return compare_recognisers(runs)


def test_a_planted_gain_is_found_and_none_where_there_is_none(found: RecogniserComparison) -> None:
    gains, stays = found.lines
    assert [each.cer for each in gains.points] == [0.9, 0.5, 0.3]
    assert [each.uar.mean for each in gains.points] == sorted(each.uar.mean for each in gains.points)
    assert gains.agreement == pytest.approx(1.0)
    assert gains.gain.difference == pytest.approx(gains.points[-1].uar.mean - gains.points[0].uar.mean)
    assert gains.gain.low > 0.1
    assert gains.gain.p < 0.01
    assert abs(stays.gain.difference) < 1e-9  # the same draws
    assert (found.speakers, found.folds) == (10, 5)


def test_sheets_hold_what_was_found(found: RecogniserComparison) -> None:
    scores, gains = recognition_sheets(found)
    assert scores.header == ("row", ".900", ".500", ".300")
    assert [row[0] for row in scores.rows] == ["Gains", "Stays"]
    assert gains.rows[0][1].startswith("+.2")
    page = markdown_of([scores, gains], recognition_notes(found))
    assert "| row | .900 | .500 | .300 |" in page
    assert "240 utterances, 10 speakers, 5 folds" in page


def test_values_are_json_and_unrounded(found: RecogniserComparison) -> None:
    values = json.loads(json.dumps(recognition_values(found)))
    assert values["lines"][0]["points"][0]["uar"]["mean"] == found.lines[0].points[0].uar.mean
    assert values["lines"][1]["gain"]["p_holm"] is None


def test_the_picture_says_what_it_shows(found: RecogniserComparison) -> None:
    drawn = render(recognition_picture(found))
    assert drawn.png.startswith(b"\x89PNG")
    assert "Gains from" in drawn.picture.alt
    assert drawn.svg == render(recognition_picture(found)).svg


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recogniser_cer": None}, "does not record its recogniser's CER"),
        ({"manifest_sha256": "other"}, "other utterances or labels"),
        ({"classes": ["anger", "joy"]}, "classes"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    tmp_path: Path,
    make_run_in: MakeIn,
    two_models: Callable[..., object],
    runs: list[Path],
    change: dict[str, object],
    message: str,
) -> None:
    other = make_run_in(tmp_path, two_models(0.5, 0.5))
    _set(other, recogniser_cer=0.4)
    _set(other, **change)
    with pytest.raises(RunError, match=message):
        compare_recognisers([*runs, other.root])


def test_another_model_under_one_name_is_refused(
    tmp_path: Path, make_run_in: MakeIn, two_models: Callable[..., object], runs: Sequence[Path]
) -> None:
    other = make_run_in(tmp_path, two_models(0.5, 0.5, layer="gru5"))
    _set(other, recogniser_cer=0.4)
    with pytest.raises(RunError, match="another model in"):
        compare_recognisers([*runs, other.root])


def test_one_run_is_nothing_to_compare(runs: Sequence[Path]) -> None:
    with pytest.raises(RunError, match="one run compares no recognisers"):
        compare_recognisers(runs[:1])


def test_rows_that_some_run_has_not_finished_are_left_out(
    tmp_path: Path, make_run_in: MakeIn, two_models: Callable[..., object], runs: Sequence[Path]
) -> None:
    other = make_run_in(tmp_path, two_models(0.5, 0.5), unfinished={"Gains": {(2, 4)}})
    _set(other, recogniser_cer=0.4)
    assert [line.name for line in compare_recognisers([*runs, other.root]).lines] == ["Stays"]


def test_other_folds_are_refused(
    tmp_path: Path, make_run_in: MakeIn, two_models: Callable[..., object], runs: Sequence[Path]
) -> None:
    other = make_run_in(tmp_path, two_models(0.5, 0.5))
    _set(other, recogniser_cer=0.4)
    path = other.root / "config.toml"
    path.write_text(path.read_text().replace('kind = "grouped_k_fold"', 'kind = "leave_one_speaker_out"'))
    with pytest.raises(RunError, match="another protocol than"):
        compare_recognisers([*runs, other.root])
