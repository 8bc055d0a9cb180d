"""IEMOCAP: who speaks, what every rater chose, and that no flaw of the files goes unnoticed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.data.iemocap_tree import Turn, even_turns, make_iemocap

from affetto.data.corpora import Parsed, Skipped, open_corpus
from affetto.data.corpora.iemocap import EMOTIONS, read_turns
from affetto.data.manifest import read_manifest, write_manifest
from affetto.data.utterance import Rating
from affetto.errors import AffettoError

Build = Callable[[str], Path]
RATED = {
    **{emotion: emotion for emotion in EMOTIONS.values()},
    "neutral state": "neutral",
    "surprised": "surprise",
    "disgusted": "disgust",
}
SUMMARY = "[1.0 - 2.0]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]"


def _reasons(parsed: Parsed) -> dict[str, int]:
    return dict(Counter(item.reason for item in parsed.skipped))


def _read(*lines: str) -> tuple[list[tuple[Rating, ...]], list[str]]:
    """The ratings of each turn and the reasons for what was skipped."""
    skipped: list[Skipped] = []
    turns = read_turns(enumerate(lines, start=1), "Ses01F_impro01.txt", skipped)
    return [turn.ratings for turn in turns], [item.reason for item in skipped]


def test_who_speaks_what_and_how(build: Build) -> None:
    parsed = open_corpus(build("iemocap"))
    facts = [(each.id, each.speaker, each.group, each.emotion, each.text) for each in parsed.utterances]
    assert facts == [
        ("Ses01F_impro01_F000", "Ses01_F", "Ses01", "neutral", "Excuse me."),
        ("Ses01F_impro01_M000", "Ses01_M", "Ses01", None, "Excuse me."),
        ("Ses03M_impro05a_F010", "Ses03_F", "Ses03", "excited", None),
        ("Ses03M_script01_1b_F000", "Ses03_F", "Ses03", "sadness", "A café I\u2019d like."),
        ("Ses03M_script01_1b_M001", "Ses03_M", "Ses03", "frustration", "No."),
    ]
    assert [each.audio.suffix for each in parsed.utterances] == [".wav", ".wav", ".wav", ".flac", ".wav"]


def test_every_line_of_every_rater(build: Build) -> None:
    assert [each.ratings for each in open_corpus(build("iemocap")).utterances] == [
        (Rating("C-E2", ("neutral",)), Rating("C-E3", ("neutral", "frustration"))),
        (Rating("C-E2", ("anger",)), Rating("C-E3", ("sadness",)), Rating("C-M1", ("other",))),
        (Rating("C-E1", ("excited",)),),
        (Rating("C-E1", ("sadness",)), Rating("C-E2", ("other", "sadness"))),
        (Rating("C-E1", ("neutral",)), Rating("C-E4", ("frustration", "anger"))),
    ]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ("2.5000, 3.0000, 4.5000", {"valence": 2.5, "activation": 3.0, "dominance": 4.5}),
        ("5.5000, 1.0000, 1.0000", {"valence": 5.5, "activation": 1.0, "dominance": 1.0}),
        ("2.5000, 3.0000", None),
        ("2.5000, , 3.0000", None),
        ("2.5000, nan, 3.0000", None),
        ("-1.0000, 2.0000, 3.0000", None),
    ],
)
def test_dimensions_of_the_summary_line(values: str, found: dict[str, float] | None) -> None:
    skipped: list[Skipped] = []
    line = f"[1.0 - 2.0]\tSes01F_impro01_F000\tneu\t[{values}]"
    (turn,) = read_turns([(1, line), (2, "A-E2:\tval 1; act 1; dom 1;\t()")], "Ses01F_impro01.txt", skipped)
    assert (turn.emotion, turn.dimensions) == ("neutral", found)
    assert [each.reason for each in skipped] == [] if found else ["malformed dimensions (kept without)"]


def test_counts_what_is_wrong(build: Build) -> None:
    parsed = open_corpus(build("iemocap"))
    assert _reasons(parsed) == {
        "audio missing": 1,
        "label missing": 1,
        "no transcript (kept without)": 1,
        "rating without a label": 1,
        "session missing": 3,
        "unknown label (taken as other)": 1,
    }
    missing = [item.what for item in parsed.skipped if item.reason == "session missing"]
    assert missing == ["Session2", "Session4", "Session5"]


def test_opens_the_folder_around_the_release_and_a_session_alone(build: Build) -> None:
    root = build("iemocap")
    release = open_corpus(root / "IEMOCAP_full_release")
    assert open_corpus(root) == release
    session = open_corpus(root / "IEMOCAP_full_release" / "Session1")
    assert [each.id for each in session.utterances] == ["Ses01F_impro01_F000", "Ses01F_impro01_M000"]
    assert not session.skipped


def test_keeps_turns_of_a_dialogue_without_transcript(build: Build) -> None:
    root = build("iemocap")
    (root / "IEMOCAP_full_release" / "Session1" / "dialog" / "transcriptions" / "Ses01F_impro01.txt").unlink()
    parsed = open_corpus(root)
    assert [each.text for each in parsed.utterances[:2]] == [None, None]
    assert _reasons(parsed)["transcript missing (kept without)"] == 1


def test_counts_every_turn_of_a_dialogue_without_labels(build: Build) -> None:
    root = build("iemocap")
    (root / "IEMOCAP_full_release" / "Session1" / "dialog" / "EmoEvaluation" / "Ses01F_impro01.txt").unlink()
    assert _reasons(open_corpus(root))["label missing"] == 1 + 2


def test_ratings_come_back_from_a_manifest(build: Build, tmp_path: Path) -> None:
    utterances = list(open_corpus(build("iemocap")).utterances)
    write_manifest(tmp_path / "manifest.jsonl", utterances)
    assert read_manifest(tmp_path / "manifest.jsonl") == utterances


@pytest.mark.parametrize(
    ("line", "labels"),
    [
        ("C-E2:\tNeutral;\t()", ["neutral"]),
        ("C-E2:\tNeutral state;\t()", ["neutral"]),
        ("C-F1:\tSurprised; Fear; Disgust;\t(x)", ["surprise", "fear", "disgust"]),
        ("C-M12: Anger ; anger;EXCITED", ["anger", "excited"]),
        ("C-E2:\tOther;\t(Anger; Sadness;)", ["other"]),
        ("C-E2:\tHappiness;\t(a ) ( b) C-E3:\tAnger;", ["happiness"]),
        ("C-E2:\tHappiness;\t(never closed", ["happiness"]),
    ],
)
def test_labels_of_a_line(line: str, labels: list[str]) -> None:
    assert _read(SUMMARY, line) == ([(Rating(line.partition(":")[0], tuple(labels)),)], [])


@pytest.mark.parametrize(
    ("lines", "ratings", "reasons"),
    [
        (["C-E2:\tNeutral;\t()"], [], ["rating of no turn"]),
        ([SUMMARY, "C-E2:\t;\t()"], [()], ["rating without a label"]),
        ([SUMMARY, "C-X2:\tNeutral;\t()"], [()], ["malformed line"]),
        ([SUMMARY, "A-E2:\tval ; act 3; dom ;\t()", "% said"], [()], []),
        ([SUMMARY, "[1.0 - ", "C-E2:\tAnger;\t()"], [()], ["malformed line", "rating of no turn"]),
        ([SUMMARY, "C-E2:\tbored;\t()"], [(Rating("C-E2", ("other",)),)], ["unknown label (taken as other)"]),
        ([SUMMARY.replace("neu", "happy")], [()], ["unknown emotion code 'happy' (kept without)"]),
    ],
)
def test_names_what_cannot_be_understood(
    lines: list[str], ratings: list[tuple[Rating, ...]], reasons: list[str]
) -> None:
    assert _read(*lines) == (ratings, reasons)


@pytest.mark.parametrize(
    "name", ["Ses01F_F000", "Ses01X_impro01_F000", "Ses01F_impro01_X000", "../Ses01F_a_F0", "Ses1"]
)
def test_refuses_names_that_tell_no_speaker(name: str, tmp_path: Path) -> None:
    root = make_iemocap(tmp_path, even_turns(each=1))
    evaluation = root / "Session1" / "dialog" / "EmoEvaluation" / "Ses01F_impro01.txt"
    evaluation.write_text(SUMMARY.replace("Ses01F_impro01_F000", name))
    skipped = open_corpus(root).skipped
    assert [item.what for item in skipped if item.reason == "name is not dialogue_turn"] == [name]


@pytest.mark.parametrize(
    "name", ["Ses05M_script01_1b_M001", "Ses05F_script03_2_MXX0", "Ses05F_impro05a_M010", "Ses05F_F_M_M1"]
)
def test_the_last_letter_speaks(name: str, tmp_path: Path) -> None:
    (utterance,) = open_corpus(make_iemocap(tmp_path, [Turn(name, "neu")])).utterances
    assert (utterance.speaker, utterance.group) == ("Ses05_M", "Ses05")


def test_even_turns_are_even(tmp_path: Path) -> None:
    parsed = open_corpus(make_iemocap(tmp_path, even_turns(sessions=(1, 2, 5), each=3), suffix=".flac"))
    counts = Counter((each.speaker, each.emotion) for each in parsed.utterances)
    assert len(counts) == 3 * 2 * 4
    assert set(counts.values()) == {3}
    assert _reasons(parsed) == {"session missing": 2}
    assert len({turn.name for turn in even_turns(each=90)}) == 2 * 2 * 4 * 90


LABELS = st.lists(st.sampled_from(sorted(RATED)), min_size=1, max_size=4, unique_by=lambda word: RATED[word])
RATERS = st.builds(lambda kind, number: f"C-{kind}{number}", st.sampled_from("EFM"), st.integers(0, 99))
COMMENTS = st.text(st.characters(exclude_characters="\n"), max_size=20)


@given(ratings=st.lists(st.tuples(RATERS, LABELS, COMMENTS), max_size=5))
def test_whatever_the_comments_hold_the_labels_are_read(ratings: list[tuple[str, list[str], str]]) -> None:
    lines = [f"{rater}:\t{'; '.join(word.title() for word in words)};\t({said})" for rater, words, said in ratings]
    wanted = tuple(Rating(rater, tuple(RATED[word] for word in words)) for rater, words, _ in ratings)
    assert _read(SUMMARY, *lines) == ([wanted], [])


# Pieces of the format, so that the parser is reached behind its first checks.
PIECES = [
    b"[1 - 2]",
    b"\t",
    b"Ses01F_impro01_F000",
    b"neu",
    b"C-E2:",
    b"A-F1:",
    b"Anger;",
    b"(",
    b")",
    b"\n",
    b"\r",
    b"\xff",
]
BYTES = st.one_of(st.binary(max_size=80), st.lists(st.sampled_from([*PIECES, b"\x00", b": ", b"%"])).map(b"".join))


@pytest.fixture(scope="module")
def small_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_iemocap(tmp_path_factory.mktemp("fuzz"), even_turns(sessions=(1, 2), each=1))


@pytest.mark.parametrize("folder", ["EmoEvaluation", "transcriptions"])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=BYTES)
def test_bytes_of_any_kind_give_a_corpus_or_a_clear_error(folder: str, content: bytes, small_release: Path) -> None:
    path = small_release / "Session1" / "dialog" / folder / "Ses01F_impro01.txt"
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        assert _groups_or_remedy(small_release)
    finally:
        path.write_bytes(before)


def _groups_or_remedy(root: Path) -> object:
    """The sessions read or the remedy of what was wrong; any other exception goes through."""
    try:
        return {each.group for each in open_corpus(root).utterances}
    except AffettoError as error:
        return error.remedy
