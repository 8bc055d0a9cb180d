"""A leak in a division that others made is found, and what is said of a sound one is true."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from affetto.data.check import divide, given_folds, is_run_folder, report
from affetto.data.labels import Labelling
from affetto.data.manifest import write_manifest
from affetto.data.protocols import FixedSplit, LeaveOneSpeakerOut, Missing, make_folds
from affetto.data.splits import PARTS, Split, by_speaker
from affetto.data.utterance import Utterance
from affetto.errors import SplitError

HEADER = "fold,part,speaker"
SOUND = ["0,train,ann", "0,validation,bob", "0,test,cai", "1,train,bob", "1,validation,cai", "1,test,ann"]


def _data(*speakers: str, corpus: str = "mine") -> list[Utterance]:
    return [
        Utterance(
            id=f"{corpus}-{speaker}-{emotion}", audio=Path("a.wav"), speaker=speaker, corpus=corpus, emotion=emotion
        )
        for speaker in speakers
        for emotion in ("anger", "neutral")
    ]


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Path]:
    """A folder with a manifest of ann, bob and cai, whose sound is gone, and these lines of folds."""

    def build(lines: Sequence[str], data: Sequence[Utterance] = tuple(_data("ann", "bob", "cai"))) -> Path:
        write_manifest(tmp_path / "manifest.jsonl", data)
        (tmp_path / "folds.csv").write_text("\n".join([HEADER, *lines, ""]), encoding="utf-8")
        return tmp_path

    return build


def test_a_run_folder_tells_its_own_division(run: Callable[..., Path]) -> None:
    folder = run(SOUND)
    assert is_run_folder(folder)
    folds = given_folds(folder)
    speakers = [[sorted({each.speaker for each in getattr(fold, part)}) for part in PARTS] for fold in folds]
    assert speakers == [[["ann"], ["bob"], ["cai"]], [["bob"], ["cai"], ["ann"]]]


def test_the_order_of_lines_and_columns_does_not_matter(run: Callable[..., Path], tmp_path: Path) -> None:
    expected = given_folds(run(SOUND))
    turned = [",".join(reversed(line.split(","))) for line in [HEADER, *reversed(SOUND)]]
    (tmp_path / "turned.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n\r\n".join(turned).encode())
    assert given_folds(tmp_path, tmp_path / "turned.csv") == expected


def test_what_is_made_is_read_as_made(run: Callable[..., Path]) -> None:
    data = [*_data("ann", "bob", "cai"), *_data("ann", "dan", corpus="yours")]
    folds = make_folds(data, LeaveOneSpeakerOut(), group=by_speaker, seed=0)
    lines = [
        f"{number},{part},{name}"
        for number, fold in enumerate(folds)
        for part in PARTS
        for name in sorted({by_speaker(each) for each in getattr(fold, part)})
    ]
    assert report(given_folds(run(lines, data))) == report(folds)


def test_a_speaker_in_two_parts_is_found(run: Callable[..., Path]) -> None:
    folds = given_folds(run([*SOUND, "1,train,ann"]))
    with pytest.raises(SplitError, match="fold 1: mine/ann in both train and test; keep every speaker"):
        report(folds)


def test_counts_every_part() -> None:
    ann, bob, cai = (_data(name) for name in ("ann", "bob", "cai"))
    fold = Split(train=(*ann, *bob), validation=(cai[0],), test=tuple(_data("dan")))
    found = report([fold, Split(train=tuple(bob), validation=tuple(ann), test=tuple(_data("dan")))])
    assert [(each.fold, each.part, each.utterances) for each in found.parts] == [
        (0, "train", 4),
        (0, "validation", 1),
        (0, "test", 2),
        (1, "train", 2),
        (1, "validation", 2),
        (1, "test", 2),
    ]
    assert found.parts[0].speakers == ("mine/ann", "mine/bob")
    assert found.parts[1].emotions == {"anger": 1, "neutral": 0}
    assert found.missing == (Missing(0, "validation", ("neutral",)),)
    assert (found.never_tested, found.tested_repeatedly) == (5, 2)


def test_corpora_without_emotions_are_looked_at_as_well(run: Callable[..., Path]) -> None:
    data = [Utterance(id=name, audio=Path("a.wav"), speaker=name, corpus="mine") for name in ("ann", "bob", "cai")]
    found = report(given_folds(run(SOUND, data)))
    assert found.parts[0].emotions == {}
    assert found.missing == ()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "folds.csv: no folds in it"),
        (["0,train,zoe"], "folds.csv:2: no such speaker: zoe; choose among mine/ann, mine/bob, mine/cai"),
        (["0,train,"], "folds.csv:2: no such speaker: "),
        (["0,training,ann"], "folds.csv:2: the part is 'training'; name one of train, validation, test"),
        (["-1,train,ann"], "folds.csv:2: the fold is '-1'"),
        (["²,train,ann"], "folds.csv:2: the fold is '²'"),
        (["0,train"], "folds.csv:2: 2 values"),
        (["0,train,ann", '0,test,"bob'], "not a CSV file"),
        (["0,train,ann", "0,test,bob"], "folds.csv, fold 0: the validation part is empty"),
    ],
)
def test_refuses_lines_that_are_no_division(run: Callable[..., Path], lines: list[str], message: str) -> None:
    with pytest.raises(SplitError, match=message):
        given_folds(run(lines))


def test_refuses_names_of_two_people(run: Callable[..., Path]) -> None:
    data = [*_data("ann", "bob", "cai"), *_data("ann", corpus="yours")]
    with pytest.raises(SplitError, match="csv:2: the speaker ann is in several corpora; write mine/ann or yours/ann"):
        given_folds(run(SOUND, data))


@pytest.mark.parametrize(
    "content", [b"", b"fold,part\n", b"\xff\xfe", b"a,b,c\n1,2,3\n", b"fold,part,speaker,speaker\n"]
)
def test_refuses_other_files(run: Callable[..., Path], tmp_path: Path, content: bytes) -> None:
    folder = run(SOUND)
    (folder / "other.csv").write_bytes(content)
    with pytest.raises(SplitError, match=r"other\.csv.*write lines of fold, part, speaker"):
        given_folds(folder, folder / "other.csv")


def test_refuses_a_file_that_is_not_there(run: Callable[..., Path]) -> None:
    folder = run(SOUND)
    with pytest.raises(SplitError, match=r"none\.csv: No such file"):
        given_folds(folder, folder / "none.csv")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60) | st.text('0,"trainest\nanbobcai', max_size=80).map(str.encode))
def test_any_bytes_are_read_or_refused(run: Callable[..., Path], content: bytes) -> None:
    folder = run(SOUND)
    (folder / "any.csv").write_bytes(f"{HEADER}\n".encode() + content)
    try:
        found = report(given_folds(folder, folder / "any.csv"))
    except SplitError:
        return
    assert found.parts


@pytest.fixture
def corpus(make_sound: Callable[..., Path]) -> Path:
    """Three speakers, two official parts and a label that one speaker alone has."""
    folder = make_sound("corpus/a.wav", duration_s=0.05).parent
    emotions = {"ann": ("anger", "joy", "bliss"), "bob": ("anger", "joy"), "cai": ("anger", "joy")}
    utterances = [
        Utterance(
            id=f"{speaker}-{emotion}",
            audio=folder / "a.wav",
            speaker=speaker,
            corpus="mine",
            emotion=emotion,
            partition="test" if speaker == "cai" else "train",
        )
        for speaker, known in emotions.items()
        for emotion in known
    ]
    unlabelled = Utterance(id="x", audio=folder / "a.wav", speaker="ann", corpus="mine", partition="train")
    write_manifest(folder / "manifest.jsonl", [*utterances, unlabelled])
    return folder


def test_divides_what_the_corpus_labels(corpus: Path) -> None:
    found = report(divide(corpus, LeaveOneSpeakerOut()))
    assert [each.speakers for each in found.parts if each.part == "test"] == [
        ("mine/ann",),
        ("mine/bob",),
        ("mine/cai",),
    ]
    assert found.parts[2].emotions == {"anger": 1, "bliss": 1, "joy": 1}
    assert (found.never_tested, found.tested_repeatedly) == (0, 0)


def test_divides_the_classes_of_a_recipe(corpus: Path) -> None:
    protocol = FixedSplit(by="partition", validation_share=0.5, test=("test",))
    folds = divide(corpus, protocol, labelling=Labelling(merge={"bliss": "joy"}), classes=("anger", "joy"))
    assert sorted(sum(each.emotions.values()) for each in report(folds).parts) == [2, 2, 3]
