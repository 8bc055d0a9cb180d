"""EmoDB, RAVDESS and folders of emotions: everything is told by names, and no name is guessed at."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from affetto.data.corpora import CORPORA, Parsed, emodb, open_corpus, ravdess
from affetto.errors import CorpusError

Build = Callable[[str], Path]
MakeSound = Callable[..., Path]


def _reasons(parsed: Parsed) -> dict[str, int]:
    return dict(Counter(item.reason for item in parsed.skipped))


ESD = [("0001", "anger", None), ("0001", "sadness", None), ("0002", "anger", None), ("0002", "sadness", None)]
ESD_PARTED = [
    ("0001", "anger", "train"),
    ("0001", "sadness", "test"),
    ("0002", "anger", "test"),
    ("0002", "sadness", "train"),
]
PARTED = [("ben", "anger", "test"), ("ben", "sadness", "test"), ("anna", "anger", "train")]
NUMBERED = [("ben", "sadness", None), ("anna", "anger", None), ("ben", "happiness", None)]


def test_emodb(build: Build) -> None:
    root = build("emodb")
    parsed = open_corpus(root)
    facts = [(each.id, each.speaker, each.emotion, (each.text or "")[:9]) for each in parsed.utterances]
    assert facts == [
        ("03a01Fa", "03", "happiness", "Der Lappe"),
        ("08a05N", "08", "neutral", "Das schwa"),
        ("10b03Ta", "10", "sadness", "An den Wo"),
        ("16b10Lb", "16", "boredom", "Die wird "),
    ]
    assert _reasons(parsed) == {"name is not speaker, sentence, emotion, version": 3}
    assert open_corpus(root / "wav").utterances == parsed.utterances


def test_meld(build: Build) -> None:
    root = build("meld")
    parsed = open_corpus(root)
    facts = [(each.id, each.audio.name, each.speaker, each.emotion, each.group) for each in parsed.utterances]
    assert facts == [
        ("dev_dia110_utt6", "dia110_utt6.wav", "Ross", "surprise", "dev_dia110"),
        ("train_dia0_utt0", "dia0_utt0.mp4", "Chandler", "neutral", "train_dia0"),
        ("train_dia0_utt1", "dia0_utt1.mp4", "The Interviewer", "joy", "train_dia0"),
        ("train_dia3_utt0", "dia3_utt0.wav", "Joey", "anger", "train_dia3"),
    ]
    assert parsed.utterances[1].text == 'also I was, "the point" person'
    assert [each.partition for each in parsed.utterances] == ["dev", "train", "train", "train"]
    assert _reasons(parsed) == {
        "audio missing": 1, "malformed line": 1, "no speaker": 1, "not in the release": 1, "part missing": 1,
    }  # fmt: skip


def test_meld_without_a_column_is_refused(build: Build) -> None:
    root = build("meld")
    (root / "dev_sent_emo.csv").write_text("Utterance,Speaker\n")
    with pytest.raises(CorpusError, match="no column Dialogue_ID, Emotion, Utterance_ID"):
        open_corpus(root)


def test_emodb_has_seven_emotions_and_ten_sentences() -> None:
    assert len(set(emodb.EMOTIONS.values())) == 7
    assert len(set(emodb.SENTENCES.values())) == 10


def test_ravdess(build: Build) -> None:
    parsed = open_corpus(build("ravdess"))
    facts = [(each.id, each.speaker, each.emotion, each.text) for each in parsed.utterances]
    assert facts == [
        ("01-01-05-02-01-01-24", "24", "anger", "Kids are talking by the door."),
        ("03-01-01-01-02-02-01", "01", "neutral", "Dogs are sitting by the door."),
        ("03-01-08-02-01-01-24", "24", "surprise", "Kids are talking by the door."),
    ]
    assert _reasons(parsed) == {
        "film without sound": 1,
        "film, not a sound file": 1,
        "name is not seven numbers of two digits": 1,
        "song": 1,
        "sound of a film, there as a sound file as well": 1,
    }


def test_ravdess_says_what_intensity_was_asked_for(build: Build) -> None:
    found = [each.dimensions for each in open_corpus(build("ravdess")).utterances]
    assert found == [{"intended_intensity": value} for value in (2.0, 1.0, 2.0)]


@pytest.mark.parametrize(
    "place", ["Audio_Speech_Actors_01-24", "Audio_Speech_Actors_01-24/Actor_01"], ids=["actors", "flat"]
)
def test_ravdess_reads_actors_alone_or_flat(place: str, build: Build) -> None:
    assert "03-01-01-01-02-02-01" in [each.id for each in open_corpus(build("ravdess") / place).utterances]


def test_ravdess_counts_what_was_unpacked_twice(build: Build) -> None:
    root = build("ravdess")
    before = open_corpus(root).utterances
    shutil.copytree(root / "Audio_Speech_Actors_01-24" / "Actor_01", root / "Actor_01")
    parsed = open_corpus(root)
    assert [each.id for each in parsed.utterances] == [each.id for each in before]
    assert _reasons(parsed)["id used twice"] == 1


def test_ravdess_says_that_there_is_only_song(build: Build) -> None:
    with pytest.raises(CorpusError, match=r"nothing usable in it \(song: 1\)"):
        open_corpus(build("ravdess") / "audio_song_actors_01-24")


def test_ravdess_has_eight_emotions() -> None:
    assert len(set(ravdess.EMOTIONS.values())) == 8


def test_class_folders(build: Build) -> None:
    parsed = open_corpus(build("class_folders"))
    facts = [(each.id, each.speaker, each.emotion, each.corpus, each.audio.name) for each in parsed.utterances]
    assert facts == [
        ("Angry/anna/1", "anna", "anger", "class_folders", "1.wav"),
        ("Angry/ben/1", "ben", "anger", "class_folders", "1.flac"),
        ("happiness/anna/1", "anna", "happiness", "class_folders", "1.wav"),
        ("laughter/cleo/1", "cleo", "laughter", "class_folders", "1.wav"),
    ]
    assert _reasons(parsed) == {
        "folder within a speaker's": 1,
        "folder without recordings": 1,
        "not in a folder of a speaker": 1,
        "not in a folder of an emotion": 1,
    }


@pytest.mark.parametrize("stem", ["anna_1", "anna-1", "1_anna", "1"])
def test_class_folders_never_guess_a_speaker(stem: str, tmp_path: Path, make_sound: MakeSound) -> None:
    for name in ("anger", "sadness"):
        make_sound(f"own/{name}/{stem}.wav")
    with pytest.raises(CorpusError, match=r"own: recordings of speakers unknown.*anger/anna/x\.wav.*manifest\.csv"):
        open_corpus(tmp_path / "own")


def test_class_folders_take_no_part_for_a_speaker(tmp_path: Path, make_sound: MakeSound) -> None:
    for name in ("anger/train", "anger/Test", "sad/train"):
        make_sound(f"own/{name}/1.wav")
    with pytest.raises(CorpusError, match="anger: Test, train where folders of speakers should be"):
        open_corpus(tmp_path / "own")


@pytest.mark.parametrize(
    ("paths", "facts"),
    [
        (["anger/anna/1", "sad/ben/1"], [("anna", "anger", None), ("ben", "sadness", None)]),
        (["0001/Angry/1", "0001/Sad/1", "0002/Angry/1", "0002/Sad/1"], ESD),
        (["0001/Angry/train/1", "0001/Sad/test/1", "0002/Angry/test/1", "0002/Sad/train/1"], ESD_PARTED),
        (["train/anger/anna/1", "test/sad/ben/1", "test/anger/ben/1"], PARTED),
        (["1_anger/anna/1", "02 Sad/ben/1", "3Happy/ben/1"], NUMBERED),
    ],
)
def test_class_folders_of_any_order(
    paths: list[str], facts: list[tuple[str, str, str | None]], tmp_path: Path, make_sound: MakeSound
) -> None:
    for path in paths:
        make_sound(f"own/{path}.wav")
    parsed = open_corpus(tmp_path / "own")
    assert parsed.corpus == "class_folders"
    assert all(each.audio == tmp_path / "own" / f"{each.id}.wav" for each in parsed.utterances)
    assert [(each.speaker, each.emotion, each.partition) for each in parsed.utterances] == facts


def test_two_corpora_are_not_two_speakers(tmp_path: Path, make_sound: MakeSound) -> None:
    for corpus in ("mine", "yours"):
        for name in ("anger/anna", "sad/ben"):
            make_sound(f"{corpus}/{name}/1.wav")
    with pytest.raises(CorpusError, match=r"several corpora fit: mine \(class_folders\), yours \(class_folders\)"):
        open_corpus(tmp_path)


def test_a_named_layout_is_forced(tmp_path: Path, make_sound: MakeSound) -> None:
    for name in ("yes/anna", "no/ben"):
        make_sound(f"own/{name}/1.wav")
    with pytest.raises(CorpusError, match="not in the layout of any known corpus"):
        open_corpus(tmp_path / "own")
    forced = open_corpus(tmp_path / "own", "class_folders").utterances
    assert [(each.id, each.speaker, each.emotion) for each in forced] == [
        ("no/ben/1", "ben", "no"),
        ("yes/anna/1", "anna", "yes"),
    ]


@pytest.mark.parametrize("folders", [["anger"], ["anger", "laughter"], ["anger", "angry"], ["84", "85"]], ids=" ".join)
def test_class_folders_need_two_emotions_to_be_known(folders: list[str], tmp_path: Path, make_sound: MakeSound) -> None:
    for name in folders:
        make_sound(f"own/{name}/anna/1.wav")
    assert not CORPORA.load("class_folders").detect(tmp_path / "own")


def test_class_folders_without_anything_are_none(tmp_path: Path) -> None:
    for name in ("anger", "sadness"):
        (tmp_path / name).mkdir()
    assert not CORPORA.load("class_folders").detect(tmp_path)


# What stands in place of a piece of an official name; some are digits, letters or capitals to others.
STRANGE = st.sampled_from(["", "00", "99", "3", "٣٣", "W", "w", "ſ", "Z", "-", "_", " ", "\n", "\x7f", ".", "é"])
OFFICIAL = {
    "emodb": ("wav", ["0", "3", "a", "0", "1", "W", "a"]),
    "ravdess": ("Actor_12", ["03", "-", "01", "-", "05", "-", "01", "-", "02", "-", "01", "-", "1", "2"]),
}


@pytest.mark.parametrize("name", OFFICIAL)
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 13), strange=STRANGE)
def test_a_name_is_known_or_counted(name: str, place: int, strange: str, tmp_path: Path) -> None:
    folder, pieces = OFFICIAL[name]
    official = "".join(pieces)
    near = "".join(strange if number == place % len(pieces) else piece for number, piece in enumerate(pieces))
    shutil.rmtree(tmp_path / name, ignore_errors=True)
    (tmp_path / name / folder).mkdir(parents=True)
    for stem in {official, near}:
        (tmp_path / name / folder / f"{stem}.wav").touch()
    parsed = open_corpus(tmp_path / name, name)
    hidden = near.startswith(".")
    assert len(parsed.utterances) + len(parsed.skipped) == len({official, near}) - hidden
    assert all(each.speaker.isascii() and each.speaker.isdigit() for each in parsed.utterances)


def test_ravdess_whole(tmp_path: Path) -> None:
    """1,440 recordings of speech: 60 an actor, 192 an emotion, 96 neutral ones, which have no strong intensity."""
    numbers = [
        f"03-01-{emotion:02d}-{intensity:02d}-{statement:02d}-{repetition:02d}"
        for emotion in range(1, 9)
        for intensity in (1, 2)[: 1 if emotion == 1 else 2]
        for statement in (1, 2)
        for repetition in (1, 2)
    ]
    for actor in range(1, 25):
        folder = tmp_path / f"Actor_{actor:02d}"
        folder.mkdir()
        for each in numbers:
            (folder / f"{each}-{actor:02d}.wav").touch()
    parsed = open_corpus(tmp_path)
    assert len(parsed.utterances) == 1440
    assert set(Counter(each.speaker for each in parsed.utterances).values()) == {60}
    emotions = Counter(each.emotion for each in parsed.utterances)
    assert emotions.pop("neutral") == 96
    assert set(emotions.values()) == {192}
    assert not parsed.skipped
