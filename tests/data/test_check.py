"""A corpus looked over: every file is opened, every flaw is counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from affetto.data.check import EXAMPLES_PER_REASON, check_corpus
from affetto.data.corpora import CORPORA, Skipped, open_corpus
from affetto.errors import CorpusError

Build = Callable[[str], Path]
MakeSound = Callable[..., Path]


@pytest.fixture
def talks(tmp_path: Path, make_sound: MakeSound) -> Path:
    """Three sound files, one of them twice; two broken ones; stretches that begin or end too late."""
    for name, duration_s in (("a.wav", 1.0), ("b.wav", 2.0), ("c.wav", 4.0), ("none.wav", 0.0)):
        make_sound(f"talks/{name}", duration_s=duration_s)
    (tmp_path / "talks" / "empty.wav").write_bytes(b"")
    (tmp_path / "talks" / "text.wav").write_bytes(b"not sound")
    lines: list[dict[str, object]] = [
        {"audio": "a.wav", "speaker": "ann", "emotion": "fear", "partition": "train", "text": "one"},
        {"audio": "b.wav", "speaker": "bob", "emotion": "anger", "partition": "train", "text": ""},
        {"audio": "c.wav", "speaker": "bob", "emotion": "fear", "start_s": 3.5, "end_s": 4.4},
        {"audio": "c.wav", "speaker": "bob", "start_s": 0.5, "end_s": 3.5},
        {"audio": "c.wav", "speaker": "bob", "start_s": 5},
        {"audio": "c.wav", "speaker": "bob", "id": "late", "start_s": 3, "end_s": 50},
    ]
    lines += [{"audio": name, "speaker": "eve"} for name in ("none.wav", "empty.wav", "text.wav", "lost.wav")]
    path = tmp_path / "talks" / "manifest.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return path.parent


def test_sums_up(talks: Path) -> None:
    summary = check_corpus(talks)
    assert (summary.name, summary.title) == ("jsonl", "JSONL manifest")
    assert (summary.utterances, summary.speakers, summary.transcribed) == (4, 2, 1)
    assert summary.hours * 3600 == pytest.approx(1 + 2 + 0.5 + 3)
    assert (summary.duration_min_s, summary.duration_median_s, summary.duration_max_s) == pytest.approx((0.5, 1.5, 3))
    assert summary.emotions == {"anger": 1, "fear": 2}
    assert summary.partitions == {"train": 2}


def test_counts_what_is_broken(talks: Path) -> None:
    summary = check_corpus(talks)
    assert summary.skipped == {
        "audio missing": 1,
        "audio without samples": 1,
        "begins after the audio's end": 1,
        "ends after the audio's end": 1,
        "unreadable audio": 2,
    }
    assert Skipped(str(talks / "none.wav"), "audio without samples") in summary.examples
    assert Skipped("late", "ends after the audio's end") in summary.examples


def test_what_ends_too_late_is_a_fault(tmp_path: Path, make_sound: MakeSound) -> None:
    make_sound("a.wav", duration_s=4.1)
    rows = ["audio,speaker,id,start_s,end_s", "a.wav,ann,one,0,3", "a.wav,ann,two,3,4.5"]
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    assert not check_corpus(tmp_path).faulty
    (tmp_path / "manifest.csv").write_text("\n".join([*rows, "a.wav,ann,three,3,50"]))
    assert check_corpus(tmp_path).faulty


def test_shows_a_few_examples_of_each_reason(build: Build) -> None:
    root = build("lj_speech")
    with (root / "metadata.csv").open("a") as file:
        file.writelines(f"lost{number}|no sound\n" for number in range(20))
    summary = check_corpus(root)
    assert summary.skipped["audio missing"] == 21
    assert sum(item.reason == "audio missing" for item in summary.examples) == EXAMPLES_PER_REASON


def test_reports_progress_once_a_file(talks: Path) -> None:
    calls: list[tuple[int, int]] = []
    check_corpus(talks, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 6) for done in range(1, 7)]  # c.wav is opened once, lost.wav never


def test_says_that_no_file_can_be_opened(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"not sound")
    (tmp_path / "manifest.jsonl").write_text('{"audio": "a.wav", "speaker": "ann"}')
    with pytest.raises(CorpusError, match=r"nothing usable in it \(unreadable audio: 1\)"):
        check_corpus(tmp_path)


@pytest.mark.parametrize("name", CORPORA.names())
def test_looks_over_every_layout(name: str, build: Build) -> None:
    root = build(name)
    summary = check_corpus(root)
    assert (summary.name, summary.utterances) == (name, len(open_corpus(root).utterances))
    assert summary.licence == CORPORA.load(name).licence
    assert sum(summary.skipped.values()) == len(open_corpus(root).skipped)
