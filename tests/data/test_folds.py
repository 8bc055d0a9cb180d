"""Names over several corpora, and who is in which part of which fold, to disk and back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from affetto.data.folds import By, known_names, read_folds, resolve, short_names, write_folds
from affetto.data.protocols import GroupedKFold, LeaveOneSpeakerOut, make_folds
from affetto.data.splits import Split, by_speaker
from affetto.data.utterance import Utterance
from affetto.errors import SharedNameError


def _utterance(corpus: str, speaker: str, name: str = "1", emotion: str = "anger") -> Utterance:
    return Utterance(id=name, audio=Path("a.wav"), speaker=speaker, corpus=corpus, emotion=emotion)


def _data(*speakers: tuple[str, str]) -> list[Utterance]:
    emotions = ("anger", "joy")
    return [_utterance(*each, f"{each[1]}-{emotion}", emotion) for each in speakers for emotion in emotions]


SHARED = _data(("mine", "ann"), ("mine", "bob"), ("yours", "ann"), ("yours", "cai"))


def test_one_corpus_is_written_as_ever(tmp_path: Path) -> None:
    ann, bob = _utterance("mine", "ann"), _utterance("mine", "bob, the 2nd", "2")
    write_folds(tmp_path / "folds.csv", [ann, bob], [Split((ann,), (), (bob,)), Split((), (ann, bob), ())])
    assert (tmp_path / "folds.csv").read_text(encoding="utf-8").splitlines() == [
        "fold,part,speaker",
        "0,train,ann",
        '0,test,"bob, the 2nd"',
        "1,validation,ann",
        '1,validation,"bob, the 2nd"',
    ]


def test_a_name_of_two_corpora_is_written_with_its_corpus(tmp_path: Path) -> None:
    folds = make_folds(SHARED, LeaveOneSpeakerOut(), group=by_speaker, seed=0)
    write_folds(tmp_path / "folds.csv", SHARED, folds)
    tested = [line for line in (tmp_path / "folds.csv").read_text().splitlines() if "test" in line]
    assert tested == ["0,test,mine/ann", "1,test,bob", "2,test,yours/ann", "3,test,cai"]
    assert list(read_folds(tmp_path / "folds.csv", SHARED).values()) == folds


def test_a_name_of_two_corpora_without_its_corpus_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / "folds.csv").write_text("fold,part,speaker\n0,train,bob\n0,test,ann\n")
    with pytest.raises(
        SharedNameError, match=r"folds\.csv:3: the speaker ann is in several corpora; write mine/ann or"
    ):
        read_folds(tmp_path / "folds.csv", SHARED)


NAMES = st.sampled_from(["a", "b", "a/b", "b/a", "a/a/b", " ", '"', "a,b", "é"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=st.lists(st.tuples(st.sampled_from(["a", "b", "c d"]), NAMES), min_size=3, unique=True))
def test_whatever_people_are_called_they_stay_who_they_are(tmp_path: Path, pairs: list[tuple[str, str]]) -> None:
    data = _data(*pairs)
    of: By = "speaker"
    known, short = known_names(data, of), short_names(data, of)
    assert [resolve([name], known, of) for name in short] == [{by_speaker(each)} for each in data]
    assert len(set(short)) == len(pairs)
    folds = make_folds(data, GroupedKFold(folds=3), group=by_speaker, seed=0)
    write_folds(tmp_path / "folds.csv", data, folds)
    assert list(read_folds(tmp_path / "folds.csv", data).values()) == folds
