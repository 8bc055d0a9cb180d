"""Models like wav2vec 2.0 against transformers, the characters of a CTC head, and folders that are damaged."""

from __future__ import annotations

import builtins
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.models.tiny_encoders import SAVE, VOCABULARY, save
from torch import Tensor

from affetto.errors import CheckpointError, MissingExtraError
from affetto.frames import pad_waves
from affetto.models.decoding import greedy
from affetto.models.encoders import open_encoder

KINDS = [kind for kind in SAVE if kind not in {"deepspeech2", "whisper", "whisper_ctc"}]

transformers = pytest.importorskip("transformers")


def _noise(samples: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed)) + 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_layers_are_the_hidden_states_that_transformers_has(kind: str, tmp_path: Path) -> None:
    folder = save(kind, tmp_path)
    wave = _noise(12_345)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    with torch.no_grad():
        inputs = extractor(wave.numpy(), sampling_rate=16_000, return_tensors="pt").input_values
        theirs = model(inputs, output_hidden_states=True)
        front = model.feature_extractor(inputs)
    encoder = open_encoder(folder, device="cpu")
    ours = encoder.represent(pad_waves([wave]), [layer.name for layer in encoder.layers])
    torch.testing.assert_close(ours.pop("conv").values, front.transpose(1, 2), atol=1e-4, rtol=1e-4)
    expected = dict(zip(["layer1", "layer2", "layer3"], theirs.hidden_states[1:], strict=True))
    expected["layer3"] = theirs.last_hidden_state
    torch.testing.assert_close({name: frames.values for name, frames in ours.items()}, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert-stable", "wavlm"])
def test_a_heads_characters_are_spelt_as_transformers_does(kind: str, tmp_path: Path) -> None:
    folder = save(kind, tmp_path)
    encoder = open_encoder(folder, device="cpu")
    assert encoder.alphabet is not None
    assert encoder.alphabet.symbols == " 'ae"
    wave = _noise(40_000)
    found = encoder.encode(pad_waves([wave]), []).output
    assert found is not None
    model = transformers.AutoModelForCTC.from_pretrained(folder).eval()
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    with torch.no_grad():
        scores = model(extractor(wave.numpy(), sampling_rate=16_000, return_tensors="pt").input_values).logits
    scores[..., 1:4] = -torch.inf  # neither of us would write <s>, </s> or <unk>
    tokenizer = transformers.Wav2Vec2CTCTokenizer(folder / "vocab.json")
    theirs = tokenizer.decode(scores[0].argmax(dim=-1)).lower()
    assert greedy(found, encoder.alphabet) == [" ".join(theirs.split())]
    assert theirs


def test_a_recording_is_not_normalised_where_the_model_expects_it_as_it_is(tmp_path: Path) -> None:
    folder = save("hubert", tmp_path)
    loud, soft = pad_waves([_noise(9000)]), pad_waves([0.1 * _noise(9000)])
    normalised = open_encoder(folder)
    torch.testing.assert_close(
        normalised.represent(loud, ["conv"]), normalised.represent(soft, ["conv"]), atol=1e-3, rtol=1e-3
    )
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": False}))
    plain = open_encoder(folder)
    assert plain.fingerprint != normalised.fingerprint
    theirs = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        front = theirs.feature_extractor(soft.values).transpose(1, 2)
    torch.testing.assert_close(plain.represent(soft, ["conv"])["conv"].values, front)


@pytest.mark.parametrize(
    "vocabulary",
    [
        {"<pad>": 0, "ab": 1, "c": 2},
        {"<pad>": 0, "a": 1, "A": 2},
        {"<pad>": 0, "<s>": 1},
        None,
    ],
    ids=str,
)
def test_a_vocabulary_of_other_than_characters_spells_nothing(tmp_path: Path, vocabulary: dict[str, int]) -> None:
    folder = save("wav2vec2", tmp_path)
    (folder / "vocab.json").unlink()
    if vocabulary is not None:
        (folder / "vocab.json").write_text(json.dumps(vocabulary))
    encoder = open_encoder(folder)
    assert encoder.alphabet is encoder.output_rate_hz is encoder.encode(pad_waves([_noise(900)]), []).output is None


def test_a_vocabulary_larger_than_its_head_is_refused(tmp_path: Path) -> None:
    folder = save("wav2vec2", tmp_path)
    (folder / "vocab.json").write_text(json.dumps({**VOCABULARY, "b": 8}))
    with pytest.raises(CheckpointError, match="names a class 8, and the head has 8"):
        open_encoder(folder)


def _cut_short(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-50])


def _lose_a_tensor(folder: Path) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    del weights[next(name for name in weights if name.endswith("layers.1.attention.k_proj.weight"))]
    save_file(weights, path, metadata={"format": "pt"})


def _pickled(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def _another_shape(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 25}))


def _nonsense(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "conv_dim": "a"}))


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (_cut_short, "cannot be loaded"),
        (_lose_a_tensor, "holds no .*k_proj"),
        (_pickled, "pickle"),
        (_another_shape, "cannot be loaded"),
        (_nonsense, "cannot be loaded"),
    ],
)
def test_a_damaged_folder_is_refused(tmp_path: Path, damage: Callable[[Path], None], problem: str) -> None:
    folder = save("wav2vec2", tmp_path / "model")
    damage(folder)
    with pytest.raises(CheckpointError, match=problem) as caught:
        open_encoder(folder)
    assert len(str(caught.value).splitlines()) == 1


def test_without_the_extra_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "transformers":
            raise ImportError(name)
        return imported(name, *rest)

    folder = save("hubert", tmp_path)
    imported = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"pip install 'affetto\[public\]'"):
        open_encoder(folder)


def test_loading_draws_no_bar_and_keeps_the_users_settings(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = save("hubert", tmp_path)
    capfd.readouterr()
    transformers.logging.set_verbosity_info()
    try:
        open_encoder(folder)
        assert transformers.logging.get_verbosity() == transformers.logging.INFO
    finally:
        transformers.logging.set_verbosity_warning()
    assert transformers.logging.is_progress_bar_enabled()
    assert capfd.readouterr() == ("", "")
