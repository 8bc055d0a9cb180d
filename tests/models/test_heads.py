"""Emotion heads: shapes, padding, what learns, and the way to disk and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from affetto.config import Config
from affetto.errors import CheckpointError, ConfigError
from affetto.features.acoustic import AcousticConfig
from affetto.frames import STATISTICS, Frames, pad, pooled
from affetto.models import checkpoint
from affetto.models.encoders.encoder import LayerInfo
from affetto.models.heads import (
    ACOUSTIC,
    HEADS,
    KIND,
    AnyHead,
    EmotionHead,
    HeadConfig,
    head_config,
    load_head,
    save_head,
)
from affetto.models.heads.head import Standardise
from affetto.models.heads.kinds import (
    Attention,
    AttentiveStatisticsConfig,
    BaselineConfig,
    BranchConfig,
    MeanPoolingConfig,
    ProgressiveConfig,
    RecurrentConfig,
    WeightedSumConfig,
)
from affetto.models.heads.training import HeadStack
from affetto.models.network import load_recogniser
from affetto.represent.cache import one_frame

BRANCH = BranchConfig(units=3, depth=2, acoustic=AcousticConfig(loudness=True))
CLASSES = ("sadness", "anger", "neutral")
CONFIGS: dict[str, HeadConfig] = {
    "baseline": BaselineConfig(branch=BRANCH),
    "mean_pooling": MeanPoolingConfig(layer="gru1"),
    "recurrent": RecurrentConfig(layer="gru1", units=3),
    "recurrent, thinned": RecurrentConfig(layer="gru1", units=3, depth=2, stride=2),
    "progressive": ProgressiveConfig(layer="gru1", branch=BRANCH),
    "standardised": ProgressiveConfig(layer="gru1", branch=BRANCH, standardise=True),
    "mean_pooling of two": MeanPoolingConfig(layer=("gru2", "gru1"), statistics=("deviation", "mean")),
    "weighted_sum": WeightedSumConfig(standardise=True),
    "attentive_statistics": AttentiveStatisticsConfig(layer=("gru1", "gru2"), units=4, standardise=True),
    "with a hidden layer": MeanPoolingConfig(layer=("gru1", "gru2"), hidden=6, standardise=True),
}
LAYERS = (LayerInfo("conv1", 4, 50.0), LayerInfo("gru1", 5, 25.0), LayerInfo("gru2", 5, 25.0))
every_kind = pytest.mark.parametrize("kind", CONFIGS)


def _head(kind: str, seed: int = 0) -> EmotionHead:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = EmotionHead(CONFIGS[kind], CLASSES, CONFIGS[kind].choose(LAYERS))
    if head.config.standardise:
        given = _given()
        given |= {pooled(name): _averaged(frames) for name, frames in given.items()}
        for part in head.parts.values():
            moments = [_spread(given[name].values.flatten(0, 1)) for name in part.widths]
            part.standardise.measure(*map(torch.cat, zip(*moments, strict=True)))
    return head.eval()


def _averaged(frames: Frames) -> Frames:
    return Frames(frames.mean()[:, None], torch.ones(len(frames.lengths), dtype=torch.int64))


def _spread(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return rows.mean(dim=0), rows.std(dim=0, correction=0)


def _given(lengths: tuple[int, ...] = (7, 2, 4), seed: int = 3) -> dict[str, Frames]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"gru1": (1, 5), "gru2": (1, 5), ACOUSTIC: (3, BRANCH.acoustic.width)}
    return {
        name: pad([torch.randn(times * length, width, generator=generator) for length in lengths])
        for name, (times, width) in shapes.items()
    }


def _one(given: dict[str, Frames], place: int) -> dict[str, Frames]:
    return {name: pad([frames.unpad()[place]]) for name, frames in given.items()}


def test_every_registered_head_is_tested() -> None:
    assert {config.kind for config in CONFIGS.values()} == set(HEADS.names())


@every_kind
def test_its_config_is_found_by_its_kind(kind: str) -> None:
    assert head_config(CONFIGS[kind].model_dump(mode="json")) == CONFIGS[kind]


@every_kind
def test_a_score_for_each_class_of_each_utterance(kind: str) -> None:
    head, given = _head(kind), _given()
    assert head(given).shape == (3, 3)
    assert head.represent(given).shape == (3, head.width)


@every_kind
@pytest.mark.parametrize("place", range(3))
def test_batch_mates_and_padding_change_nothing(kind: str, place: int) -> None:
    head, given = _head(kind), _given()
    torch.testing.assert_close(head(given)[place], head(_one(given, place))[0], atol=1e-5, rtol=1e-5)


@every_kind
def test_statistics_are_all_it_needs_where_it_says_so(kind: str) -> None:
    head, given = _head(kind), _given()
    kept = {
        pooled(name, statistic): one_frame(STATISTICS[statistic](given[name]))
        for name in head.layers
        for statistic in head.config.pooling
    }
    frames = {name: given[name] for name in ([] if kept else head.layers)}
    found = head({**kept, **frames, ACOUSTIC: given[ACOUSTIC]})
    torch.testing.assert_close(found, head(given), atol=1e-6, rtol=1e-6)


@every_kind
def test_each_input_that_it_declares_matters_and_no_other(kind: str) -> None:
    head, given, other = _head(kind), _given(), _given(seed=4)
    matters = {name for name in given if not torch.equal(head(given | {name: other[name]}), head(given))}
    assert matters == {*head.layers, *([] if head.config.acoustic is None else [ACOUSTIC])}


@every_kind
@pytest.mark.parametrize("name", ["gru1", "gru2", ACOUSTIC])
def test_the_typical_frame_is_the_mean_that_was_measured(kind: str, name: str) -> None:
    head, given = _head(kind), _given()
    if name not in {*head.layers, *([] if head.config.acoustic is None else [ACOUSTIC])}:
        return
    averaged = bool(head.config.pooling) and name != ACOUSTIC
    frames = _averaged(given[name]) if averaged else given[name]
    measured = frames.values.flatten(0, 1).mean(dim=0)
    expected = measured if head.config.standardise else torch.zeros_like(measured)
    torch.testing.assert_close(head.typical_frame(name), expected)


@pytest.mark.parametrize("kind", [kind for kind, config in CONFIGS.items() if config.together != "alone"])
def test_heads_together_score_as_each_does(kind: str) -> None:
    heads, given = [_head(kind, seed) for seed in range(3)], _given()
    chosen = torch.tensor([[0, 2], [2, 1], [1, 1]])
    read = {name: frames for name, frames in given.items() if name in {*heads[0].layers, ACOUSTIC}}
    together = HeadStack(heads).scores(read, chosen)
    for head, places, scores in zip(heads, chosen, together, strict=True):
        torch.testing.assert_close(scores, head(given)[places], atol=1e-5, rtol=1e-5)


@every_kind
def test_gradients_reach_every_parameter(kind: str) -> None:
    head = _head(kind).train()
    head(_given()).square().sum().backward()
    without = [name for name, each in head.named_parameters() if each.grad is None or not each.grad.any()]
    assert without == []


def test_mean_pooling_is_a_linear_layer_over_the_average() -> None:
    head = _head("mean_pooling")
    given = _given(lengths=(2,))
    by_hand = head.output.weight @ given["gru1"].values[0].sum(0) / 2 + head.output.bias
    torch.testing.assert_close(head(given)[0], by_hand)


def test_statistics_stand_layer_by_layer_as_numpy_has_them() -> None:
    head, given = _head("mean_pooling of two"), _given(lengths=(4,))
    layers = [given[name].values[0].numpy() for name in ("gru2", "gru1")]
    expected = np.concatenate([part for layer in layers for part in (layer.std(axis=0), layer.mean(axis=0))])
    np.testing.assert_allclose(head.represent(given)[0], expected, atol=1e-6)


def test_a_weighted_sum_is_that_of_the_softmax_of_its_weights() -> None:
    head, given = EmotionHead(WeightedSumConfig(), CLASSES, {"gru1": 5, "gru2": 5}), _given()
    head.parts["sum"].weights.data = torch.tensor([1.0, 3.0]).log()
    expected = 0.25 * given["gru1"].mean() + 0.75 * given["gru2"].mean()
    torch.testing.assert_close(head.represent(given), expected)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        ("all", {"gru1": 5, "gru2": 5}),
        ("conv1", {"conv1": 4}),
        (("gru2", "gru1"), {"gru2": 5, "gru1": 5}),
        (("conv1", "gru1"), "conv1 4, gru1 5"),
    ],
)
def test_only_layers_of_one_width_are_summed(layer: str | tuple[str, ...], expected: dict[str, int] | str) -> None:
    config = WeightedSumConfig(layer=layer)
    if isinstance(expected, dict):
        found = config.choose(LAYERS)
        assert (found, list(found)) == (expected, list(expected))
    else:
        with pytest.raises(ConfigError, match=expected):
            config.choose(LAYERS)


def test_attention_without_preference_gives_mean_and_deviation() -> None:
    part = Attention({"gru1": 5}, units=4)
    torch.nn.init.zeros_(part.score.weight)
    frames = _given()["gru1"]
    torch.testing.assert_close(part({"gru1": frames}), torch.cat([frames.mean(), frames.deviation()], dim=1))


def test_attention_to_one_frame_alone_gives_that_frame_without_deviation() -> None:
    part = Attention({"gru1": 5}, units=1)
    with torch.no_grad():
        part.hidden.weight.copy_(torch.tensor([[100.0, 0, 0, 0, 0]]))
        part.hidden.bias.zero_()
        part.score.weight.fill_(1_000.0)
    frames = Frames(torch.tensor([[[-1.0, 5, 6, 7, 8], [1.0, 1, 2, 3, 4], [9.0, 9, 9, 9, 9]]]), torch.tensor([2]))
    torch.testing.assert_close(part({"gru1": frames})[0], torch.tensor([1.0, 1, 2, 3, 4] + [1e-5] * 5))


def test_frames_that_never_vary_have_a_gradient() -> None:
    values = torch.ones(1, 3, 2, requires_grad=True)
    Frames(values, torch.tensor([3])).deviation().sum().backward()
    assert values.grad is not None
    assert values.grad.isfinite().all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "regressive"}, "no 'regressive' among heads; choose one of attentive_statistics, baseline"),
        ({"kind": "mean_pooling", "layer": []}, "head.layer: .*at least one"),
        ({"kind": "mean_pooling", "layer": ["a", "a"]}, "head.layer: .*each layer once"),
        ({"kind": "mean_pooling", "layer": "a", "statistics": ["median"]}, "head.statistics.0: "),
        ({"kind": "recurrent", "layer": ["a", "b"]}, "head.layer: "),
        ({"kind": "baseline", "layer": "a"}, "head.layer: Extra inputs"),
        (3, "head: "),
    ],
)
def test_what_no_head_can_be_is_refused(values: object, message: str) -> None:
    class Recipe(Config):
        head: AnyHead

    with pytest.raises(ConfigError, match=message):
        Recipe.parse({"head": values})


@every_kind
def test_what_dropout_leaves_is_reported(kind: str) -> None:
    head, given = _head(kind), _given()
    torch.testing.assert_close(head(given, torch.ones(3, head.width)), head(given))
    torch.testing.assert_close(head(given, torch.zeros(3, head.width)), head.output(torch.zeros(3, head.width)))


def test_a_new_gru_over_a_layer_is_pytorchs() -> None:
    head = _head("recurrent")
    given = _given(lengths=(7,))
    outputs, _ = head.parts["branch"].layers[0](given["gru1"].values.transpose(0, 1))
    torch.testing.assert_close(head(given), head.output(outputs.mean(dim=0)))


def test_a_thinned_layer_is_the_average_of_neighbours() -> None:
    head = _head("recurrent, thinned")
    layer = _given(lengths=(4,))["gru1"]
    halves = Frames(layer.values.view(1, 2, 2, 5).mean(dim=2).repeat_interleave(2, dim=1), layer.lengths)
    torch.testing.assert_close(head({"gru1": layer}), head({"gru1": halves}))


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
    assert (loaded.classes, loaded.config, list(loaded.layers.items())) == (
        CLASSES,
        head.config,
        list(head.layers.items()),
    )
    assert description.facts == {"licence": "CC0", "encoder_fingerprint": "f"}
    assert not loaded.training
    assert torch.equal(loaded(_given()), head(_given()))


@every_kind
def test_to_disk_and_back_in_half_the_space(kind: str, tmp_path: Path) -> None:
    head = _head(kind)
    save_head(tmp_path / "emotion.safetensors", head, {}, precision="float16")
    loaded, _ = load_head(tmp_path / "emotion.safetensors")
    error = torch.finfo(torch.float16).eps / 2
    torch.testing.assert_close(loaded.state_dict(), head.state_dict(), rtol=error, atol=1e-7)
    assert {each.dtype for each in loaded.parameters()} == {torch.float32}
    before, after = ([*each.output.modules()][-1] for each in (head, loaded))
    assert not torch.equal(after.weight, before.weight)
    assert torch.equal(after.bias, before.bias)


@pytest.mark.parametrize("kind", ["baseline", "mean_pooling", "recurrent", "standardised"])
def test_files_of_heads_with_one_width_alone_are_read(kind: str, tmp_path: Path) -> None:
    head, path = _head(kind), tmp_path / "emotion.safetensors"
    config = head.config.model_dump(mode="json", exclude={"statistics"})
    pools = bool(head.config.pooling)
    weights = {name.removeprefix("pooled."): each for name, each in head.state_dict().items()}
    weights |= {} if pools else {f"standardise.{name}": torch.zeros(0) for name in ("mean", "deviation")}
    told = {"head": config, "classes": CLASSES, "layer_width": next(iter(head.layers.values()), 0)}
    checkpoint.save(path, weights, checkpoint.Description(kind=KIND, config=told))
    loaded, _ = load_head(path)
    assert (loaded.config, loaded.layers) == (head.config, head.layers)
    assert torch.equal(loaded(_given()), head(_given()))


def test_a_loaded_head_can_be_trained_on(tmp_path: Path) -> None:
    save_head(tmp_path / "emotion.safetensors", _head("progressive"), {})
    loaded, _ = load_head(tmp_path / "emotion.safetensors")
    loaded.train()(_given()).sum().backward()
    assert all(each.grad is not None for each in loaded.parameters())


def test_a_head_is_no_recogniser(tmp_path: Path) -> None:
    save_head(tmp_path / "emotion.safetensors", _head("baseline"), {})
    with pytest.raises(CheckpointError, match="is of kind 'emotion head'"):
        load_recogniser(tmp_path / "emotion.safetensors")


def test_the_fingerprint_tells_heads_apart() -> None:
    assert checkpoint.fingerprint(_head("baseline")) == checkpoint.fingerprint(_head("baseline"))
    assert checkpoint.fingerprint(_head("baseline")) != checkpoint.fingerprint(_head("baseline", seed=1))
