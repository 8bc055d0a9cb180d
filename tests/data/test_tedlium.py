"""TED-LIUM: what is cut out of talks, who speaks, and what counts as said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.data.speech_trees import write_talk

from affetto import audio
from affetto.audio.mixing import Centre
from affetto.data.corpora import open_corpus
from affetto.data.corpora.tedlium import person, segment, transcript

Build = Callable[[str], Path]
LINE = "AaronHuey_2010X 1 AaronHuey_2010X 16.12 29.03 <o,f0,male> so it 's <unk>"


def test_segments_of_talks(build: Build) -> None:
    parsed = open_corpus(build("tedlium"))
    facts = [(each.id, each.speaker, each.sex, each.partition, each.text) for each in parsed.utterances]
    assert facts == [
        (
            "AaronHuey_2010X-00000010-00000040",
            "AaronHuey",
            "male",
            "train",
            "i'm here to show you my photographs",
        ),
        (
            "AaronHuey_2010X-00000050-00000090",
            "AaronHuey",
            "male",
            "train",
            "of the and many other people of the plains",
        ),
        ("JaneMcGonigal_2010-00000000-00000060", "JaneMcGonigal", "female", "test", "it doesn't hurt anybody's game"),
    ]
    assert Counter(each.reason for each in parsed.skipped) == {
        "audio missing": 1,
        "malformed segment": 1,
        "no transcript": 1,
        "not transcribed, as the corpus says": 1,
        "too many words unknown": 1,
    }


def test_one_part_alone(build: Build) -> None:
    (utterance,) = open_corpus(build("tedlium") / "test").utterances
    assert utterance.partition == "test"


def test_is_cut_by_time_as_libsndfile_cuts(tmp_path: Path, make_sound: Callable[..., Path]) -> None:
    path = make_sound("tedlium/train/sph/Ann_2001.sph", duration_s=2.0)
    write_talk(tmp_path / "tedlium" / "train", "Ann_2001", ["Ann_2001 1 Ann_2001 0.5 1.25 <o,f0,female> yes"], Path)
    (utterance,) = open_corpus(tmp_path / "tedlium").utterances
    heard = audio.load(utterance.audio, start_s=utterance.start_s, end_s=utterance.end_s)
    expected, rate = soundfile.read(path, start=8000, stop=20_000, dtype="float32")
    assert rate == 16_000
    centre = Centre(rate)  # which takes away an offset
    assert torch.equal(heard, torch.from_numpy(np.concatenate([centre.feed(expected), centre.finish()])))


def test_other_encodings_are_read(build: Build) -> None:
    root = build("tedlium")
    (root / "train" / "stm" / "AaronHuey_2010X.stm").write_bytes(f"{LINE} caf\u00e9".encode("latin-1"))
    assert "so it's caf\u00e9" not in [each.text for each in open_corpus(root).utterances]  # a sixth is unknown
    (root / "train" / "stm" / "AaronHuey_2010X.stm").write_bytes(b"AaronHuey_2010X 1 a 0 0.05 <o,f0,male> caf\xe9")
    assert "caf\u00e9" in [each.text for each in open_corpus(root).utterances]


@pytest.mark.parametrize(
    ("line", "speaker", "sex", "words"),
    [
        (LINE, "AaronHuey", "male", "so it 's <unk>"),
        ("AlGore_2009 1 Al_Gore 23.46 40.05 <F0_M> but this", "AlGore", "male", "but this"),
        ("AlGore_2009 1 Al_Gore 23.46 40.05 <F0_F> but this", "AlGore", "female", "but this"),
        ("Ann_2001 1 Ann_2001 0 1 <NA> yes", "Ann", None, "yes"),
        ("Ann_2001 1 Ann_2001 0 1 <o,,unknown> yes", "Ann", None, "yes"),
        ("Ann_2001 1 Ann_2001 0 1 <unk> yes", "Ann", None, "<unk> yes"),
        ("Ann_2001 1 Ann_2001 0 1 yes", "Ann", None, "yes"),
        ("Ann_2001 1 Ann_2001 0 1", "Ann", None, ""),
    ],
)
def test_lines(line: str, speaker: str, sex: str | None, words: str) -> None:
    found = segment(line)
    assert found is not None
    assert (found.speaker, found.sex, " ".join(found.words)) == (speaker, sex, words)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Ann_2001 1 Ann_2001 0",
        "Ann_2001 1 Ann_2001 zero one <NA> yes",
        "Ann_2001 1 Ann_2001 1 1 <NA> yes",
        "Ann_2001 1 Ann_2001 -1 1 <NA> yes",
        "Ann_2001 1 Ann_2001 0 inf <NA> yes",
        "Ann_2001 1 Ann_2001 nan 1 <NA> yes",
        "Ann_2001 1 _2001 0 1 <NA> yes",
    ],
)
def test_lines_that_are_none(line: str) -> None:
    assert segment(line) is None


@pytest.mark.parametrize(
    ("names", "who"),
    [
        (("AlGore_2006", "AlGore_2009", "Al_Gore"), "AlGore"),
        (("DanBarber_2010", "DanBarber_2010_S103"), "DanBarber"),
        (("AimeeMullins_2009P",), "AimeeMullins"),
    ],
)
def test_talks_of_one_person_are_of_one_speaker(names: tuple[str, ...], who: str) -> None:
    assert {person(name) for name in names} == {who}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("we 're glad they 'll come", "we're glad they'll come"),
        ("doesn 't i 've he 'd", "doesn't i've he'd"),
        ("get 'em", "get 'em"),
        ("'s go", "'s go"),
        ("<unk> 's there", "'s there"),
        ("the students ' work", "the students ' work"),
        ("read(2) <sil> it {SMACK} [laughter]", "read it"),
        ("(2) one", "one"),
    ],
)
def test_what_is_said(written: str, said: str) -> None:
    assert transcript(tuple(written.split())) == said


TOKENS = st.sampled_from(["<unk>", "'s", "a", "{X}", "(2)", "the(3)", "'", "<", ">", "ignore_time_segment_in_scoring"])


@given(st.lists(st.one_of(TOKENS, st.text(max_size=6)), max_size=12))
def test_nothing_of_the_markup_is_ever_spelt(tokens: list[str]) -> None:
    words = tuple(" ".join(tokens).split())
    said = transcript(words)
    assert "<unk>" not in said.split()
    assert said == transcript(tuple(said.split()))  # nothing is left to be done


@given(st.one_of(st.text(max_size=80), st.lists(st.one_of(TOKENS, st.floats().map(str)), max_size=9).map(" ".join)))
def test_any_line_is_a_segment_or_none(line: str) -> None:
    found = segment(line)
    assert found is None or (0 <= found.start_s < found.end_s < float("inf") and found.speaker and found.talk)
