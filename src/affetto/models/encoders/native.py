"""Encoders whose network is ours: recognisers that affetto trains, of whatever kind."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import torch

from affetto import pretrained
from affetto.frames import Frames, Waves
from affetto.models import checkpoint
from affetto.models.decoding.whisper_text import WhisperTextConfig, load_whisper_text
from affetto.models.encoders.encoder import Encoding, ModuleEncoder, Origin, TextDecoder, check_layers
from affetto.models.network import Network, RecogniserNetwork, load_recogniser
from affetto.models.transformers_folder import licence
from affetto.models.whisper import FRAME_RATE_HZ, WhisperEncoder, load_whisper_encoder
from affetto.text import Alphabet

NetworkT = TypeVar("NetworkT", bound=Network)


class NetworkEncoder(ModuleEncoder, Generic[NetworkT]):
    """The layers of a trained network."""

    def __init__(self, network: NetworkT, origin: Origin, facts: Mapping[str, Any] | None = None) -> None:
        super().__init__(network, origin, facts)
        self.network: NetworkT = network
        self.layers = network.layers

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the network's numbers."""
        return checkpoint.fingerprint(self.network)

    @torch.inference_mode()
    def encode(self, waves: Waves, layers: Collection[str]) -> Encoding:
        """The named layers."""
        return Encoding(self.represent(waves, layers), None)

    @torch.inference_mode()
    def represent(self, waves: Waves, layers: Collection[str]) -> dict[str, Frames]:
        """The named layers' frames."""
        check_layers(self.layers, layers)
        return self.network.represent(waves.to(self.device), layers)


class NativeEncoder(NetworkEncoder[RecogniserNetwork]):
    """The layers and the characters of a recogniser that affetto trained."""

    def __init__(
        self, network: RecogniserNetwork, origin: Origin | None = None, facts: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(network, origin or Origin(network.config.kind, "affetto"), facts)
        self.alphabet = Alphabet(network.config.symbols)
        self.output_rate_hz = network.output_rate_hz

    @classmethod
    def open(cls, folder: Path, origin: Origin) -> Self:
        """Reads the recogniser of a model's folder, see `load_recogniser`."""
        network, description = load_recogniser(folder / pretrained.RECOGNISER)
        return cls(network, origin._replace(licence=description.facts.get("licence")), description.facts)

    @torch.inference_mode()
    def encode(self, waves: Waves, layers: Collection[str]) -> Encoding:
        """The named layers, and log probabilities of characters."""
        check_layers(self.layers, layers)
        found = self.network(waves.to(self.device), collect=layers)
        return Encoding(found.layers, found.log_probs)


class Whisper(NetworkEncoder[WhisperEncoder]):
    """The layers of Whisper's encoder, and its last states, from which Whisper's decoder writes text."""

    output_rate_hz = FRAME_RATE_HZ

    @classmethod
    def open(cls, folder: Path, origin: Origin) -> Self:
        """Reads the encoder, see `load_whisper_encoder`; the decoder is read by those who want words."""
        return cls(load_whisper_encoder(folder), origin._replace(licence=licence(folder)))

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the encoder's numbers and its heads."""
        return checkpoint.fingerprint(self.network, self.network.config.model_dump(mode="json"))

    def text_decoder(self, language: str | None) -> TextDecoder:
        """Whisper's decoder; it takes speech for English unless another language is named, or "auto"."""
        assert self.origin.folder is not None, "it was opened from a folder"
        config = WhisperTextConfig() if language is None else WhisperTextConfig(language=language)
        return load_whisper_text(self.origin.folder, self.network, config)

    @torch.inference_mode()
    def encode(self, waves: Waves, layers: Collection[str]) -> Encoding:
        """The named layers, and the last states."""
        check_layers(self.layers, layers)
        found: Encoding = self.network(waves.to(self.device), collect=layers)
        return found
