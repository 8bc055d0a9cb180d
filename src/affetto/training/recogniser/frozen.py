"""Layers that a training leaves as they are: what they make of every utterance is computed once and kept."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import torch
from torch import Tensor

from affetto.config import stable_seed
from affetto.data.transcribed import Transcribed
from affetto.errors import AudioError, ConfigError
from affetto.frames import Frames, Waves
from affetto.models import checkpoint
from affetto.models.network import RecogniserNetwork
from affetto.represent import Bank


class FrozenLayers:
    """The lower layers of a network, up to the highest frozen one, as an extractor of its frames.

    Their parameters ask for no gradient any more. Products are computed in some precision; float32 is exact. Raises
    ConfigError where the network has no such layer, or none above it.
    """

    def __init__(self, network: RecogniserNetwork, highest: str, precision: torch.dtype = torch.float32) -> None:
        names = [layer.name for layer in network.layers]
        if highest not in names[:-1]:
            raise ConfigError(f"no layer {highest!r} to freeze up to", f"choose among {', '.join(names[:-1])}")
        self.network = network
        self.precision = precision
        self.names = (highest,)
        self.layers = network.layers[: names.index(highest) + 1]
        self.next = names[names.index(highest) + 1]  # The lowest layer that is trained
        for layer in self.layers:
            for parameter in network.layer_parameters(layer.name):
                parameter.requires_grad_(False)

    @property
    def rate_hz(self) -> float:
        """Frames a second."""
        return self.layers[-1].frame_rate_hz

    @torch.no_grad()
    def climb(self, inputs: Frames) -> Frames:
        """The frames from what the network's `features` gave."""
        return self.network.climb(inputs, self.layers[0].name, self.names[0])

    def key(self, name: str) -> str:
        """The same for all networks whose frozen layers are the same."""
        parts = [p for layer in self.layers for p in self.network.layer_parameters(layer.name)]
        shape = getattr(self.network.config, "encoder", self.network.config)  # what is above it changes nothing here
        exact = "" if self.precision == torch.float32 else f"-{str(self.precision).removeprefix('torch.')}"
        return f"{checkpoint.fingerprint(torch.nn.ParameterList(parts), shape)}-{name}{exact}"

    def dtype(self, name: str) -> torch.dtype:
        """With ten bits."""
        return torch.float16

    @torch.no_grad()
    def extract(self, waves: Waves, names: Collection[str]) -> dict[str, Frames]:
        """(batch, time, width)."""
        training = self.network.training
        self.network.eval()
        device = next(self.network.parameters()).device
        inputs = self.network.features(waves.to(device))
        with torch.autocast(device.type, self.precision, enabled=self.precision != torch.float32):
            frames = self.climb(inputs)
        self.network.train(training)
        return {name: Frames(frames.values.float(), frames.lengths) for name in names}


class FrozenSpeech:
    """The frozen layers' frames of utterances, each as it was recorded and in variants of its sound, in a bank."""

    def __init__(self, items: Sequence[Transcribed], bank: Bank) -> None:
        self.bank = bank
        self.places = {item.utterance: place for place, item in enumerate(items)}

    def read(self, item: Transcribed, drawn_by: tuple[int | str, ...] | None = None) -> Tensor:
        """The frames of an utterance: (frames, width); raises AudioError where its sound could not be read.

        What the choice of the variant depends on is in ``drawn_by``; None takes the sound as it was recorded.
        """
        place = self.places[item.utterance]
        variant = 0 if drawn_by is None else stable_seed("variant", *drawn_by) % (self.bank.variants + 1)
        if self.bank.lengths[variant, place] == 0:
            raise AudioError("could not be read", "look at the warnings above", item.utterance.audio)
        return self.bank.batch(np.array([place]), np.array([variant])).values[0]
