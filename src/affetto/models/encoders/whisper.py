"""Whisper as OpenAI and others publish it, in a folder as transformers writes it."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import Self

import torch

from affetto.frames import Waves
from affetto.models import checkpoint
from affetto.models.decoding.whisper_text import WhisperTextConfig, load_whisper_text
from affetto.models.encoders.encoder import Encoding, Origin, TextDecoder, check_layers
from affetto.models.encoders.native import NetworkEncoder
from affetto.models.transformers_folder import licence
from affetto.models.whisper import FRAME_RATE_HZ, WhisperEncoder, load_whisper_encoder


class Whisper(NetworkEncoder[WhisperEncoder]):
    """The layers of Whisper's encoder, and its last states, from which Whisper's decoder writes text."""

    @classmethod
    def open(cls, folder: Path, origin: Origin) -> Self:
        """Reads the encoder; the decoder is read by those who want words.

        Raises:
            CheckpointError: see `load_whisper_encoder`.
        """
        return cls(load_whisper_encoder(folder), origin._replace(licence=licence(folder)))

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the encoder's numbers and its heads."""
        return checkpoint.fingerprint(self.network, self.network.config.model_dump(mode="json"))

    @property
    def output_rate_hz(self) -> float:
        """Frames a second of the states."""
        return FRAME_RATE_HZ

    def text_decoder(self, language: str | None) -> TextDecoder:
        """Whisper's decoder; it takes what it hears for English unless another language is named, or "auto"."""
        assert self.origin.folder is not None, "it was opened from a folder"
        config = WhisperTextConfig() if language is None else WhisperTextConfig(language=language)
        return load_whisper_text(self.origin.folder, self.network, config)

    @torch.inference_mode()
    def encode(self, waves: Waves, layers: Collection[str]) -> Encoding:
        """The named layers, and the last states."""
        check_layers(self.layers, layers)
        found: Encoding = self.network(waves.to(self.device), collect=layers)
        return found
