"""Where in a stream somebody speaks: silero-vad's network for 8 kHz, frame by frame, whole blocks at a time.

That for 16 kHz finds less: it misses speech through a telephone, which has nothing above 3.4 kHz, and takes more of
music for speech (docs/results/speech.md).

The weights are those that the package silero-vad carries. Its own code runs one frame of 32 ms after the other and,
on import, sets the number of threads of the whole process; the network is small enough to be written down here, where
it takes all frames of a block at once. The tests compare it with the library's.
"""

from __future__ import annotations

import warnings
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from affetto.devices import one_thread
from affetto.errors import CheckpointError

FRAME = 512  # samples of a frame, at 16 kHz: 32 ms
_TAPS = 63  # of the filter that takes away what 8 kHz cannot hold
_CONTEXT = 32  # samples before a frame that go with it, at 8 kHz
_BEFORE = 2 * _CONTEXT + _TAPS - 2  # the same at 16 kHz, and what the filter needs
_REFLECTED = 32  # samples at its end that are mirrored for the last spectrum
_BINS = 65
_WIDTH = 128
_USUAL_LEVEL = 0.1  # -20 dB of full scale, root mean square of a frame of loud speech; nothing is made softer
_FIRST_LEVEL, _LOWEST_LEVEL = 0.01, 0.0003  # at most taken for loud at first, and at least where all is soft
_FORESEEN_FRAMES = 32  # so many at once tell how loud a stream is; live, there are fewer
_LEVEL_PACE = 0.988  # a frame: what was loud is forgotten at 3 dB a second
_OFFSET_PACE = 0.02  # a frame's part in the offset, which so follows in a second or two
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
        before = torch.cat([memory.context[None], frames[:-1, -_BEFORE:]])
        narrow = functional.conv1d(torch.cat([before, frames], dim=1)[:, None], self.halve, stride=2)[:, 0]
        inputs = functional.pad(narrow, (0, _REFLECTED), mode="reflect")  # (frames, 320)
        parts = self.stft_conv(inputs[:, None])  # (frames, 2 x bins, 4)
        spectrum = (parts[:, :_BINS].square() + parts[:, _BINS:].square()).sqrt()
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            spectrum = functional.relu(layer(spectrum))
        states, (hidden, cell) = self.lstm(spectrum.permute(2, 0, 1)[0][:, None], (memory.hidden, memory.cell))
        scores = self.final_conv(functional.relu(states[:, 0])[:, :, None])  # (frames, 1, 1)
        return torch.sigmoid(scores[:, 0, 0]), Memory(frames[-1, -_BEFORE:].clone(), hidden, cell)


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


class Activity:
    """How probable speech is in each frame of one stream.

    The detector takes a constant offset for sound, and soft voices for none: before it gets a frame, what the stream
    hovers about is taken away, and what was loud lately is brought to a usual loudness. How soft a stream is from its
    beginning on shows in its first block, if that lasts a second.
    """

    def __init__(self) -> None:
        self._detector = speech_detector()
        self._memory = self._detector.forget()
        self._offset: float | None = None
        self._level = _FIRST_LEVEL
        self._gain = _USUAL_LEVEL / _FIRST_LEVEL

    @torch.inference_mode()
    def feed(self, samples: Tensor) -> list[float]:
        """One probability a frame of the next (samples,) at 16 kHz, which are whole frames save at the stream's end."""
        frames = functional.pad(samples, (0, -len(samples) % FRAME)).reshape(-1, FRAME)
        offsets, gains = [], [self._gain]
        variances = frames.var(dim=1, correction=0).tolist()
        if self._offset is None and len(variances) >= _FORESEEN_FRAMES:  # soft from the beginning on
            self._level = min(_FIRST_LEVEL, max(variances) ** 0.5)
        for mean, variance in zip(frames.mean(dim=1).tolist(), variances, strict=True):
            self._offset = mean if self._offset is None else self._offset + _OFFSET_PACE * (mean - self._offset)
            self._level = max(variance**0.5, self._level * _LEVEL_PACE, _LOWEST_LEVEL)
            self._gain = max(1.0, _USUAL_LEVEL / self._level)
            offsets.append(self._offset)
            gains.append(self._gain)
        before, after = torch.tensor(gains[:-1])[:, None], torch.tensor(gains[1:])[:, None]
        gain = before + (after - before) * torch.linspace(0, 1, FRAME)  # steps in loudness would sound like clicks
        inputs = (frames - torch.tensor(offsets)[:, None]) * gain
        with one_thread:  # four times as fast as on two
            probabilities, self._memory = self._detector(inputs, self._memory)
        values: list[float] = probabilities.tolist()
        return values
