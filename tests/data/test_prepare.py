"""A corpus made ready: the sound is that of the source, nothing is made twice, and what is left out is named."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from tests.data.speech_trees import pack, write_submission, write_talk

from affetto import audio
from affetto.data.check import check_corpus
from affetto.data.corpora import CORPORA, Skipped, open_corpus
from affetto.data.prepare import PreparedCorpus, file_names, prepare_corpus
from affetto.data.utterance import Utterance
from affetto.errors import CorpusError

Build = Callable[[str], Path]
MakeSound = Callable[..., Path]


@pytest.fixture
def mine(tmp_path: Path, make_sound: MakeSound) -> Path:
    """A manifest of sound in every state: good, cut, long, silent in words, broken, cut short, and away."""
    for name, facts in {
        "good.wav": {},
        "stereo.wav": {"sample_rate": 44_100, "channels": 2},
        "talk.sph": {"duration_s": 4.0},
        "long.wav": {"duration_s": 2.5},
        "none.wav": {"duration_s": 0.0},
    }.items():
        make_sound(f"mine/{name}", **facts)
    (tmp_path / "mine" / "broken.wav").write_bytes(b"not sound")
    flac = make_sound("mine/torn.flac", duration_s=2.0)
    flac.write_bytes(flac.read_bytes()[:10_000])
    lines: list[dict[str, Any]] = [
        {"id": "good", "audio": "good.wav", "text": "It’s No. 7!", "partition": "train", "sex": "female", "age": "26"},
        {"id": "stereo", "audio": "stereo.wav", "text": "Two", "partition": "test"},
        {"id": "cut", "audio": "talk.sph", "text": "cut", "start_s": 0.5, "end_s": 1.25},
        {"id": "rounded", "audio": "talk.sph", "text": "end", "start_s": 3.0, "end_s": 4.2},
        {"id": "felt", "audio": "good.wav", "text": "...", "emotion": "joy"},
        {"id": "wordless", "audio": "good.wav", "text": "..."},
        {"id": "long", "audio": "long.wav", "text": "long"},
        {"id": "none", "audio": "none.wav", "text": "none"},
        {"id": "late", "audio": "good.wav", "text": "late", "start_s": 9.0},
        {"id": "beyond", "audio": "talk.sph", "text": "beyond", "start_s": 3.0, "end_s": 5.0},
        {"id": "broken", "audio": "broken.wav", "text": "broken"},
        {"id": "torn", "audio": "torn.flac", "text": "torn"},
        {"id": "away", "audio": "away.wav", "text": "away"},
    ]
    manifest = tmp_path / "mine" / "manifest.jsonl"
    manifest.write_text("\n".join(json.dumps({"speaker": "ann", **line}) for line in lines))
    return manifest.parent


def _prepare(source: Path, output: Path, **facts: Any) -> PreparedCorpus:
    return prepare_corpus(source, output, **{"max_duration_s": 2.0, "jobs": 2, **facts})


def _utterances(output: Path) -> dict[str, Utterance]:
    return {each.id: each for each in open_corpus(output).utterances}


def test_what_is_good_is_kept_with_its_real_duration(mine: Path, tmp_path: Path) -> None:
    prepared = _prepare(mine, tmp_path / "out")
    kept = _utterances(tmp_path / "out")
    facts = {each.id: (each.text, each.start_s, each.end_s, each.partition) for each in kept.values()}
    assert facts == {
        "good": ("it's number seven", 0.0, 0.5, "train"),
        "stereo": ("two", 0.0, 0.5, "test"),
        "cut": ("cut", 0.0, 0.75, None),
        "rounded": ("end", 0.0, 1.0, None),
        "felt": (None, 0.0, 0.5, None),
    }
    assert (kept["felt"].emotion, kept["good"].sex, kept["good"].age) == ("joy", "female", "26")
    assert (prepared.utterances, prepared.transcribed, prepared.speakers, prepared.made) == (5, 4, 1, 5)
    assert prepared.hours * 3600 == pytest.approx(3.25)
    assert prepared.partitions == {"test": 1, "train": 1}


def test_files_are_flac_of_16_khz_mono_as_libsndfile_sees_them(mine: Path, tmp_path: Path) -> None:
    _prepare(mine, tmp_path / "out")
    for each in _utterances(tmp_path / "out").values():
        found = soundfile.info(each.audio)
        assert (found.format, found.subtype, found.samplerate, found.channels) == ("FLAC", "PCM_16", 16_000, 1)
        assert found.frames / 16_000 == each.end_s


def test_the_sound_of_the_source_comes_through_but_for_its_offset(mine: Path, tmp_path: Path) -> None:
    _prepare(mine, tmp_path / "out")
    made, _ = soundfile.read(_utterances(tmp_path / "out")["cut"].audio, dtype="int16")
    source, _ = soundfile.read(mine / "talk.sph", start=8000, stop=20_000, dtype="int16")
    assert np.abs(made.astype(int) - source).max() < 0.01 * 32768


def test_other_rates_sound_the_same_to_sixteen_bits(mine: Path, tmp_path: Path) -> None:
    _prepare(mine, tmp_path / "out")
    made = audio.load(_utterances(tmp_path / "out")["stereo"].audio)
    assert (made - audio.load(mine / "stereo.wav")).abs().max() < 1e-3  # an offset is looked for each time


@pytest.mark.parametrize("kind", ["mp3", "ogg", "flac"])
def test_all_of_joined_recordings_is_prepared(kind: str, tmp_path: Path, make_sound: MakeSound) -> None:
    joined = make_sound(f"mine/a.{kind}", duration_s=1.0)
    joined.write_bytes(joined.read_bytes() * 3)
    line = {"id": "a", "audio": f"a.{kind}", "text": "three times", "speaker": "ann", "corpus": "mine"}
    (tmp_path / "mine" / "manifest.jsonl").write_text(json.dumps(line) + "\n")
    prepared = prepare_corpus(tmp_path / "mine" / "manifest.jsonl", tmp_path / "out")
    assert prepared.hours * 3600 == pytest.approx(3, abs=0.2)
    assert audio.duration(tmp_path / "out" / "audio" / "mine" / "ann" / "a.flac") == pytest.approx(3, abs=0.2)


def test_what_is_left_out_is_named_with_reason_and_detail(mine: Path, tmp_path: Path) -> None:
    prepared = _prepare(mine, tmp_path / "out")
    with (tmp_path / "out" / "left-out.csv").open(newline="") as file:
        rows = {row["what"]: (row["reason"], row["detail"]) for row in csv.DictReader(file)}
    assert rows["long"] == ("over 2 s", "2.50 s")
    assert rows["wordless"] == ("no transcript", "")
    assert rows["none"] == ("audio without samples", str(mine / "none.wav"))
    assert rows["late"] == ("begins after the audio's end", "9.00 to the end, of 0.50 s")
    assert rows["beyond"] == ("ends after the audio's end", "3.00 to 5.00, of 4.00 s")
    assert rows["away"] == ("audio missing", "")
    assert rows["broken"][0] == rows["torn"][0] == "unreadable audio"
    assert rows["broken"][1].startswith(f"{mine / 'broken.wav'}: cannot be read as sound")
    assert len(rows) == len(prepared.left_out) == sum(prepared.reasons.values()) == 8
    assert prepared.faults == 2


def test_provenance_stands_beside_the_manifest(build: Build, tmp_path: Path) -> None:
    _prepare(build("tedlium"), tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "corpus.json").read_text())
    corpus = CORPORA.load("tedlium")
    assert (facts["corpus"], facts["licence"], facts["citation"]) == ("tedlium", corpus.licence, corpus.citation)
    assert (facts["max_duration_s"], facts["utterances"]) == (2.0, 3)


def test_nothing_is_made_twice(mine: Path, tmp_path: Path) -> None:
    _prepare(mine, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "audio").rglob("*.flac")}
    manifest = (tmp_path / "out" / "manifest.jsonl").read_bytes()
    again = _prepare(mine, tmp_path / "out")
    assert (again.made, again.utterances, len(before)) == (0, 5, 5)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (tmp_path / "out" / "manifest.jsonl").read_bytes() == manifest


def test_a_moved_corpus_is_the_same_corpus(mine: Path, tmp_path: Path) -> None:
    _prepare(mine, tmp_path / "out")
    (tmp_path / "elsewhere").mkdir()
    moved = mine.rename(tmp_path / "elsewhere" / "mine")
    (tmp_path / "out").rename(tmp_path / "there")
    assert _prepare(moved, tmp_path / "there").made == 0


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


def _scramble(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize("damage", [Path.unlink, _truncate, _scramble])
def test_what_is_not_whole_is_made_again(damage: Callable[[Path], object], mine: Path, tmp_path: Path) -> None:
    _prepare(mine, tmp_path / "out")
    path = _utterances(tmp_path / "out")["cut"].audio
    whole = path.read_bytes()
    damage(path)
    assert _prepare(mine, tmp_path / "out").made == 1
    assert path.read_bytes() == whole


def test_another_source_or_another_cut_is_made_again(mine: Path, tmp_path: Path, make_sound: MakeSound) -> None:
    _prepare(mine, tmp_path / "out")
    make_sound("mine/stereo.wav", duration_s=0.75)
    manifest = mine / "manifest.jsonl"
    manifest.write_text(manifest.read_text().replace('"start_s": 0.5, "end_s": 1.25', '"start_s": 1.0, "end_s": 1.75'))
    assert _prepare(mine, tmp_path / "out").made == 2
    kept = _utterances(tmp_path / "out")
    source, _ = soundfile.read(mine / "talk.sph", start=16_000, stop=28_000, dtype="int16")
    assert kept["stereo"].end_s == 0.75
    made, _ = soundfile.read(kept["cut"].audio, dtype="int16")
    assert np.abs(made.astype(int) - source).max() < 0.01 * 32768


def test_another_limit_or_text_makes_no_sound_again(mine: Path, tmp_path: Path) -> None:
    _prepare(mine, tmp_path / "out")
    manifest = mine / "manifest.jsonl"
    manifest.write_text(manifest.read_text().replace('"Two"', '"Three"'))
    prepared = _prepare(mine, tmp_path / "out", max_duration_s=0.6)
    assert prepared.made == 0
    assert prepared.reasons["over 0.6 s"] == 4
    assert _utterances(tmp_path / "out")["stereo"].text == "three"


class _StoppedError(BaseException):
    """Stands for Ctrl-C."""


def test_stopped_it_keeps_what_is_done(mine: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int, what: str) -> None:
        assert (total, what) == (12, "preparing")
        if done == 3:
            raise _StoppedError

    with pytest.raises(_StoppedError):
        _prepare(mine, tmp_path / "out", jobs=1, progress=stop)
    assert not (tmp_path / "out" / "manifest.jsonl").exists()
    done = len(list((tmp_path / "out" / "audio").rglob("*.flac")))
    with (tmp_path / "out" / "journal.jsonl").open("a") as file:
        file.write('["torn", [')
    prepared = _prepare(mine, tmp_path / "out")
    assert 0 < done == 5 - prepared.made
    assert _prepare(mine, tmp_path / "out").made == 0


def test_a_full_disk_ends_it_and_leaves_no_half_file(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, calls = Path.write_bytes, []

    def fill(path: Path, content: bytes) -> int:
        calls.append(path)
        if len(calls) < 3:
            return write(path, content)
        write(path, bytes(content[:10]))
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", fill)
    with pytest.raises(OSError, match="No space left"):
        _prepare(mine, tmp_path / "out", jobs=1)
    monkeypatch.undo()
    assert len([path for path in (tmp_path / "out" / "audio").rglob("*") if path.is_file()]) == 2
    assert _prepare(mine, tmp_path / "out").made == 3


@pytest.mark.parametrize("name", CORPORA.names())
def test_every_layout_is_prepared_and_read_again(name: str, build: Build, tmp_path: Path) -> None:
    root = build(name)
    prepared = _prepare(root, tmp_path / "out")
    again = check_corpus(tmp_path / "out")
    assert again.name == "jsonl"
    assert again.skipped == {}
    assert again.utterances == prepared.utterances
    before = {each.id: each for each in open_corpus(root).utterances}
    after = _utterances(tmp_path / "out")
    learnable = {key for key, each in before.items() if each.text or each.emotion or each.votes or each.ratings}
    assert set(after) >= learnable
    for key in learnable:
        old, new = before[key], after[key]
        assert (new.speaker, new.corpus, new.partition, new.group) == (
            old.speaker,
            old.corpus,
            old.partition,
            old.group,
        )
        assert (new.emotion, new.votes, new.ratings, new.sex) == (old.emotion, old.votes, old.ratings, old.sex)


def test_archives_are_unpacked_once(tmp_path: Path, make_sound: MakeSound) -> None:
    root = tmp_path / "vox"
    for name in ("ann-20080101-abc", "ben-20080101-abc"):
        pack(write_submission(root, name, {"a1": "ONE"}, lambda path: make_sound(f"vox/{path}")), root)
    (root / "cut-20080101-abc.tgz").write_bytes((root / "ann-20080101-abc.tgz").read_bytes()[:300])
    calls: list[tuple[int, int, str]] = []
    first = _prepare(root, tmp_path / "out", progress=lambda *call: calls.append(call))
    assert calls == [(number, 3, "unpacking") for number in (1, 2, 3)] + [(number, 2, "preparing") for number in (1, 2)]
    assert (first.made, first.faults, first.reasons) == (2, 1, {"damaged archive": 1})
    assert {each.speaker for each in open_corpus(tmp_path / "out").utterances} == {"ann", "ben"}
    shutil.rmtree(tmp_path / "out" / "unpacked")
    assert _prepare(root, tmp_path / "out").made == 0


def test_nothing_usable_is_reported_and_named(tmp_path: Path, make_sound: MakeSound) -> None:
    write_talk(tmp_path / "ted" / "train", "a_1", ["a_1 1 a 0 9 <NA> yes"], lambda path: make_sound(f"ted/{path}"))
    with pytest.raises(CorpusError, match=r"nothing usable in it \(ends after the audio's end: 1\)"):
        _prepare(tmp_path / "ted", tmp_path / "out")
    assert "a_1-00000000-00009000" in (tmp_path / "out" / "left-out.csv").read_text()


@pytest.mark.parametrize(
    ("output", "message"),
    [("mine", "lies within the corpus"), ("mine/out", "lies within the corpus"), ("theirs", "not empty, and nothing")],
)
def test_places_that_would_be_spoilt_are_refused(output: str, message: str, mine: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.tex").touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CorpusError, match=message):
        _prepare(mine, tmp_path / output)
    assert sorted(tmp_path.rglob("*")) == before


NAMES = st.one_of(st.text(min_size=1, max_size=8), st.sampled_from(["a", "A", "a.", "..", "con/../x", "x" * 300, "ß"]))


@given(st.lists(st.tuples(NAMES, NAMES), max_size=8, unique=True))
def test_file_names_are_distinct_everywhere_and_lead_nowhere_else(names: list[tuple[str, str]]) -> None:
    utterances = [Utterance(id=id_, audio=Path("x"), speaker="s", corpus=corpus) for corpus, id_ in names]
    files = file_names(utterances)
    assert len({file.lower() for file in files}) == len(names)
    assert all(file.isascii() and file.count("/") == 2 and ".." not in file.split("/") for file in files)
    assert all(0 < len(part) <= 110 and not part.startswith(".") for file in files for part in file.split("/"))


def test_reasons_are_counted_the_most_frequent_first() -> None:
    left_out = tuple(Skipped(str(number), "over 15 s" if number else "audio missing") for number in range(3))
    counts: dict[str, Any] = {
        "utterances": 0,
        "hours": 0.0,
        "speakers": 0,
        "partitions": {},
        "transcribed": 0,
        "made": 0,
    }
    prepared = PreparedCorpus(corpus=CORPORA.load("jsonl"), manifest=Path("m"), left_out=left_out, **counts)
    assert list(prepared.reasons.items()) == [("over 15 s", 2), ("audio missing", 1)]
