"""Folds are what their protocol says, whatever the data, and no speaker is ever in two parts of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from sklearn.model_selection import LeaveOneGroupOut, StratifiedGroupKFold

from affetto.config import Config
from affetto.data.corpora import open_corpus
from affetto.data.protocols import (
    FixedSplit,
    GroupedKFold,
    LeaveOneSessionOut,
    LeaveOneSpeakerOut,
    Missing,
    Protocol,
    by_session,
    make_folds,
    missing_emotions,
)
from affetto.data.splits import by_speaker
from affetto.data.utterance import Utterance
from affetto.errors import ConfigError, SplitError

EMOTIONS = ("anger", "neutral")
PARTS = ("train", "validation", "test")


def _utterance(
    name: object, speaker: str, emotion: str | None = "anger", *, corpus: str = "mine", **known: Any
) -> Utterance:
    return Utterance(id=str(name), audio=Path("a.wav"), speaker=speaker, corpus=corpus, emotion=emotion, **known)


def _both(*speakers: str, **known: Any) -> list[Utterance]:
    """Each speaker says something angry and something neutral."""
    corpus = known.get("corpus", "mine")
    return [
        _utterance(f"{corpus}-{speaker}-{emotion}", speaker, emotion, **known)
        for speaker in speakers
        for emotion in EMOTIONS
    ]


def _dialogues(sessions: int = 5, letters: str = "FM") -> list[Utterance]:
    """Sessions of two speakers, as IEMOCAP has them."""
    return [
        each
        for number in range(1, sessions + 1)
        for letter in letters
        for each in _both(f"Ses0{number}_{letter}", group=f"Ses0{number}")
    ]


def _speakers(part: Sequence[Utterance]) -> list[str]:
    return sorted({each.speaker for each in part})


def _ids(part: Sequence[Utterance]) -> set[tuple[str, str]]:
    return {(each.corpus, each.id) for each in part}


def test_the_other_speaker_of_the_session_validates() -> None:
    """Section 3.2.1: four sessions train, of the fifth one speaker validates and the other is tested."""
    folds = make_folds(_dialogues(), LeaveOneSpeakerOut(), group=by_speaker, seed=0)
    assert len(folds) == 10
    assert _speakers(folds[5].test) == ["Ses03_M"]
    assert _speakers(folds[5].validation) == ["Ses03_F"]
    assert _speakers(folds[5].train) == [f"Ses0{number}_{letter}" for number in (1, 2, 4, 5) for letter in "FM"]
    for fold in folds:
        assert {each.group for each in fold.validation} == {each.group for each in fold.test}
        assert not {each.group for each in fold.train} & {each.group for each in fold.test}


@pytest.mark.parametrize(
    ("count", "validating"),
    [
        (1, [["b"], ["c"], ["d"], ["e"], ["a"]]),
        (2, [["b", "c"], ["c", "d"], ["d", "e"], ["a", "e"], ["a", "b"]]),
    ],
)
@pytest.mark.parametrize("group", [None, "studio"])
def test_those_who_follow_validate_where_there_are_no_pairs(
    count: int, validating: list[list[str]], group: str | None
) -> None:
    data = _both(*"edcba", group=group)
    folds = make_folds(data, LeaveOneSpeakerOut(validation_speakers=count), group=by_speaker, seed=0)
    assert [_speakers(fold.test) for fold in folds] == [["a"], ["b"], ["c"], ["d"], ["e"]]
    assert [_speakers(fold.validation) for fold in folds] == validating


def test_those_who_follow_can_validate_in_spite_of_pairs() -> None:
    folds = make_folds(_dialogues(), LeaveOneSpeakerOut(validation="next"), group=by_speaker, seed=0)
    assert _speakers(folds[1].validation) == ["Ses02_F"]


def test_sessions_of_one_name_in_two_corpora_are_two() -> None:
    data = [*_both("a", group="1"), *_both("b", corpus="yours", group="1"), *_both("c", "d", group="2")]
    folds = make_folds(data, LeaveOneSpeakerOut(), group=by_speaker, seed=0)
    assert {_speakers(fold.test)[0]: _speakers(fold.validation) for fold in folds} == {
        "a": ["c"],  # alone in its session, so the next by name
        "b": ["a"],
        "c": ["d"],
        "d": ["c"],
    }


def test_leaving_one_speaker_out_is_what_scikit_learn_does() -> None:
    data = _both(*"abcdef")
    folds = make_folds(data, LeaveOneSpeakerOut(), group=by_speaker, seed=0)
    expected = LeaveOneGroupOut().split(data, groups=[each.speaker for each in data])
    assert [[data.index(each) for each in fold.test] for fold in folds] == [test.tolist() for _, test in expected]


def test_the_next_session_validates() -> None:
    folds = make_folds(_dialogues(), LeaveOneSessionOut(), group=by_speaker, seed=0)
    parts = [[sorted({each.group or "" for each in getattr(fold, part)}) for part in PARTS[1:]] for fold in folds]
    assert parts == [
        [["Ses02"], ["Ses01"]],
        [["Ses03"], ["Ses02"]],
        [["Ses04"], ["Ses03"]],
        [["Ses05"], ["Ses04"]],
        [["Ses01"], ["Ses05"]],
    ]


def test_a_share_of_the_other_sessions_validates() -> None:
    protocol = LeaveOneSessionOut(validation="share", validation_share=0.25)
    folds = make_folds(_dialogues(), protocol, group=by_speaker, seed=0)
    assert [len(_speakers(fold.validation)) for fold in folds] == [2] * 5
    assert [len(_speakers(fold.train)) for fold in folds] == [6] * 5


def test_the_next_fold_validates() -> None:
    data = _both(*(f"s{number:02}" for number in range(20)))
    folds = make_folds(data, GroupedKFold(folds=10), group=by_speaker, seed=3)
    assert [[len(getattr(fold, part)) for part in PARTS] for fold in folds] == [[32, 4, 4]] * 10
    assert [fold.validation for fold in folds] == [*(fold.test for fold in folds[1:]), folds[0].test]


def test_k_folds_are_those_of_scikit_learn() -> None:
    data = [_utterance(number, f"s{number % 12:02}", EMOTIONS[number * number % 7 % 2]) for number in range(200)]
    folds = make_folds(data, GroupedKFold(folds=4), group=by_speaker, seed=7)
    divider = StratifiedGroupKFold(4, shuffle=True, random_state=7)
    expected = divider.split(data, [each.emotion for each in data], [each.speaker for each in data])
    assert [[int(each.id) for each in fold.test] for fold in folds] == [test.tolist() for _, test in expected]


def test_folds_are_balanced_in_size_and_classes() -> None:
    # Half of the speakers are mostly angry, the others mostly neutral.
    data = [
        _utterance(f"{speaker}-{number}", f"s{speaker:02}", EMOTIONS[(number % 4 == 0) ^ (speaker % 2)])
        for speaker in range(20)
        for number in range(8)
    ]
    folds = make_folds(data, GroupedKFold(folds=5), group=by_speaker, seed=0)
    counts = [Counter(each.emotion for each in fold.test) for fold in folds]
    assert counts == [{"anger": 16, "neutral": 16}] * 5


def test_another_seed_makes_other_folds() -> None:
    data = _both(*(f"s{number:02}" for number in range(20)))
    folds = {tuple(_speakers(make_folds(data, GroupedKFold(), group=by_speaker, seed=s)[0].test)) for s in range(5)}
    assert len(folds) > 1


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"validation": ["b"], "test": ["c", "mine/d"]}, [["a", "e", "f"], ["b"], ["c", "d"]]),
        ({"by": "session", "validation": ["2"], "test": ["mine/1"]}, [["e", "f"], ["c", "d"], ["a", "b"]]),
        ({"by": "partition", "validation": ["dev"], "test": ["test"]}, [["a", "b"], ["c", "d"], ["e", "f"]]),
        ({"by": "partition", "validation_share": 0.5, "test": ["test"]}, [["c", "d"], ["a", "b"], ["e", "f"]]),
    ],
)
def test_fixed_parts(settings: dict[str, Any], expected: list[list[str]]) -> None:
    data = [
        *_both("a", "b", group="1", partition="train"),
        *_both("c", "d", group="2", partition="dev"),
        *_both("e", "f", group="3", partition="test"),
    ]
    (split,) = make_folds(data, FixedSplit.parse(settings), group=by_speaker, seed=1)
    assert [_speakers(getattr(split, part)) for part in PARTS] == expected


def test_official_parts_of_several_corpora_go_together() -> None:
    data = [
        *(each for corpus in ("mine", "yours") for each in _both("a", corpus=corpus, partition="train")),
        *(each for corpus in ("mine", "yours") for each in _both("b", corpus=corpus, partition="dev")),
        *(each for corpus in ("mine", "yours") for each in _both("c", corpus=corpus, partition="test")),
    ]
    protocol = FixedSplit(by="partition", validation=("dev",), test=("test",))
    (split,) = make_folds(data, protocol, group=by_speaker, seed=0)
    assert Counter(each.corpus for each in split.test) == {"mine": 2, "yours": 2}


@st.composite
def corpora(draw: st.DrawFn) -> list[Utterance]:
    """Utterances of speakers in pairs, in two corpora that use the same names."""
    return [
        _utterance(number, f"{speaker}", draw(st.sampled_from("abc")), corpus=corpus, group=f"{ord(speaker) // 2}")
        for number, (corpus, speaker) in enumerate(
            draw(st.lists(st.tuples(st.sampled_from(["x", "y"]), st.sampled_from("ghijkl")), min_size=8, max_size=60))
        )
    ]


PROTOCOLS = st.one_of(
    st.builds(
        LeaveOneSpeakerOut, validation=st.sampled_from(["partner", "next"]), validation_speakers=st.integers(1, 2)
    ),
    st.builds(LeaveOneSessionOut, validation=st.sampled_from(["next", "share"]), validation_share=st.floats(0.05, 0.6)),
    st.builds(GroupedKFold, folds=st.integers(3, 5)),
)


@given(data=corpora(), protocol=PROTOCOLS, seed=st.integers(0, 9), random=st.randoms(use_true_random=False))
def test_no_speaker_ever_leaks(data: list[Utterance], protocol: Protocol, seed: int, random: Any) -> None:
    try:
        folds = make_folds(data, protocol, group=by_speaker, seed=seed)
    except SplitError:
        return  # too few speakers, or one emotion: said before any training
    for fold in folds:
        groups = [{(each.corpus, each.speaker) for each in getattr(fold, part)} for part in PARTS]
        assert all(groups)
        assert len(set.union(*groups)) == sum(map(len, groups))
        assert sorted(_ids(fold.train) | _ids(fold.validation) | _ids(fold.test)) == sorted(_ids(data))
        assert len({each.emotion for each in fold.train}) > 1
    tested = Counter(name for fold in folds for name in _ids(fold.test))
    assert tested == Counter(_ids(data))
    shuffled = random.sample(data, len(data))
    again = make_folds(shuffled, protocol, group=by_speaker, seed=seed)
    assert [[_ids(getattr(fold, part)) for part in PARTS] for fold in again] == [
        [_ids(getattr(fold, part)) for part in PARTS] for fold in folds
    ]


@given(data=corpora(), protocol=PROTOCOLS)
def test_most_data_can_be_divided(data: list[Utterance], protocol: Protocol) -> None:
    """The property above is not empty: five speakers who each say all emotions can always be divided."""
    full = [
        _utterance(f"{speaker}{emotion}{session}", f"{speaker}{session}", emotion, group=session)
        for session in "123"
        for speaker in "ab"
        for emotion in "abc"
    ]
    others = [each for each in data if each.corpus != "mine"]
    assert make_folds([*full, *others], protocol, group=by_speaker, seed=0)


@pytest.mark.parametrize(
    ("data", "protocol", "message"),
    [
        (
            _both(*"ab"),
            LeaveOneSpeakerOut(),
            "2 group.* cannot train, validate and test; give utterances of at least 3",
        ),
        (_both(*"abc"), LeaveOneSpeakerOut(validation_speakers=2), "fold 0: the train part is empty"),
        ([], LeaveOneSpeakerOut(), "no utterances; give"),
        ([*_both(*"abc"), _utterance("mine-a-anger", "b")], LeaveOneSpeakerOut(), "mine/mine-a-anger: there 2 times"),
        ([*_both(*"abc"), _utterance("x", "a", None)], LeaveOneSpeakerOut(), "x: has no emotion; label"),
        (_both(*"abc"), LeaveOneSessionOut(), "mine-a-anger: belongs to no session"),
        (_dialogues(2), LeaveOneSessionOut(), "2 session.* cannot train, validate and test"),
        (_dialogues(1), LeaveOneSessionOut(validation="share"), "fold 0: 0 group.* cannot be divided"),
        (
            [*_both("a", group="1"), *_both(*"bc", group="2"), _utterance("x", "a", group="3")],
            LeaveOneSessionOut(),
            "fold 0: mine/a in both train and test",
        ),
        (_both(*"abc"), GroupedKFold(folds=4), "4 folds of 3 group"),
        ([_utterance(each, each) for each in "abc"], GroupedKFold(folds=3), "fold 0: only anger to train on"),
        (
            [_utterance("a", "a"), _utterance("b", "b"), _utterance("c", "c", "neutral"), _utterance("d", "d", "fear")],
            GroupedKFold(folds=4),
            "cannot be greater than the number of members in each class.; ask for fewer folds",
        ),
        (_both(*"abc"), FixedSplit(validation=("a",), test=("z",)), "no such speaker: z; choose among mine/a, mine/b"),
        (_both(*"abc"), FixedSplit(validation_share=0.5, test=("z",)), "no such speaker: z"),
        (_both(*"abc"), FixedSplit(validation=("a",), test=("mine/a",)), "mine/a named for both"),
        (_both(*"abc"), FixedSplit(validation_share=0.5, test=tuple("abc")), "0 group"),
        (_both(*"abc"), FixedSplit(by="partition", validation_share=0.5, test=("test",)), "has no partition"),
        (
            [*_both(*"abc"), *_both("a", corpus="yours")],
            FixedSplit(validation=("a",), test=("b",)),
            "the speaker a is in several corpora; write mine/a or yours/a",
        ),
        (
            [*_both("a", partition="train"), *_both("b", partition="dev"), _utterance("x", "a", partition="test")],
            FixedSplit(by="partition", validation=("dev",), test=("test",)),
            "fold 0: mine/a in both train and test",
        ),
    ],
)
def test_refuses_what_cannot_be_divided(data: list[Utterance], protocol: Protocol, message: str) -> None:
    with pytest.raises(SplitError, match=message):
        make_folds(data, protocol, group=by_speaker, seed=0)


def test_refuses_to_take_people_of_two_corpora_for_one() -> None:
    data = [*_both(*"abc"), *_both(*"cde", corpus="yours")]
    assert len(make_folds(data, LeaveOneSpeakerOut(), group=by_speaker, seed=0)) == 6
    with pytest.raises(SplitError, match="the group 'c' is of yours and of mine; group by corpus and speaker"):
        make_folds(data, LeaveOneSpeakerOut(), group=lambda each: each.speaker, seed=0)


def test_refuses_groups_that_divide_a_speaker() -> None:
    data = [
        *_both(*"ab", group="1"),
        *_both(*"cd", group="2"),
        *_both(*"ef", group="3"),
        _utterance("x", "a", group="2"),
    ]
    with pytest.raises(SplitError, match="mine/a in both"):
        make_folds(data, GroupedKFold(folds=3), group=by_session, seed=0)


def test_refuses_an_utterance_without_a_group() -> None:
    with pytest.raises(SplitError, match="mine-a-anger: belongs to no group"):
        make_folds(_both(*"abc"), GroupedKFold(folds=3), group=by_session, seed=0)


def test_sessions_can_be_the_groups_of_k_folds() -> None:
    folds = make_folds(_dialogues(), GroupedKFold(folds=5), group=by_session, seed=0)
    assert [len({each.group for each in fold.test}) for fold in folds] == [1] * 5
    assert [len(_speakers(fold.test)) for fold in folds] == [2] * 5


def test_tells_which_emotions_are_missing_where() -> None:
    data = [*_both(*"abc"), _utterance("x", "b", "fear")]
    folds = make_folds(data, LeaveOneSpeakerOut(), group=by_speaker, seed=0)
    assert missing_emotions(folds) == [
        Missing(0, "train", ("fear",)),
        Missing(0, "test", ("fear",)),
        Missing(1, "train", ("fear",)),
        Missing(1, "validation", ("fear",)),
        Missing(2, "validation", ("fear",)),
        Missing(2, "test", ("fear",)),
    ]
    assert missing_emotions(make_folds(_both(*"abc"), LeaveOneSpeakerOut(), group=by_speaker, seed=0)) == []


class _Recipe(Config):
    protocol: Protocol


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ({"kind": "random"}, "does not match any of the expected tags"),
        ({"folds": 3}, "Unable to extract tag"),
        ({"kind": "grouped_k_fold", "folds": 2}, "folds"),
        ({"kind": "leave_one_speaker_out", "folds": 2}, "folds"),
        ({"kind": "fixed", "test": ["a"]}, "give either validation or validation_share"),
        ({"kind": "fixed", "test": ["a"], "validation": ["b"], "validation_share": 0.1}, "give either"),
        ({"kind": "fixed", "test": [], "validation": ["b"]}, "at least 1"),
    ],
)
def test_refuses_settings_that_are_no_protocol(protocol: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _Recipe.parse({"protocol": protocol})


@pytest.mark.parametrize(
    "protocol",
    [LeaveOneSpeakerOut(), LeaveOneSessionOut(), GroupedKFold(), FixedSplit(validation_share=0.1, test=("a",))],
    ids=lambda protocol: protocol.kind,
)
def test_a_resolved_protocol_reads_as_itself(protocol: Protocol) -> None:
    adapter: TypeAdapter[Protocol] = TypeAdapter(Protocol)
    assert adapter.validate_python(protocol.model_dump(mode="json", exclude_none=True)) == protocol


@pytest.fixture(scope="module")
def crema_d(data_root: Path) -> list[Utterance]:
    wanted = {"anger", "happiness", "neutral", "sadness"}
    return [each for each in open_corpus(data_root / "crema-d").utterances if each.emotion in wanted]


def test_real_folds(crema_d: list[Utterance]) -> None:
    folds = make_folds(crema_d, GroupedKFold(folds=10), group=by_speaker, seed=1)
    assert sum(len(fold.test) for fold in folds) == len(crema_d) == 4900
    assert [len(fold.test) for fold in folds] == pytest.approx([490] * 10, abs=50)
    assert missing_emotions(folds) == []


def test_real_speakers_left_out(crema_d: list[Utterance]) -> None:
    folds = make_folds(crema_d, LeaveOneSpeakerOut(), group=by_speaker, seed=1)
    assert [_speakers(fold.test) for fold in folds] == [[str(actor)] for actor in range(1001, 1092)]
    assert _speakers(folds[-1].validation) == ["1001"]
