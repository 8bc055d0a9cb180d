"""Training above the frozen layers of a public encoder: what is kept, what changes, what can be told beforehand."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.models.tiny_encoders import save

from affetto.errors import ConfigError, TrainingError
from affetto.frames import pad_waves
from affetto.models.encoders import open_encoder
from affetto.models.network import load_recogniser, make_recogniser
from affetto.training.recogniser.fit import begin_with_encoder, fit_recogniser
from affetto.training.recogniser.frozen import FrozenLayers
from affetto.training.recogniser.processes import Placement
from affetto.training.recogniser.recipe import RecogniserRecipe

ONE = Placement(devices=1)
RECIPE = """
seed = 3
licence = "CC0"
corpora = [{{ path = "tones", validation_speakers = 0.3 }}]
encoder = {{ name = "whisper", licence = "MIT" }}

[model]
kind = "whisper_ctc"
encoder = {{ width = 16, heads = 2, depth = 3, feed_forward = 32, level = 1.0 }}
head = {{ channels = 8, width = 8, depth = 1, dropout = 0.1 }}

[training]
epochs = {epochs}
batch_size = 8
optimiser = "adamw"
learning_rate = 0.01
frozen = "layer2"
encoder_rate = 0.1
augment = {{ frequency_masks = 1, frequency_width = 2, time_masks_per_s = 1.0, time_width = 2 }}
{more}
"""
VARIANTS = """
[training.variants]
count = 1
conditions = { gain = { chance = 1.0, between = [-6.0, 6.0] } }
perturbation = { tempo = [1.0, 1.0], gain_db = [0.0, 0.0] }
"""

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning advises on workers and logging


@pytest.fixture(scope="module")
def data(tones: Path) -> Path:
    """The tones, and beside them a public recogniser."""
    save("whisper", tones / "whisper")
    return tones


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., RecogniserRecipe]:
    def make(epochs: int = 2, more: str = VARIANTS, **replaced: str) -> RecogniserRecipe:
        text = RECIPE.format(epochs=epochs, more=more)
        for old, new in replaced.items():
            text = text.replace(f"{old} = ", f"{old} = {new} # ")
        path = tmp_path / "recipe.toml"
        path.write_text(text)
        return RecogniserRecipe.read(path)

    return make


Make = Callable[..., RecogniserRecipe]


def test_trains_what_is_above_and_leaves_what_is_below(data: Path, tmp_path: Path, recipe: Make) -> None:
    model, description = load_recogniser(fit_recogniser(recipe(), data, tmp_path / "run", placement=ONE))
    public = open_encoder(data / "whisper", device="cpu").network
    assert public is not None
    for name in ("conv", "layer1", "layer2"):
        for mine, theirs in zip(model.layer_parameters(name), public.layer_parameters(name), strict=True):
            assert torch.equal(mine, theirs)
    changed = zip(model.layer_parameters("layer3"), public.layer_parameters("layer3"), strict=True)
    assert any(not torch.equal(mine, theirs) for mine, theirs in changed)
    assert description.facts["origin"] == {"name": "whisper", "revision": None, "licence": "MIT"}


def test_what_goes_on_from_it_still_says_where_it_comes_from(data: Path, tmp_path: Path, recipe: Make) -> None:
    first = fit_recogniser(recipe(1), data, tmp_path / "first", placement=ONE)
    second = recipe(1, more="").model_copy(update={"encoder": None, "initial": str(first.parent)})
    _, description = load_recogniser(fit_recogniser(second, data, tmp_path / "second", placement=ONE))
    assert description.facts["origin"]["licence"] == "MIT"


def test_frames_are_kept_once_a_variant_and_not_computed_again(data: Path, tmp_path: Path, recipe: Make) -> None:
    fit_recogniser(recipe(1), data, tmp_path / "run", placement=ONE)
    kept = sorted((tmp_path / "run" / "layers").glob("*/*.safetensors"))
    assert len({path.parent for path in kept}) == 2
    assert {load_file(path)["values"].dtype for path in kept} == {torch.float16}
    times = [path.stat().st_mtime_ns for path in kept]
    fit_recogniser(recipe(2), data, tmp_path / "run", placement=ONE)
    assert [path.stat().st_mtime_ns for path in sorted((tmp_path / "run" / "layers").glob("*/*.safetensors"))] == times


def test_what_is_kept_is_what_the_network_computes(data: Path, recipe: Make) -> None:
    made = recipe()
    model = make_recogniser(made.shape)
    begin_with_encoder(model, made.encoder, data)
    frozen = FrozenLayers(model, "layer2")
    waves = pad_waves([0.1 * torch.randn(9_000), 0.1 * torch.randn(16_000)])
    frames = frozen.extract(waves, frozen.names)["layer2"]
    again = model.eval().recognise(frames, first=frozen.next).log_probs
    torch.testing.assert_close(again.values, model(waves).log_probs.values, rtol=1e-4, atol=1e-5)


def test_the_key_tells_frozen_layers_apart_and_no_more(data: Path, recipe: Make) -> None:
    made = recipe()
    model, other, another = (make_recogniser(made.shape) for _ in range(3))
    for each in (model, other):
        begin_with_encoder(each, made.encoder, data)
    first, same, different = (FrozenLayers(each, "layer2").key("layer2") for each in (model, other, another))
    assert first == same != different  # heads differ in all three
    assert FrozenLayers(model, "layer2", torch.bfloat16).key("layer2") != first


@pytest.mark.parametrize(
    ("replaced", "problem"),
    [
        ({"frozen": '"gru1"'}, "no layer 'gru1' to freeze up to"),
        ({"frozen": '"layer9"'}, "no layer 'layer9' to freeze up to"),
    ],
)
def test_what_cannot_be_frozen_is_reported(
    data: Path, tmp_path: Path, recipe: Make, replaced: dict[str, str], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        fit_recogniser(recipe(**replaced), data, tmp_path / "run", placement=ONE)


def test_another_shape_than_the_public_encoders_is_reported(data: Path, tmp_path: Path, recipe: Make) -> None:
    text = RECIPE.format(epochs=1, more="").replace("depth = 3", "depth = 4")
    (tmp_path / "other.toml").write_text(text)
    with pytest.raises(TrainingError, match="depth"):
        fit_recogniser(RecogniserRecipe.read(tmp_path / "other.toml"), data, tmp_path / "run", placement=ONE)


def test_only_one_kind_begins_with_a_public_encoder(data: Path, tmp_path: Path, recipe: Make) -> None:
    with pytest.raises(ConfigError, match="sound is changed by variants"):
        recipe(more="cache_sound = true")
    path = tmp_path / "paper.toml"
    path.write_text(
        'preset = "small"\nencoder = { name = "whisper", licence = "MIT" }\n'
        'corpora = [{ path = "tones", validation_speakers = 0.3 }]\n'
    )
    with pytest.raises(TrainingError, match="'deepspeech2' cannot begin with a public encoder"):
        fit_recogniser(RecogniserRecipe.read(path), data, tmp_path / "run", placement=ONE)


def test_variants_need_frozen_layers(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('preset = "small"\ncorpora = [{ path = "tones" }]\n' + VARIANTS)
    with pytest.raises(ConfigError, match="variants are kept of frozen layers"):
        RecogniserRecipe.read(path)


def test_layers_of_the_papers_network_can_be_frozen_too(
    data: Path, tmp_path: Path, write_recipe: Callable[..., Path]
) -> None:
    paper = RecogniserRecipe.read(write_recipe(1, more='frozen = "conv1"\n'))
    model, description = load_recogniser(fit_recogniser(paper, data, tmp_path / "run", placement=ONE))
    assert "origin" not in description.facts
    assert model.config.kind == "deepspeech2"


def test_a_clip_that_cannot_be_read_is_left_out(data: Path, tmp_path: Path, recipe: Make) -> None:
    root = tmp_path / "data"
    shutil.copytree(data, root)
    victim = root / "tones" / "s0-1.wav"
    victim.write_bytes(victim.read_bytes()[:60] + b"\0" * 200)
    model, _ = load_recogniser(fit_recogniser(recipe(1), root, tmp_path / "run", placement=ONE))
    assert all(torch.isfinite(each).all() for each in model.parameters())
