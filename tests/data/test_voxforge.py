"""VoxForge: who submitted what, and submissions in every state of disrepair."""

from __future__ import annotations

import errno
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.data.speech_trees import Sound, pack, write_submission

from affetto.data.corpora import CORPORA, Parsed, open_corpus
from affetto.data.corpora.voxforge import PACKED, Readme, prompt, readme
from affetto.errors import CorpusError

Build = Callable[[str], Path]


def _reasons(parsed: Parsed) -> dict[str, int]:
    return dict(Counter(item.reason for item in parsed.skipped))


@pytest.fixture
def sound(make_sound: Callable[..., Path]) -> Sound:
    return lambda name: make_sound(f"vox/{name}", duration_s=0.1, sample_rate=44_100)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "vox"


def test_submissions(build: Build) -> None:
    root = build("voxforge")
    parsed = open_corpus(root)
    facts = [(each.id, each.speaker, each.sex, each.age, each.text) for each in parsed.utterances]
    assert facts == [
        ("Ann-20080101-abc-a0001", "ann", "female", "adult", "THE WORDS"),
        ("Ann-20080101-abc-a0002", "ann", "female", "adult", "MORE WORDS"),
        ("ann-20090202-xyz-b1", "ann", "female", "adult", "Said again."),
        ("anonymous-20100303-dey-c1", "anonymous", None, None, "WHO KNOWS"),
        ("ben-20080101-abc-a2", "ben", "female", "adult", "FOUND"),
    ]
    assert parsed.utterances[2].audio == root / "ann-20090202-xyz" / "flac" / "b1.flac"
    assert _reasons(parsed) == {
        "audio missing": 1,
        "no transcript": 1,
        "not a submission": 1,
        PACKED: 1,
        "submission with no prompts": 1,
        "submission with no recordings": 1,
    }


def test_one_submission_alone(build: Build) -> None:
    assert len(open_corpus(build("voxforge") / "Ann-20080101-abc").utterances) == 2


def test_what_is_packed_is_named_with_the_remedy(root: Path, sound: Sound) -> None:
    pack(write_submission(root, "fay-20080101-abc", {"a1": "PACKED"}, sound), root)
    with pytest.raises(CorpusError, match="nothing usable in it \\(packed, for affetto corpus prepare to unpack: 1\\)"):
        open_corpus(root)


def test_packed_and_unpacked_are_the_same_corpus(root: Path, sound: Sound, tmp_path: Path) -> None:
    for name in ("ann-20080101-abc", "ben-20080101-abc"):
        write_submission(root, name, {"a1": "ONE", "a2": "TWO"}, sound)
    shutil.copytree(root, tmp_path / "plain")
    pack(root / "ann-20080101-abc", root)
    parsed = CORPORA.load("voxforge").parse(root, tmp_path / "into")
    plain = CORPORA.load("voxforge").parse(tmp_path / "plain")
    assert [(each.id, each.speaker, each.text) for each in parsed.utterances] == [
        (each.id, each.speaker, each.text) for each in plain.utterances
    ]
    assert [each.audio.read_bytes() for each in parsed.utterances] == [
        each.audio.read_bytes() for each in plain.utterances
    ]
    assert parsed.skipped == ()


def test_what_lies_there_unpacked_too_is_read_once(root: Path, sound: Sound, tmp_path: Path) -> None:
    folder = write_submission(root, "ann-20080101-abc", {"a1": "ONE"}, sound)
    shutil.copytree(folder, tmp_path / "copy")
    archive = pack(folder, root)
    shutil.copytree(tmp_path / "copy", folder)
    assert len(open_corpus(root).utterances) == 1
    assert open_corpus(root).skipped == ()
    assert len(CORPORA.load("voxforge").parse(root, tmp_path / "into").utterances) == 1
    assert archive.exists()


def test_faulty_archives_are_counted_and_the_rest_is_read(root: Path, sound: Sound, tmp_path: Path) -> None:
    pack(write_submission(root, "ann-20080101-abc", {"a1": "ONE"}, sound), root)
    (root / "ben-20080101-abc.tgz").write_bytes(b"no archive")
    whole = (root / "ann-20080101-abc.tgz").read_bytes()
    (root / "cut-20080101-abc.tgz").write_bytes(whole[: len(whole) // 2])
    calls: list[tuple[int, int, str]] = []
    parsed = CORPORA.load("voxforge").parse(root, tmp_path / "into", lambda *call: calls.append(call))
    assert [each.id for each in parsed.utterances] == ["ann-20080101-abc-a1"]
    assert _reasons(parsed) == {"damaged archive": 2}
    assert {each.what for each in parsed.skipped} == {"ben-20080101-abc.tgz", "cut-20080101-abc.tgz"}
    assert calls == [(1, 3, "unpacking"), (2, 3, "unpacking"), (3, 3, "unpacking")]
    assert sorted(each.name for each in (tmp_path / "into").iterdir()) == ["ann-20080101-abc"]


def test_the_folder_names_the_speaker_where_no_readme_does(root: Path, sound: Sound) -> None:
    for name in ("Ann_Lee-20080101-abc", "nameless"):
        (write_submission(root, name, {"a1": "ONE"}, sound) / "etc" / "README").unlink()
    parsed = open_corpus(root)
    assert [each.speaker for each in parsed.utterances] == ["annlee"]
    assert _reasons(parsed) == {"submission with no speaker": 1}


def test_the_first_list_with_words_counts(root: Path, sound: Sound) -> None:
    etc = write_submission(root, "ann-20080101-abc", {"a1": "ONE"}, sound) / "etc"
    (etc / "prompts-original").write_text("a1 One, he said.")
    assert open_corpus(root).utterances[0].text == "ONE"
    (etc / "PROMPTS").write_text("\n")
    assert open_corpus(root).utterances[0].text == "One, he said."


def test_text_that_cannot_be_opened_costs_one_submission(
    root: Path, sound: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Path.read_bytes

    def read_or_refuse(path: Path) -> bytes:
        if path.parts[-3:] == ("ben-20080101-abc", "etc", "PROMPTS"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", read_or_refuse)
    for name in ("ann-20080101-abc", "ben-20080101-abc"):
        write_submission(root, name, {"a1": "ONE"}, sound)
    parsed = open_corpus(root)
    assert [each.speaker for each in parsed.utterances] == ["ann"]
    assert _reasons(parsed) == {"unreadable text": 1}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ann-20080101-abc/mfc/a0001 THE WORDS", ("a0001", "THE WORDS")),
        ("../../MFCC_0_D/ann-20080101-abc/mfc/a0001\tTHE  WORDS ", ("a0001", "THE  WORDS")),
        ("a0001 The words.", ("a0001", "The words.")),
        ("a0001.wav The words.", ("a0001", "The words.")),
        ("v1.2 The words.", ("v1.2", "The words.")),
        ("a0001", None),
        ("a0001  ", None),
        ("ann/mfc/ THE WORDS", None),
        ("", None),
    ],
)
def test_prompts(line: str, expected: tuple[str, str] | None) -> None:
    assert prompt(line) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["User Name: Ann  Lee", "Gender:Male", "Age Range:Senior"], Readme("Ann Lee", "male", "senior")),
        (["User Name:ann;", "Gender: Female;", "Age Range: Adult;"], Readme("ann", "female", "adult")),
        (["user name:ann", "GENDER: female"], Readme("ann", "female", None)),
        (["Gender: Please Select", "Age Range: [unknown]"], Readme(None, None, None)),
        (["User Name:", "nothing else"], Readme(None, None, None)),
        (["User Name: a: b", "User Name: c"], Readme("a: b", None, None)),
        ([], Readme(None, None, None)),
    ],
)
def test_readmes(lines: list[str], expected: Readme) -> None:
    assert readme(lines) == expected


@given(st.text(max_size=60))
def test_any_line_is_a_prompt_or_none(line: str) -> None:
    found = prompt(line)
    assert found is None or (found[0] and "/" not in found[0] and found[1] == found[1].strip() != "")


KEYS = st.sampled_from(["User Name", "gender ", "Age Range", "Age", ""])


@given(st.lists(st.tuples(KEYS, st.sampled_from([":", "", " : "]), st.text(max_size=12)).map("".join), max_size=8))
def test_any_readme_tells_something_or_nothing(lines: list[str]) -> None:
    found = readme(lines)
    assert found.sex in {None, "female", "male"}
    assert found.name != ""
    assert found.age != ""
