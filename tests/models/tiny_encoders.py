"""A folder with a tiny random model of every family, as its own library writes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from affetto.models.deepspeech2 import ConvolutionConfig, DeepSpeech2, DeepSpeech2Config
from affetto.models.recogniser_checkpoint import save_recogniser


def _unsettle(model: torch.nn.Module) -> None:
    """Biases and norms that are not those of a new network."""
    for parameter in model.parameters():
        if parameter.dim() == 1:
            parameter.data += 0.2 * torch.randn_like(parameter)


def deepspeech2(folder: Path) -> None:
    shape = ConvolutionConfig(channels=2, kernel=(21, 11), stride=(8, 4))
    model = DeepSpeech2(DeepSpeech2Config(convolutions=(shape,), width=4, depth=2))
    save_recogniser(folder / "recogniser.safetensors", model, {"licence": "none"})


def whisper(folder: Path, **shape: Any) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {
        "d_model": 16,
        "encoder_layers": 3,
        "decoder_layers": 2,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "vocab_size": 100,
        "pad_token_id": 0,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "decoder_start_token_id": 0,
    }
    model = transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(**sizes | shape))
    _unsettle(model)
    model.save_pretrained(folder)


SAVE: dict[str, Callable[[Path], None]] = {"deepspeech2": deepspeech2, "whisper": whisper}
"""Each kind that can be opened."""


def save(kind: str, folder: Path, seed: int = 0) -> Path:
    """Writes a model of that kind with random weights after a seed."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        SAVE[kind](folder)
    return folder
