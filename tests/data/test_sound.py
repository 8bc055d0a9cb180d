"""The sound of utterances under conditions: their own, the same each time, with other people in the background."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from affetto.data.sound import Surroundings, crowd_of, load_placed, load_utterance
from affetto.data.utterance import Utterance
from affetto.errors import ConfigError, CorpusError
from affetto.features.conditions import Condition


@pytest.fixture
def clips(make_sound: Callable[..., Path]) -> list[Utterance]:
    """Two of each of three speakers, of different lengths."""
    return [
        Utterance(id=f"{speaker}{take}", audio=make_sound(f"{speaker}{take}.wav", duration_s=0.2 + 0.1 * place),
                  speaker=speaker, corpus="mine")
        for place, (speaker, take) in enumerate((name, take) for name in ("ann", "bob", "cyd") for take in (1, 2))
    ]  # fmt: skip


def test_each_utterance_has_noise_of_its_own_the_same_each_time(clips: list[Utterance]) -> None:
    noisy = Surroundings(Condition.parse("white-10"))
    first, again, other = (load_placed(clip, noisy) - load_utterance(clip) for clip in (clips[0], clips[0], clips[1]))
    assert torch.equal(first, again)
    assert not torch.equal(first, other[: len(first)])


def test_nobody_babbles_behind_themselves(clips: list[Utterance]) -> None:
    drawn = crowd_of(clips).besides(clips[2])
    generator = np.random.default_rng(1)
    lengths = {len(drawn(generator)) for _ in range(60)}
    assert lengths == {len(load_utterance(clip)) for clip in clips if clip.speaker != "bob"}


def test_babble_depends_on_the_crowd_alone_not_on_its_order(clips: list[Utterance]) -> None:
    babble = Condition.parse("babble-5")
    heard = load_placed(clips[0], Surroundings(babble, crowd_of(clips)))
    assert torch.equal(heard, load_placed(clips[0], Surroundings(babble, crowd_of(clips[::-1]))))
    assert not torch.equal(heard, load_placed(clips[0], Surroundings(babble, crowd_of(clips[:4]))))


def test_unreadable_voices_are_passed_over(clips: list[Utterance]) -> None:
    clips[2].audio.write_bytes(b"no sound")
    drawn, generator = crowd_of(clips[:4]).besides(clips[0]), np.random.default_rng(1)
    assert {len(drawn(generator)) for _ in range(10)} == {len(load_utterance(clips[3]))}


@pytest.mark.parametrize("crowd", [[], [0, 1]])
def test_a_crowd_needs_others(crowd: list[int], clips: list[Utterance]) -> None:
    surroundings = Surroundings(Condition.parse("babble-5"), crowd_of(clips[place] for place in crowd))
    with pytest.raises(CorpusError, match="babble"):
        load_placed(clips[0], surroundings)


def test_no_crowd_no_babble(clips: list[Utterance]) -> None:
    with pytest.raises(ConfigError, match="voices"):
        load_placed(clips[0], Surroundings(Condition.parse("babble-5")))
