"""From files in IEMOCAP's layout to the paper's folds: labels and protocol together."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.data.iemocap_tree import Turn, even_turns, make_iemocap

from affetto.data.check import DivisionReport, divide, report
from affetto.data.labels import Labelling
from affetto.data.protocols import LeaveOneSessionOut, LeaveOneSpeakerOut, Protocol
from affetto.errors import LabelError

CLASSES = ("anger", "happiness", "neutral", "sadness")
DISPUTED = (
    # Joyful for two who call it by two names, so without a majority in the release.
    Turn("Ses02F_impro09_F900", "xxx", (("C-E1", "Happiness"), ("C-E2", "Excited"), ("C-E3", "Neutral"))),
    # Angry by majority, but three emotions were heard.
    Turn("Ses02F_impro09_F901", "ang", (("C-E1", "Anger"), ("C-E2", "Anger; Sadness"), ("C-E3", "Frustration"))),
    # Excited by majority, in both sets happy.
    Turn("Ses02F_impro09_M902", "exc", (("C-E1", "Excited"), ("C-E2", "Excited"), ("C-M2", "Anger"))),
    # Sad by majority in the release; only one evaluator is listed.
    Turn("Ses02F_impro09_M903", "sad", (("C-E1", "Sadness"), ("C-M2", "Sadness"))),
    # Of none of the classes.
    Turn("Ses02F_impro09_M904", "fru", (("C-E1", "Frustration"), ("C-E2", "Frustration"))),
)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten speakers who say each of the four emotions twice, and five turns that raters dispute."""
    return make_iemocap(tmp_path_factory.mktemp("iemocap"), [*even_turns(range(1, 6)), *DISPUTED], duration_s=0.05)


def _divided(release: Path, preset: str, protocol: Protocol) -> DivisionReport:
    labelling = Labelling.parse({"preset": preset, "check_counts": "off"})
    return report(divide(release, protocol, labelling=labelling, classes=CLASSES))


def _tested(found: DivisionReport) -> dict[str, int]:
    return {
        emotion: sum(each.emotions[emotion] for each in found.parts if each.part == "test") - 20 for emotion in CLASSES
    }


@pytest.mark.parametrize(
    ("preset", "of_the_disputed"),
    [
        ("iemocap-5531", {"anger": 1, "happiness": 1, "neutral": 0, "sadness": 1}),
        ("lakomkin2017", {"anger": 0, "happiness": 2, "neutral": 0, "sadness": 0}),
    ],
)
def test_disputed_turns_count_as_the_set_says(release: Path, preset: str, of_the_disputed: dict[str, int]) -> None:
    found = _divided(release, preset, LeaveOneSpeakerOut())
    assert _tested(found) == of_the_disputed
    assert (found.never_tested, found.tested_repeatedly) == (0, 0)


def test_ten_folds_of_one_speaker_each(release: Path) -> None:
    """Section 3.2.1, with the speakers of the release and not those of its dialogues' names."""
    found = _divided(release, "lakomkin2017", LeaveOneSpeakerOut())
    validation, test = ([each.speakers for each in found.parts if each.part == part] for part in ("validation", "test"))
    speakers = [f"iemocap/Ses{session:02d}_{letter}" for session in range(1, 6) for letter in "FM"]
    partners = [f"iemocap/Ses{session:02d}_{letter}" for session in range(1, 6) for letter in "MF"]
    assert test == [(speaker,) for speaker in speakers]
    assert validation == [(partner,) for partner in partners]
    assert [len(each.speakers) for each in found.parts if each.part == "train"] == [8] * 10


def test_five_folds_of_one_session_each(release: Path) -> None:
    found = _divided(release, "iemocap-5531", LeaveOneSessionOut())
    assert [len(each.speakers) for each in found.parts] == [6, 2, 2] * 5


def test_a_part_of_the_release_is_not_taken_for_the_whole(release: Path) -> None:
    with pytest.raises(
        LabelError, match=r"iemocap-5531: .*anger 21 \(expected 1,103\).*together 83 \(expected 5,531\)"
    ):
        divide(release, LeaveOneSpeakerOut(), labelling=Labelling(preset="iemocap-5531"), classes=CLASSES)
