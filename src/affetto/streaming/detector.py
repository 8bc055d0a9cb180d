"""silero-vad's network for 8 kHz, over all frames of a block at once, with the weights that the package carries.

That for 16 kHz misses speech through a telephone, and takes more of music for speech (docs/results/speech.md). The
package's own code runs one frame of 32 ms after the other and, on import, sets the whole process's number of threads.
"""

from __future__ import annotations

import warnings
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from affetto.devices import one_thread
from affetto.errors import CheckpointError

_TAPS = 63  # of the filter that takes away what 8 kHz cannot hold
_CONTEXT = 32  # samples before a frame that go with it, at 8 kHz
_BEFORE = 2 * _CONTEXT + _TAPS - 2  # the same at 16 kHz, and what the filter needs
_REFLECTED = 32  # samples at its end that are mirrored for the last spectrum
_BINS = 65
_WIDTH = 128
_PACKAGE, _WEIGHTS = "silero-vad", "silero_vad.jit"
_REMEDY = 'pip install --force-reinstall "silero-vad>=6.2,<7"'
_NAMES = {
    "stft.forward_basis_buffer": "stft_conv.weight",
    **{f"encoder.{n}.reparam_conv.{kind}": f"conv{n + 1}.{kind}" for n in range(4) for kind in ("weight", "bias")},
    **{f"decoder.rnn.{kind}": f"lstm.{kind}_l0" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")},
    **{f"decoder.decoder.2.{kind}": f"final_conv.{kind}" for kind in ("weight", "bias")},
}
"""The package's name of a weight for 8 kHz -> the name here."""


class Memory(NamedTuple):
    """What the detector keeps of a stream between two blocks."""

    context: Tensor  # the last samples, at 16 kHz
    hidden: Tensor  # (1, 1, 128) the recurrent layer's output
    cell: Tensor  # (1, 1, 128) its state


class SpeechDetector(nn.Module):
    """How probable speech is in each frame of a stream; the caller keeps its state, so that it serves many."""

    def __init__(self) -> None:
        super().__init__()
        self.halve: Tensor
        self.register_buffer("halve", half_band(_TAPS)[None, None], persistent=False)
        self.stft_conv = nn.Conv1d(1, 2 * _BINS, kernel_size=128, stride=64, bias=False)
        self.conv1 = nn.Conv1d(_BINS, 128, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(128, 64, kernel_size=3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(64, 64, kernel_size=3, stride=2, padding=1)
        self.conv4 = nn.Conv1d(64, _WIDTH, kernel_size=3, padding=1)
        self.lstm = nn.LSTM(_WIDTH, _WIDTH)
        self.final_conv = nn.Conv1d(_WIDTH, 1, kernel_size=1)

    def forget(self) -> Memory:
        """The memory at the beginning of a stream."""
        return Memory(torch.zeros(_BEFORE), torch.zeros(1, 1, _WIDTH), torch.zeros(1, 1, _WIDTH))

    def forward(self, frames: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """(frames,) probabilities for the next (frames, 512) of a stream at 16 kHz, and the memory for those after."""
        context, hidden, cell = memory
        before = torch.cat([context[None], frames[:-1, -_BEFORE:]])
        narrow = functional.conv1d(torch.cat([before, frames], dim=1)[:, None], self.halve, stride=2)[:, 0]
        inputs = functional.pad(narrow, (0, _REFLECTED), mode="reflect")  # (frames, 320)
        parts = self.stft_conv(inputs[:, None])  # (frames, 2 x bins, 4)
        spectrum = (parts[:, :_BINS].square() + parts[:, _BINS:].square()).sqrt()
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            spectrum = functional.relu(layer(spectrum))
        states, (hidden, cell) = self.lstm(spectrum.permute(2, 0, 1)[0][:, None], (hidden, cell))
        scores = self.final_conv(functional.relu(states[:, 0])[:, :, None])  # (frames, 1, 1)
        return torch.sigmoid(scores[:, 0, 0]), Memory(frames[-1, -_BEFORE:].clone(), hidden, cell)

    @torch.inference_mode()
    def probabilities(self, frames: NDArray[np.float32], state: Memory) -> tuple[list[float], Memory]:
        """See `affetto.streaming.activity.Detector`."""
        with one_thread:  # four times as fast as on two
            found, after = self(torch.from_numpy(frames), state)
        return found.tolist(), after


def half_band(taps: int) -> Tensor:
    """A low-pass filter at a quarter of the sample rate, (taps,), an odd number of them: a sinc in a Hamming window.

    >>> half_band(7).sum().item()
    1.0
    """
    filtered = torch.sinc((torch.arange(taps) - taps // 2) / 2) * torch.hamming_window(taps, periodic=False)
    return filtered / filtered.sum()


@cache
def speech_detector() -> SpeechDetector:
    """The detector with its weights, loaded once; it runs on the CPU, whatever the networks that follow run on."""
    path = _weights()
    detector = SpeechDetector()
    try:
        # The package's safetensors file holds the weights of an older version.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit; the package has no newer file
            weights = torch.jit.load(path, map_location="cpu").state_dict()  # type: ignore[no-untyped-call]
        detector.load_state_dict({ours: weights[f"_model_8k.{theirs}"] for theirs, ours in _NAMES.items()})
    except (OSError, RuntimeError, KeyError) as error:
        raise CheckpointError("its weights cannot be used", _REMEDY, path) from error
    return detector.eval().requires_grad_(False)


def _weights() -> Path:
    """Where the package keeps them; it is not imported. Raises CheckpointError where it does not hold them."""
    try:
        found = [entry for entry in files(_PACKAGE) or () if entry.name == _WEIGHTS]
    except PackageNotFoundError as error:
        raise CheckpointError("is not installed", _REMEDY, _PACKAGE) from error
    if not found:
        raise CheckpointError(f"holds no {_WEIGHTS}", _REMEDY, _PACKAGE)
    return Path(str(found[0].locate()))
