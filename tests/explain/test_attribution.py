"""Attributions leave nothing over, find what was planted, and ask captum for what a hand can compute."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from affetto.errors import ConfigError
from affetto.explain.attribution import TOLERANCE, Given, attribute, average_frame, occlude
from affetto.features.acoustic import AcousticConfig
from affetto.frames import Frames
from affetto.models.encoders.encoder import LayerInfo
from affetto.models.heads import ACOUSTIC, EmotionHead, HeadConfig
from affetto.models.heads.kinds import (
    AttentiveStatisticsConfig,
    BaselineConfig,
    BranchConfig,
    MeanPoolingConfig,
    ProgressiveConfig,
    RecurrentConfig,
    WeightedSumConfig,
)

CLASSES = ("anger", "happiness", "neutral", "sadness")
WIDTH = 5
BRANCH = BranchConfig(units=6, depth=2, acoustic=AcousticConfig(loudness=True))
CONFIGS: tuple[HeadConfig, ...] = (
    BaselineConfig(branch=BRANCH),
    MeanPoolingConfig(layer="gru1"),
    RecurrentConfig(layer="gru1", units=6, stride=2),
    ProgressiveConfig(layer="gru1", branch=BRANCH),
    MeanPoolingConfig(layer=("gru1", "gru2"), statistics=("mean", "deviation")),
    WeightedSumConfig(),
    AttentiveStatisticsConfig(layer="all", units=6),
)
LAYERS = (LayerInfo("gru1", WIDTH, 25.0), LayerInfo("gru2", WIDTH, 25.0))


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def make_head(config: HeadConfig, generator: torch.Generator) -> EmotionHead:
    """With large weights, so that its GRUs saturate, and inputs that are standardised."""
    head = EmotionHead(config, CLASSES, config.choose(LAYERS)).eval()
    for parameter in head.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    for part in head.parts.values():
        width = len(part.standardise.mean)
        part.standardise.measure(torch.randn(width, generator=generator), 0.5 + torch.rand(width, generator=generator))
    return head


def make_given(head: EmotionHead, generator: torch.Generator) -> dict[str, Tensor]:
    given = {name: torch.randn(12, width, generator=generator) for name, width in head.layers.items()}
    if head.config.acoustic is not None:
        given[ACOUSTIC] = torch.randn(47, head.config.acoustic.width, generator=generator)
    return given


def margin(head: EmotionHead, given: Given, emotion: str) -> float:
    """The logit of an emotion less the mean of the others'."""
    frames = {name: Frames(part[None], torch.tensor([len(part)])) for name, part in given.items()}
    with torch.no_grad():
        logits = dict(zip(CLASSES, head(frames)[0].tolist(), strict=True))
    return logits.pop(emotion) - float(np.mean(list(logits.values())))


@pytest.mark.parametrize("emotion", ["anger", "sadness"])
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.kind} of {config.layers}")
def test_parts_add_up_to_the_difference_of_logits(config: HeadConfig, emotion: str, generator: torch.Generator) -> None:
    head = make_head(config, generator)
    given = make_given(head, generator)
    found = attribute(head, given, emotion)
    difference = margin(head, given, emotion) - margin(head, average_frame(head, given), emotion)
    total = sum(float(part.sum()) for part in found.parts.values())
    assert abs(difference) > 0.1
    assert total == pytest.approx(difference, abs=TOLERANCE * max(1.0, abs(difference)) + 1e-4)
    shapes = [{name: part.shape for name, part in each.items()} for each in (found.parts, given)]
    assert shapes[0] == shapes[1]


def test_of_a_linear_head_a_hand_computes_the_same(generator: torch.Generator) -> None:
    head = make_head(MeanPoolingConfig(layer="gru1"), generator)
    given = make_given(head, generator)
    weights = head.output.weight.detach()
    difference = weights[2] - (weights.sum(dim=0) - weights[2]) / 3
    scaled = head.parts["pooled"].standardise(given["gru1"])
    found = attribute(head, given, "neutral").parts["gru1"]
    torch.testing.assert_close(found, scaled * difference / 12, atol=1e-4, rtol=1e-4)


def test_of_a_linear_head_both_methods_say_the_same(generator: torch.Generator) -> None:
    head = make_head(MeanPoolingConfig(layer="gru1"), generator)
    given = make_given(head, generator)
    stretches = torch.arange(12) // 5  # of 5, 5 and 2 frames
    found = attribute(head, given, "anger").parts["gru1"]
    expected = torch.stack([found[stretches == number].sum() for number in range(3)])
    torch.testing.assert_close(occlude(head, given, "anger", {"gru1": stretches}), expected, atol=1e-4, rtol=1e-4)


class Peeping(EmotionHead):
    """Looks at unit 3 in the frames 4 to 6 of the layer, and at the acoustic frames 20 to 24, and nowhere else."""

    def forward(self, given: Mapping[str, Frames], keep: Tensor | None = None) -> Tensor:  # noqa: ARG002
        layer, acoustic = given["gru1"].values, given[ACOUSTIC].values
        seen = layer[:, 4:7, 3].sum(dim=1).tanh() + acoustic[:, 20:25].sum(dim=(1, 2)).tanh()
        return torch.stack([3 * seen, -seen, -seen, -seen], dim=1)


def test_a_planted_unit_and_planted_frames_are_found(generator: torch.Generator) -> None:
    head = Peeping(ProgressiveConfig(layer="gru1", branch=BRANCH), CLASSES, {"gru1": WIDTH}).eval()
    given = {name: part.abs() for name, part in make_given(head, generator).items()}
    found = attribute(head, given, "anger")
    assert found.parts["gru1"].nonzero().tolist() == [[4, 3], [5, 3], [6, 3]]
    assert sorted(set(found.parts[ACOUSTIC].nonzero()[:, 0].tolist())) == [20, 21, 22, 23, 24]
    # Both parts of a stretch are taken away together.
    stretches = {"gru1": torch.arange(12) // 4, ACOUSTIC: torch.arange(47) // 16}
    falls = occlude(head, given, "anger", stretches)
    assert falls[1] == pytest.approx(margin(head, given, "anger"), rel=1e-4)
    assert falls[[0, 2]].abs().max() == 0


def test_a_single_frame_is_enough(generator: torch.Generator) -> None:
    head = make_head(ProgressiveConfig(layer="gru1", branch=BRANCH), generator)
    given = {name: part[:1] for name, part in make_given(head, generator).items()}
    found = attribute(head, given, "anger")
    assert abs(found.left_over) <= TOLERANCE * max(1.0, abs(found.score - found.baseline))
    one = torch.zeros(1, dtype=torch.int64)
    fall = occlude(head, given, "anger", dict.fromkeys(given, one))
    assert fall.item() == pytest.approx(found.score - found.baseline, rel=1e-3)


@pytest.mark.parametrize("ask", ["attribute", "occlude"])
def test_an_emotion_that_it_does_not_know(ask: str, generator: torch.Generator) -> None:
    head = make_head(MeanPoolingConfig(layer="gru1"), generator)
    given = make_given(head, generator)
    with pytest.raises(ConfigError, match="choose of anger, happiness"):
        _ = attribute(head, given, "joy") if ask == "attribute" else occlude(head, given, "joy", given)
