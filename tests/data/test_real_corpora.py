"""The readers on real speech: what they count is what the collection's own description says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from affetto.data.check import check_corpus
from affetto.data.corpora import open_corpus
from affetto.data.manifest import manifest_digest, read_manifest, write_manifest
from affetto.data.splits import by_speaker, check_disjoint, fixed_split, held_out_groups
from affetto.data.utterance import Utterance


@pytest.fixture(scope="module")
def crema_d(data_root: Path) -> tuple[Utterance, ...]:
    return open_corpus(data_root / "crema-d").utterances


@pytest.mark.parametrize(
    ("folder", "layout", "utterances", "speakers"),
    [
        ("crema-d", "crema_d", 7442, 91),
        ("speech/speechocean762", "kaldi", 5000, 250),
        ("speech/common-voice", "common_voice", 2182, 356),
        ("speech/robotutor", "jsonl", 2852, 1),
        ("speech/kathleen", "jsonl", 1620, 1),
        ("speech/LJSpeech-1.1", "lj_speech", 385, 1),
        ("speech/LibriSpeech", "librispeech", 638, 10),
    ],
)
def test_counts(folder: str, layout: str, utterances: int, speakers: int, data_root: Path) -> None:
    parsed = open_corpus(data_root / folder)
    assert parsed.corpus == layout
    assert parsed.skipped == ()
    assert len(parsed.utterances) == utterances
    assert len({each.speaker for each in parsed.utterances}) == speakers


@pytest.mark.parametrize(
    ("folder", "hours"), [("speech/LibriSpeech", 1.35), ("speech/common-voice", 3.434), ("speech/kathleen", 1.37)]
)
def test_hours(folder: str, hours: float, data_root: Path) -> None:
    summary = check_corpus(data_root / folder)
    assert summary.hours == pytest.approx(hours, abs=0.005)
    assert summary.skipped == {}


def test_crema_d_emotions(crema_d: tuple[Utterance, ...]) -> None:
    counts = Counter(each.emotion for each in crema_d)
    assert sum(counts[name] for name in ("anger", "happiness", "neutral", "sadness")) == 4900
    assert len({each.text for each in crema_d}) == 12


def test_every_crema_d_clip_was_rated_by_several(crema_d: tuple[Utterance, ...]) -> None:
    votes = [each.votes or {} for each in crema_d]
    assert min(sum(each.values()) for each in votes) >= 1


def test_the_crowd_agrees_with_its_published_majority(data_root: Path, crema_d: tuple[Utterance, ...]) -> None:
    """The corpus's own column emoVote, where it names one emotion, is the most voted one of what was read."""
    table = (data_root / "crema-d" / "processedResults" / "tabulatedVotes.csv").read_text().splitlines()[1:]
    rows = [[cell.strip('"') for cell in line.split(",")] for line in table if line.startswith('"1')]
    published = {row[7]: row[10] for row in rows if len(row[10]) == 1}
    read = {each.id: each.votes or {} for each in crema_d}
    wrong = [
        clip
        for clip, letter in published.items()
        if clip in read and max(read[clip], key=read[clip].__getitem__)[0].upper() != letter
    ]
    assert len(published) > 6000
    assert wrong == []


def test_speechocean_parts_share_no_speaker(data_root: Path) -> None:
    utterances = open_corpus(data_root / "speech" / "speechocean762").utterances
    parts = Counter(each.partition for each in utterances)
    assert parts == {"train": 2500, "test": 2500}
    rest, validation = held_out_groups(
        [each for each in utterances if each.partition == "train"], group=by_speaker, share=0.1, seed=0
    )
    test = [each for each in utterances if each.partition == "test"]
    split = fixed_split(
        [*rest, *validation, *test],
        group=by_speaker,
        validation={by_speaker(each) for each in validation},
        test={by_speaker(each) for each in test},
    )
    check_disjoint(split, by_speaker)
    assert len(split.test) == 2500
    assert len(split.validation) == pytest.approx(250, abs=20)


def test_a_corpus_survives_being_written_as_a_manifest(crema_d: tuple[Utterance, ...], tmp_path: Path) -> None:
    write_manifest(tmp_path / "crema.jsonl", crema_d)
    read = read_manifest(tmp_path / "crema.jsonl")
    assert tuple(read) == crema_d
    assert manifest_digest(read) == manifest_digest(crema_d)
