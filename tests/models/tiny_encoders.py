"""A folder with a tiny random model of every family, as its own library writes it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from affetto.models.deepspeech2 import ConvolutionConfig, DeepSpeech2, DeepSpeech2Config
from affetto.models.network import save_recogniser
from affetto.models.whisper import WhisperEncoderConfig
from affetto.models.whisper_ctc import CtcHeadConfig, WhisperCtc, WhisperCtcConfig


def _unsettle(model: torch.nn.Module) -> None:
    """Biases and norms that are not those of a new network."""
    for parameter in model.parameters():
        if parameter.dim() == 1:
            parameter.data += 0.2 * torch.randn_like(parameter)


def deepspeech2(folder: Path) -> None:
    shape = ConvolutionConfig(channels=2, kernel=(21, 11), stride=(8, 4))
    model = DeepSpeech2(DeepSpeech2Config(convolutions=(shape,), width=4, depth=2))
    save_recogniser(folder / "recogniser.safetensors", model, {"licence": "none"})


def whisper_ctc(folder: Path) -> None:
    encoder = WhisperEncoderConfig(width=8, heads=2, depth=2, feed_forward=16, bins=10, positions=40, level=1.0)
    model = WhisperCtc(WhisperCtcConfig(encoder=encoder, head=CtcHeadConfig(channels=6, width=4)))
    _unsettle(model)
    save_recogniser(folder / "recogniser.safetensors", model, {"licence": "none"})


def whisper(folder: Path, parts_kb: int = 10_000) -> None:
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
    model = transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(**sizes))
    _unsettle(model)
    model.save_pretrained(folder, max_shard_size=f"{parts_kb}KB")
    write_tokens(folder)


_PLAIN = "abcdefghijklmnopqrstuvwxyz'.,7("
PIECES = [*_PLAIN, *(f"\u0120{each}" for each in _PLAIN), "\u0120"]
"""What the tokens of a tiny Whisper spell, from 0 on; with "\u0120" for a space, as GPT-2 has it."""
SPECIAL = ["endoftext", "startoftranscript", "en", "de", "translate", "transcribe", "nospeech", "notimestamps"]


def write_tokens(folder: Path, *, multilingual: bool = True) -> None:
    tokens = {piece: token for token, piece in enumerate(PIECES)}
    added = [{"content": f"<|{name}|>", "id": len(PIECES) + place} for place, name in enumerate(SPECIAL)]
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": tokens}, "added_tokens": added}))
    (folder / "generation_config.json").write_text(json.dumps({"is_multilingual": multilingual}))


def text_encoder(folder: Path, seed: int = 0) -> Path:
    """A tiny BERT of letters, no speech encoder."""
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    letters = "abcdefghijklmnopqrstuvwxyz'"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{each}" for each in letters), "the", "a##n"]
    words = Tokenizer(models.WordPiece({piece: place for place, piece in enumerate(pieces)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    marks = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        sizes = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
        model = transformers.BertModel(
            transformers.BertConfig(vocab_size=len(pieces), max_position_embeddings=32, **sizes)
        )
        _unsettle(model)
    model.save_pretrained(folder)
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, **marks).save_pretrained(folder)
    return folder


VOCABULARY = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, "E": 5, "'": 6, "A": 7}


def like_wav2vec2(folder: Path, name: str, *, head: bool = False, stable: bool = False, **more: Any) -> None:
    """With normalisation over time in the first convolution; if ``stable``, over channels in each."""
    transformers = pytest.importorskip("transformers")
    config = getattr(transformers, f"{name}Config")(
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=24,
        conv_dim=(8, 8, 8),
        conv_kernel=(10, 8, 4),
        conv_stride=(10, 8, 4),
        num_feat_extract_layers=3,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        feat_extract_norm="layer" if stable else "group",
        do_stable_layer_norm=stable,
        vocab_size=len(VOCABULARY),
        pad_token_id=0,
        **more,
    )
    model = getattr(transformers, f"{name}{'ForCTC' if head else 'Model'}")(config)
    _unsettle(model)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": True}))
    if head:
        (folder / "vocab.json").write_text(json.dumps(VOCABULARY))


SAVE: dict[str, Callable[[Path], None]] = {
    "deepspeech2": deepspeech2,
    "whisper_ctc": whisper_ctc,
    "whisper": whisper,
    "wav2vec2": partial(like_wav2vec2, name="Wav2Vec2", head=True),
    "wav2vec2-stable": partial(like_wav2vec2, name="Wav2Vec2", stable=True),
    "hubert": partial(like_wav2vec2, name="Hubert"),
    "hubert-stable": partial(like_wav2vec2, name="Hubert", head=True, stable=True),
    "unispeech": partial(like_wav2vec2, name="UniSpeech"),
    "unispeech-sat": partial(like_wav2vec2, name="UniSpeechSat", head=True),
    "wavlm": partial(like_wav2vec2, name="WavLM", head=True, num_buckets=8, max_bucket_distance=20),
    "wavlm-stable": partial(like_wav2vec2, name="WavLM", stable=True, num_buckets=8, max_bucket_distance=20),
}
"""Each kind that can be opened."""


def save(kind: str, folder: Path, seed: int = 0) -> Path:
    """Writes a model of that kind with random weights after a seed."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        SAVE[kind](folder)
    return folder


def keep(folder: Path, cache: Path, repository: str, commit: str) -> None:
    """Lays a folder where the hub's tools keep what they fetched, as the newest of a repository."""
    place = cache / f"models--{repository.replace('/', '--')}"
    shutil.copytree(folder, place / "snapshots" / commit)
    (place / "refs").mkdir(exist_ok=True)
    (place / "refs" / "main").write_text(commit)


def with_config(folder: Path, to: Path, **changes: Any) -> Path:
    """A copy of a model whose config tells something else."""
    to.mkdir(exist_ok=True)
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    config = json.loads((to / "config.json").read_text())
    (to / "config.json").write_text(json.dumps(config | changes))
    return to
