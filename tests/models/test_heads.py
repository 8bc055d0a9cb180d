"""Emotion heads: shapes, padding, what learns, and the way to disk and back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sklearn.preprocessing import StandardScaler

from affetto.errors import CheckpointError
from affetto.features.acoustic import AcousticConfig
from affetto.frames import Frames, pad
from affetto.models import checkpoint
from affetto.models.head_checkpoint import load_head, save_head
from affetto.models.heads import (
    BaselineConfig,
    BranchConfig,
    EmotionHead,
    HeadConfig,
    MeanPoolingConfig,
    ProgressiveConfig,
    RecurrentConfig,
    Standardise,
)
from affetto.models.recogniser_checkpoint import load_recogniser

BRANCH = BranchConfig(units=3, depth=2, acoustic=AcousticConfig(loudness=True))
CLASSES = ("sadness", "anger", "neutral")
CONFIGS: dict[str, HeadConfig] = {
    "baseline": BaselineConfig(branch=BRANCH),
    "mean_pooling": MeanPoolingConfig(layer="gru1"),
    "recurrent": RecurrentConfig(layer="gru1", units=3),
    "recurrent, thinned": RecurrentConfig(layer="gru1", units=3, depth=2, stride=2),
    "progressive": ProgressiveConfig(layer="gru1", branch=BRANCH),
    "standardised": ProgressiveConfig(layer="gru1", branch=BRANCH, standardise=True),
}
every_kind = pytest.mark.parametrize("kind", CONFIGS)


def _head(kind: str, seed: int = 0) -> EmotionHead:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = EmotionHead(CONFIGS[kind], CLASSES, layer_width=0 if kind == "baseline" else 5)
    if head.config.standardise:
        layer, acoustic = _inputs()
        head.standardise.measure(*_spread(layer.mean()))
        assert head.branch is not None
        head.branch.standardise.measure(*_spread(acoustic.values.flatten(0, 1)))
    return head.eval()


def _spread(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return rows.mean(dim=0), rows.std(dim=0, correction=0)


def _inputs(lengths: tuple[int, ...] = (7, 2, 4), seed: int = 3) -> tuple[Frames, Frames]:
    generator = torch.Generator().manual_seed(seed)
    layer = [torch.randn(length, 5, generator=generator) for length in lengths]
    acoustic = [torch.randn(3 * length, BRANCH.acoustic.width, generator=generator) for length in lengths]
    return pad(layer), pad(acoustic)


def _one(frames: Frames, place: int) -> Frames:
    return pad([frames.unpad()[place]])


@every_kind
def test_a_score_for_each_class_of_each_utterance(kind: str) -> None:
    assert _head(kind)(*_inputs()).shape == (3, 3)


@every_kind
@pytest.mark.parametrize("place", range(3))
def test_batch_mates_and_padding_change_nothing(kind: str, place: int) -> None:
    head, (layer, acoustic) = _head(kind), _inputs()
    alone = head(_one(layer, place), _one(acoustic, place))
    torch.testing.assert_close(head(layer, acoustic)[place], alone[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["mean_pooling", "progressive", "standardised"])
def test_a_layer_may_come_averaged_already(kind: str) -> None:
    head, (layer, acoustic) = _head(kind), _inputs()
    averaged = Frames(layer.mean()[:, None], torch.ones(3, dtype=torch.int64))
    torch.testing.assert_close(head(layer, acoustic), head(averaged, acoustic), atol=1e-6, rtol=1e-6)


@every_kind
def test_each_input_that_it_reads_matters_and_no_other(kind: str) -> None:
    head, (layer, acoustic), (other_layer, other_acoustic) = _head(kind), _inputs(), _inputs(seed=4)
    scores = head(layer, acoustic)
    assert torch.equal(head(other_layer, acoustic), scores) == (head.layer is None)
    assert torch.equal(head(layer, other_acoustic), scores) == (head.acoustic is None)


@every_kind
def test_gradients_reach_every_parameter(kind: str) -> None:
    head = _head(kind).train()
    head(*_inputs()).square().sum().backward()
    without = [name for name, each in head.named_parameters() if each.grad is None or not each.grad.any()]
    assert without == []


def test_mean_pooling_is_a_linear_layer_over_the_average() -> None:
    head = _head("mean_pooling")
    layer, _ = _inputs(lengths=(2,))
    by_hand = head.output.weight @ layer.values[0].sum(0) / 2 + head.output.bias
    torch.testing.assert_close(head(layer, None)[0], by_hand)


@every_kind
def test_what_dropout_leaves_is_told(kind: str) -> None:
    head, inputs = _head(kind), _inputs()
    torch.testing.assert_close(head(*inputs, torch.ones(3, head.width)), head(*inputs))
    torch.testing.assert_close(head(*inputs, torch.zeros(3, head.width)), head.output.bias.expand(3, 3))


def test_a_new_gru_over_a_layer_is_pytorchs() -> None:
    head = _head("recurrent")
    layer, _ = _inputs(lengths=(7,))
    assert head.branch is not None
    outputs, _ = head.branch.layers[0](layer.values.transpose(0, 1))
    torch.testing.assert_close(head(layer, None), head.output(outputs.mean(dim=0)))


def test_a_thinned_layer_is_the_average_of_neighbours() -> None:
    head = _head("recurrent, thinned")
    layer, _ = _inputs(lengths=(4,))
    halves = Frames(layer.values.view(1, 2, 2, 5).mean(dim=2).repeat_interleave(2, dim=1), layer.lengths)
    torch.testing.assert_close(head(layer, None), head(halves, None))


def test_standardises_as_scikit_learn_does() -> None:
    rows = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 20.0, 0.1, 0.0]) + 3
    standardise = Standardise(4)
    standardise.measure(*_spread(rows.double()))
    expected = StandardScaler().fit(rows.double().numpy()).transform(rows[:5].double().numpy())
    torch.testing.assert_close(standardise(rows[:5]).double(), torch.from_numpy(expected), atol=1e-4, rtol=1e-4)


def test_a_value_that_never_varied_in_training_cannot_drown_the_others() -> None:
    standardise = Standardise(1)
    standardise.measure(*_spread(torch.ones(9, 1)))
    assert standardise(torch.tensor([1.5])).item() == pytest.approx(0.5)


@every_kind
def test_to_disk_and_back_exactly(kind: str, tmp_path: Path) -> None:
    head = _head(kind)
    save_head(tmp_path / "emotion.safetensors", head, {"licence": "CC0", "encoder_fingerprint": "f"})
    loaded, description = load_head(tmp_path / "emotion.safetensors")
    assert (loaded.classes, loaded.config, loaded.layer_width) == (CLASSES, head.config, head.layer_width)
    assert description.facts == {"licence": "CC0", "encoder_fingerprint": "f"}
    assert not loaded.training
    assert torch.equal(loaded(*_inputs()), head(*_inputs()))


@every_kind
def test_to_disk_and_back_in_half_the_space(kind: str, tmp_path: Path) -> None:
    head = _head(kind)
    save_head(tmp_path / "emotion.safetensors", head, {}, half=True)
    loaded, _ = load_head(tmp_path / "emotion.safetensors")
    error = torch.finfo(torch.float16).eps / 2
    torch.testing.assert_close(loaded.state_dict(), head.state_dict(), rtol=error, atol=1e-7)
    assert {each.dtype for each in loaded.parameters()} == {torch.float32}
    assert not torch.equal(loaded.output.weight, head.output.weight)
    assert torch.equal(loaded.output.bias, head.output.bias)


def test_a_loaded_head_can_be_trained_on(tmp_path: Path) -> None:
    save_head(tmp_path / "emotion.safetensors", _head("progressive"), {})
    loaded, _ = load_head(tmp_path / "emotion.safetensors")
    loaded.train()(*_inputs()).sum().backward()
    assert all(each.grad is not None for each in loaded.parameters())


def test_a_head_is_no_recogniser(tmp_path: Path) -> None:
    save_head(tmp_path / "emotion.safetensors", _head("baseline"), {})
    with pytest.raises(CheckpointError, match="is of kind 'emotion head'"):
        load_recogniser(tmp_path / "emotion.safetensors")


def test_the_fingerprint_tells_heads_apart() -> None:
    assert checkpoint.fingerprint(_head("baseline")) == checkpoint.fingerprint(_head("baseline"))
    assert checkpoint.fingerprint(_head("baseline")) != checkpoint.fingerprint(_head("baseline", seed=1))
