"""Attributions leave nothing over, find what was planted, and ask captum for what a hand can compute."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from affetto.errors import ConfigError
from affetto.explain.attribution import TOLERANCE, Given, attribute, average_frame, occlude
from affetto.features.acoustic import AcousticConfig
from affetto.frames import Frames
from affetto.models.heads import (
    BaselineConfig,
    BranchConfig,
    EmotionHead,
    HeadConfig,
    MeanPoolingConfig,
    ProgressiveConfig,
    RecurrentConfig,
)

CLASSES = ("anger", "happiness", "neutral", "sadness")
WIDTH = 5
BRANCH = BranchConfig(units=6, depth=2, acoustic=AcousticConfig(loudness=True))
CONFIGS: tuple[HeadConfig, ...] = (
    BaselineConfig(branch=BRANCH),
    MeanPoolingConfig(layer="gru1"),
    RecurrentConfig(layer="gru1", units=6, stride=2),
    ProgressiveConfig(layer="gru1", branch=BRANCH),
)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def make_head(config: HeadConfig, generator: torch.Generator) -> EmotionHead:
    """With large weights, so that its GRUs saturate, and inputs that are standardised."""
    head = EmotionHead(config, CLASSES, 0 if isinstance(config, BaselineConfig) else WIDTH).eval()
    for parameter in head.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    for scale in [head.standardise, *([] if head.branch is None else [head.branch.standardise])]:
        width = len(scale.mean)
        scale.measure(torch.randn(width, generator=generator), 0.5 + torch.rand(width, generator=generator))
    return head


def make_given(head: EmotionHead, generator: torch.Generator) -> Given:
    layer = None if head.layer is None else torch.randn(12, WIDTH, generator=generator)
    return Given(layer, None if head.acoustic is None else torch.randn(47, head.acoustic.width, generator=generator))


def margin(head: EmotionHead, given: Given, emotion: str) -> float:
    """The logit of an emotion less the mean of the others'."""
    frames = [None if part is None else Frames(part[None], torch.tensor([len(part)])) for part in given]
    with torch.no_grad():
        logits = dict(zip(CLASSES, head(*frames)[0].tolist(), strict=True))
    return logits.pop(emotion) - float(np.mean(list(logits.values())))


@pytest.mark.parametrize("emotion", ["anger", "sadness"])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
def test_parts_add_up_to_the_difference_of_logits(config: HeadConfig, emotion: str, generator: torch.Generator) -> None:
    head = make_head(config, generator)
    given = make_given(head, generator)
    found = attribute(head, given, emotion)
    difference = margin(head, given, emotion) - margin(head, average_frame(head, given), emotion)
    total = sum(float(part.sum()) for part in (found.layer, found.acoustic) if part is not None)
    assert abs(difference) > 0.1
    assert total == pytest.approx(difference, abs=TOLERANCE * max(1.0, abs(difference)) + 1e-4)
    assert [part is None for part in given] == [found.layer is None, found.acoustic is None]


def test_of_a_linear_head_a_hand_computes_the_same(generator: torch.Generator) -> None:
    head = make_head(MeanPoolingConfig(layer="gru1"), generator)
    given = make_given(head, generator)
    assert given.layer is not None
    weights = head.output.weight.detach()
    difference = weights[2] - (weights.sum(dim=0) - weights[2]) / 3
    scaled = (given.layer - head.standardise.mean) / head.standardise.deviation
    found = attribute(head, given, "neutral")
    assert found.layer is not None
    torch.testing.assert_close(found.layer, scaled * difference / 12, atol=1e-4, rtol=1e-4)


def test_of_a_linear_head_both_methods_say_the_same(generator: torch.Generator) -> None:
    head = make_head(MeanPoolingConfig(layer="gru1"), generator)
    given = make_given(head, generator)
    stretches = torch.arange(12) // 5  # of 5, 5 and 2 frames
    found = attribute(head, given, "anger").layer
    assert found is not None
    expected = torch.stack([found[stretches == number].sum() for number in range(3)])
    torch.testing.assert_close(occlude(head, given, "anger", Given(stretches, None)), expected, atol=1e-4, rtol=1e-4)


class Peeping(EmotionHead):
    """Looks at unit 3 in the frames 4 to 6 of the layer, and at the acoustic frames 20 to 24, and nowhere else."""

    def forward(self, layer: Frames | None, acoustic: Frames | None, keep: Tensor | None = None) -> Tensor:  # noqa: ARG002
        assert layer is not None
        assert acoustic is not None
        seen = layer.values[:, 4:7, 3].sum(dim=1).tanh() + acoustic.values[:, 20:25].sum(dim=(1, 2)).tanh()
        return torch.stack([3 * seen, -seen, -seen, -seen], dim=1)


def test_a_planted_unit_and_planted_frames_are_found(generator: torch.Generator) -> None:
    head = Peeping(ProgressiveConfig(layer="gru1", branch=BRANCH), CLASSES, WIDTH).eval()
    given = make_given(head, generator).map(torch.abs)
    found = attribute(head, given, "anger")
    assert found.layer is not None
    assert found.acoustic is not None
    assert found.layer.nonzero().tolist() == [[4, 3], [5, 3], [6, 3]]
    assert sorted(set(found.acoustic.nonzero()[:, 0].tolist())) == [20, 21, 22, 23, 24]
    stretches = Given(torch.arange(12) // 4, torch.arange(47) // 16)  # both parts of a stretch are taken away together
    falls = occlude(head, given, "anger", stretches)
    assert falls[1] == pytest.approx(margin(head, given, "anger"), rel=1e-4)
    assert falls[[0, 2]].abs().max() == 0


def test_a_single_frame_is_enough(generator: torch.Generator) -> None:
    head = make_head(ProgressiveConfig(layer="gru1", branch=BRANCH), generator)
    given = make_given(head, generator).map(lambda part: part[:1])
    found = attribute(head, given, "anger")
    assert abs(found.left_over) <= TOLERANCE * max(1.0, abs(found.score - found.baseline))
    one = torch.zeros(1, dtype=torch.int64)
    fall = occlude(head, given, "anger", Given(one, one))
    assert fall.item() == pytest.approx(found.score - found.baseline, rel=1e-3)


@pytest.mark.parametrize("ask", ["attribute", "occlude"])
def test_an_emotion_that_it_does_not_know(ask: str, generator: torch.Generator) -> None:
    head = make_head(MeanPoolingConfig(layer="gru1"), generator)
    given = make_given(head, generator)
    with pytest.raises(ConfigError, match="choose of anger, happiness"):
        _ = attribute(head, given, "joy") if ask == "attribute" else occlude(head, given, "joy", given)
