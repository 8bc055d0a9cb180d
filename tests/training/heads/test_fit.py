"""Every row of a table behind one function: what it needs, what comes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from tests.training.banks import make_bank

from affetto.errors import ConfigError, TrainingError
from affetto.features.acoustic import AcousticConfig
from affetto.frames import Waves
from affetto.metrics import uar
from affetto.models.deepspeech2 import DeepSpeech2
from affetto.models.encoders.native import NativeEncoder
from affetto.models.heads import EmotionHead
from affetto.models.heads.kinds import ProgressiveConfig
from affetto.models.heads.training import INPUT, TunedHead
from affetto.models.network import load_recogniser
from affetto.models.whisper import WhisperEncoder, WhisperEncoderConfig
from affetto.represent import Acoustics
from affetto.training.heads.fit import ModelConfig, Study, fit_tasks, needs, new_head
from affetto.training.heads.loop import HeadTraining
from affetto.training.heads.tasks import Task

CLASSES = ("anger", "neutral", "sadness")
COUNT = 90
ACOUSTIC = Acoustics(AcousticConfig()).names[0]
BRANCH = {"units": 4, "depth": 1}
MODELS: dict[str, dict[str, Any]] = {
    "most_frequent": {},
    "random": {},
    "functionals_svm": {"feature_set": "eGeMAPSv02"},
    "baseline": {"branch": BRANCH},
    "mean_pooling": {"layer": "gru2"},
    "recurrent": {"layer": "gru2", "units": 4},
    "progressive": {"layer": "gru2", "branch": BRANCH, "standardise": True},
    "weighted_sum": {},
    "attentive_statistics": {"layer": "all", "units": 4},
    "mean_pooling of more": {"layer": ["gru1", "gru2"], "statistics": ["mean", "deviation"], "standardise": True},
    "mean_pooling, tuned": {"layer": "gru2", "trained_from": "gru2", "standardise": True},
    "progressive, tuned": {"layer": "gru2", "branch": BRANCH, "trained_from": "gru1"},
    "recurrent, tuned from the sound": {"layer": "gru1", "units": 4, "trained_from": "conv1"},
    "attentive_statistics, tuned above one": {"layer": ["gru1", "gru2"], "units": 4, "trained_from": "gru2"},
    "weighted_sum, tuned above one": {"layer": ["gru1", "gru2"], "trained_from": "gru2"},
}
TRAINING = HeadTraining(epochs=14, batch_size=8, learning_rate=0.03)


def _model(name: str) -> ModelConfig:
    adapter: TypeAdapter[ModelConfig] = TypeAdapter(ModelConfig)
    return adapter.validate_python({"kind": name.partition(",")[0].partition(" ")[0], **MODELS[name]})


@pytest.fixture(scope="module")
def recogniser(tiny_model: Path) -> DeepSpeech2:
    return load_recogniser(tiny_model / "recogniser.safetensors")[0]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, recogniser: DeepSpeech2) -> Study:
    folder = tmp_path_factory.mktemp("banks")
    widths = {INPUT: 161, "functionals-eGeMAPSv02": 8, ACOUSTIC: AcousticConfig().width, "conv1": 42}
    widths |= {f"gru{number}{end}": 8 for number in (1, 2) for end in ("", "/mean", "/deviation")}
    assert [layer[:2] for layer in recogniser.layers] == [(name, widths[name]) for name in ("conv1", "gru1", "gru2")]
    banks = {
        name: make_bank(
            folder / name.replace("/", "-"),
            COUNT,
            width,
            seed=seed,
            longest=1 if "/" in name or name.startswith("functionals") else 12,
            noise=0.1,
        )
        for seed, (name, width) in enumerate(widths.items())
    }
    return Study(CLASSES, torch.eye(3)[torch.arange(COUNT) % 3], 1 / 3, banks, recogniser.layers, recogniser, seed=1)


def _tasks() -> list[Task]:
    parts = np.arange(COUNT).reshape(3, -1)
    return [Task(0, fold, parts[(fold + 2) % 3], parts[(fold + 1) % 3], parts[fold]) for fold in range(2)]


@pytest.mark.parametrize("name", MODELS)
def test_every_row_gives_probabilities_for_each_utterance(name: str, study: Study) -> None:
    for task, outcome in fit_tasks(_model(name), study, _tasks(), TRAINING):
        for part in ("validation", "test"):
            said = getattr(outcome, part)
            assert said.shape == (len(getattr(task, part)), 3)
            np.testing.assert_allclose(said.sum(axis=1), 1, atol=1e-5)
        references = [CLASSES[place % 3] for place in task.test]
        recall = uar(references, [CLASSES[index] for index in outcome.test.argmax(axis=1)])
        assert (recall > 0.8) == (name not in {"most_frequent", "random"})


@pytest.mark.parametrize("name", MODELS)
def test_what_is_needed_is_what_is_read(name: str, study: Study, recogniser: DeepSpeech2) -> None:
    model = _model(name)
    wanted = {each for extractor in needs(model, NativeEncoder(recogniser)) for each in extractor.names}
    own = study._replace(banks={key: bank for key, bank in study.banks.items() if key in wanted})
    assert set(own.banks) == wanted
    assert len(list(fit_tasks(model, own, _tasks()[:1], TRAINING.model_copy(update={"epochs": 1})))) == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("random", 0),
        ("mean_pooling", (8 + 1) * 3),
        ("functionals_svm", (8 + 1) * 3),
        ("recurrent", 2 * 3 * 4 * (8 + 4 + 2) + (8 + 1) * 3),
        ("mean_pooling, tuned", 2 * 3 * 8 * (8 + 8 + 2) + 2 * 8 + (8 + 1) * 3),  # with batch normalisation
    ],
)
def test_counts_what_is_trained(name: str, expected: int, study: Study) -> None:
    quick = TRAINING.model_copy(update={"epochs": 1})
    (_, outcome) = next(fit_tasks(_model(name), study, _tasks()[:1], quick))
    assert outcome.parameters == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer": "gru9"}, "no layer 'gru9'; choose one of conv1, gru1, gru2"),
        ({"layer": "gru1", "trained_from": "gru9"}, "no layer 'gru9'"),
        ({"layer": "gru1", "trained_from": "gru2"}, "gru2 stands above gru1"),
        ({"layer": "gru1", "trained_rank": 2}, "name the lowest as trained_from"),
    ],
)
def test_layers_that_cannot_be_are_refused(change: dict[str, str], message: str, recogniser: DeepSpeech2) -> None:
    adapter: TypeAdapter[ModelConfig] = TypeAdapter(ModelConfig)
    with pytest.raises((ConfigError, ValidationError), match=message):
        needs(adapter.validate_python({"kind": "mean_pooling", **change}), NativeEncoder(recogniser))


def test_training_along_changes_these_layers_and_no_other(study: Study, recogniser: DeepSpeech2) -> None:
    model = _model("progressive, tuned")
    assert isinstance(model, ProgressiveConfig)
    network = TunedHead(recogniser, new_head(model, study), "gru1")
    network.train()
    trained = {name for name, each in network.network.named_parameters() if each.requires_grad}
    assert {name.rpartition(".")[0].partition(".gru")[0] for name in trained} == {
        "recurrent.0",
        "recurrent.1",
        "recurrent.1.normalisation",
    }
    assert not network.network.training
    assert all(each.requires_grad for each in network.head.parameters())
    assert all(each.requires_grad for each in recogniser.parameters())  # the one it was made of is left as it was


def test_a_low_rank_is_nothing_at_first_and_alone_is_trained() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = WhisperEncoder(WhisperEncoderConfig(width=8, heads=2, depth=2, feed_forward=16)).eval()
    model = TypeAdapter(ModelConfig).validate_python(
        {"kind": "mean_pooling", "layer": "layer2", "trained_from": "layer1", "trained_rank": 2}
    )
    head = EmotionHead(model, ("anger", "sadness"), model.choose(encoder.layers))
    with torch.no_grad():
        given = encoder.represent(Waves(torch.randn(2, 4000), torch.tensor([4000, 3000])), {"conv", "layer2"})
    network = TunedHead(encoder, head, "layer1", 2).eval()
    frozen = head({"layer2": given["layer2"]})
    torch.testing.assert_close(network(given), frozen)
    before = {name: each.detach().clone() for name, each in network.named_parameters()}
    optimiser = torch.optim.SGD([each for each in network.parameters() if each.requires_grad], lr=1.0)
    for _ in range(2):
        optimiser.zero_grad()
        network(given)[:, 0].sum().backward()
        optimiser.step()
    changed = {name for name, each in network.named_parameters() if not torch.equal(each, before[name])}
    assert {name.rpartition(".")[2] for name in changed if name.startswith("network.")} == {"up", "down"}
    assert len(changed) == 2 * 4 * 2 + 2  # up and down of four linear maps of two layers, the head's weight and bias
    assert not torch.equal(network(given), frozen)


def test_a_low_rank_needs_linear_maps(study: Study, recogniser: DeepSpeech2) -> None:
    model = _model("progressive, tuned")
    assert isinstance(model, ProgressiveConfig)
    with pytest.raises(TrainingError, match="gru1 has no linear map"):
        TunedHead(recogniser, new_head(model, study), "gru1", 2)
