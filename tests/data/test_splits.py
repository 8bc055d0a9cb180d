"""No group is ever in two parts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affetto.data.splits import Split, by_speaker, check_disjoint, fixed_split, held_out_groups
from affetto.data.utterance import Utterance
from affetto.errors import SplitError


def _said_by(speakers: list[str]) -> list[Utterance]:
    return [
        Utterance(id=str(number), audio=Path(f"{number}.wav"), speaker=speaker, corpus="mine")
        for number, speaker in enumerate(speakers)
    ]


def _speaker(utterance: Utterance) -> str:
    return utterance.speaker


SPEAKERS = st.lists(st.text(min_size=1, max_size=3), min_size=2, max_size=60).filter(lambda all_: len(set(all_)) > 1)
SHARES = st.floats(0, 1, exclude_min=True, exclude_max=True)


@given(speakers=SPEAKERS, share=SHARES, seed=st.integers(0, 2**63))
def test_held_out_groups_are_whole(speakers: list[str], share: float, seed: int) -> None:
    data = _said_by(speakers)
    rest, held_out = held_out_groups(data, group=_speaker, share=share, seed=seed)
    assert rest
    assert held_out
    assert not {each.speaker for each in rest} & {each.speaker for each in held_out}
    assert sorted([*rest, *held_out], key=lambda each: int(each.id)) == data


@given(speakers=SPEAKERS, share=SHARES, seed=st.integers(0, 9))
def test_held_out_groups_do_not_depend_on_the_order(speakers: list[str], share: float, seed: int) -> None:
    data = _said_by(speakers)
    _, held_out = held_out_groups(data, group=_speaker, share=share, seed=seed)
    _, backwards = held_out_groups(data[::-1], group=_speaker, share=share, seed=seed)
    assert backwards[::-1] == held_out


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9])
def test_holds_out_about_the_share(share: float) -> None:
    data = _said_by([f"s{number % 50}" for number in range(1000)])
    _, held_out = held_out_groups(data, group=_speaker, share=share, seed=0)
    assert len(held_out) == pytest.approx(share * 1000, abs=10)


def test_passes_over_a_group_that_is_too_large() -> None:
    data = _said_by(["big"] * 90 + [f"s{number}" for number in range(10)])
    _, held_out = held_out_groups(data, group=_speaker, share=0.05, seed=0)
    assert len(held_out) == 5
    assert "big" not in {each.speaker for each in held_out}


def test_another_seed_holds_out_others() -> None:
    data = _said_by([f"s{number}" for number in range(100)])
    chosen = {tuple(each.id for each in held_out_groups(data, group=_speaker, share=0.1, seed=s)[1]) for s in range(5)}
    assert len(chosen) == 5


def test_a_speaker_who_joins_moves_few_others() -> None:
    speakers = [f"s{number}" for number in range(100)]
    _, before = held_out_groups(_said_by(speakers), group=_speaker, share=0.2, seed=0)
    _, after = held_out_groups(_said_by([*speakers, "new"]), group=_speaker, share=0.2, seed=0)
    assert len({each.speaker for each in before} ^ {each.speaker for each in after}) <= 2


def test_seed_zero_holds_out_the_same_on_every_machine() -> None:
    data = _said_by([f"s{number}" for number in range(20)])
    _, held_out = held_out_groups(data, group=_speaker, share=0.2, seed=0)
    assert [each.speaker for each in held_out] == ["s4", "s12", "s13", "s19"]


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_refuses_a_share_that_is_none(share: float) -> None:
    with pytest.raises(SplitError, match="give a share between 0 and 1"):
        held_out_groups(_said_by(["a", "b"]), group=_speaker, share=share, seed=0)


@pytest.mark.parametrize("speakers", [[], ["a", "a"]])
def test_refuses_to_divide_one_group(speakers: list[str]) -> None:
    with pytest.raises(SplitError, match="cannot be divided"):
        held_out_groups(_said_by(speakers), group=_speaker, share=0.5, seed=0)


def test_refuses_an_utterance_without_a_group() -> None:
    with pytest.raises(SplitError, match="1: belongs to no group"):
        held_out_groups(_said_by(["a", ""]), group=_speaker, share=0.5, seed=0)


@given(speakers=SPEAKERS.filter(lambda all_: len(set(all_)) > 2), data=st.data())
def test_fixed_split_keeps_groups_whole(speakers: list[str], data: st.DataObject) -> None:
    order = data.draw(st.permutations(sorted(set(speakers))))
    cut = data.draw(st.integers(2, len(order) - 1))
    said = _said_by(speakers)
    split = fixed_split(said, group=_speaker, validation=order[:1], test=order[1:cut])
    check_disjoint(split, _speaker)
    assert {each.speaker for each in split.validation} == set(order[:1])
    assert {each.speaker for each in split.test} == set(order[1:cut])
    assert Counter(each.id for part in (split.train, split.validation, split.test) for each in part) == Counter(
        each.id for each in said
    )


@pytest.mark.parametrize(
    ("validation", "test", "message"),
    [
        (["a"], ["z"], "no such group: z; choose among a, b, c"),
        (["a"], ["a", "b"], "a named for both validation and test"),
        ([], ["b"], "the validation part is empty"),
        (["a"], [], "the test part is empty"),
        (["a"], ["b", "c"], "the train part is empty"),
    ],
)
def test_fixed_split_refuses(validation: list[str], test: list[str], message: str) -> None:
    with pytest.raises(SplitError, match=message):
        fixed_split(_said_by(["a", "b", "c"]), group=_speaker, validation=validation, test=test)


def test_names_the_speakers_that_leak() -> None:
    a, b, c = _said_by(["ann", "bob", "ann"])
    with pytest.raises(SplitError, match="ann in both train and test; keep every speaker"):
        check_disjoint(Split(train=(a,), validation=(b,), test=(c,)), _speaker)


def test_names_ten_of_many_that_leak() -> None:
    many = tuple(_said_by([f"s{number:02}" for number in range(25)]))
    with pytest.raises(SplitError, match="s09 and 15 more in both train and validation"):
        check_disjoint(Split(train=many, validation=many, test=()), _speaker)


def test_speakers_of_two_corpora_are_two_even_under_one_name() -> None:
    here = Utterance(id="a", audio=Path("a.wav"), speaker="1", corpus="here")
    there = Utterance(id="a", audio=Path("a.wav"), speaker="1", corpus="there")
    assert by_speaker(here) != by_speaker(there)
