"""Our own recogniser as an encoder."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property

import torch

from affetto.frames import Frames, Waves
from affetto.models import checkpoint
from affetto.models.deepspeech2 import DeepSpeech2, Recognition
from affetto.models.encoders.encoder import LayerInfo


class DeepSpeech2Encoder:
    """The frozen layers of a recogniser.

    Args:
        model: a trained recogniser; it is put into evaluation mode.
    """

    def __init__(self, model: DeepSpeech2) -> None:
        self.model = model.eval()

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """Both convolutions ("conv1", "conv2") and the GRU layers ("gru1" to "gru5"), directions merged."""
        rates = self.model.frame_rates_hz
        return tuple(LayerInfo(name, width, rates[name]) for name, width in self.model.layer_widths.items())

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the recogniser's numbers."""
        return checkpoint.fingerprint(self.model)

    @property
    def device(self) -> torch.device:
        """Where the recogniser is."""
        return self.model.output.weight.device

    @torch.inference_mode()
    def represent(self, waves: Waves, layers: Collection[str]) -> dict[str, Frames]:
        """The named layers' frames."""
        recognition: Recognition = self.model(waves, collect=layers)
        return recognition.layers
