"""The input of Whisper: log-mel spectrogram, Hann window of 25 ms every 10 ms (Radford et al. 2022).

An utterance is not filled up to 30 s: its frames are those that Whisper's own front end has for a sound of that length,
and what counts as its loudest is among them. Where a level is asked for, what nobody listens to is taken away as well:
direct current, and how loud a recording is as a whole.
"""

from __future__ import annotations

import torch
from torch import Tensor

from affetto.features.acoustic import mel_filters
from affetto.frames import Frames, Waves

WINDOW_SAMPLES = 400
HOP_SAMPLES = 160

_FLOOR = 1e-10
_RANGE = 8.0  # powers of ten below an utterance's loudest value at which the logarithm goes flat
_MOST_RAISED = 7.0  # powers of ten; digital silence stays far below speech


def log_mel(waves: Waves, filters: int = 80, level: float | None = None) -> Frames:
    """Decimal logarithms of the powers in mel bands, clamped to 80 dB below the loudest, then (x + 4) / 4.

    Args:
        waves: the recordings.
        filters: bands of equal area on Slaney's mel scale.
        level: the decimal logarithm that each utterance's loudest value is brought to, without direct current; None
            leaves both as Whisper does.

    Returns:
        (batch, time, filters), 100 frames a second and at least one.
    """
    lengths = (waves.lengths // HOP_SAMPLES).clamp(min=1)
    windows = _mirrored(waves).unfold(1, WINDOW_SAMPLES, HOP_SAMPLES)[:, : int(lengths.max())]
    spectrum = torch.fft.rfft(windows * torch.hann_window(WINDOW_SAMPLES, device=windows.device))
    if level is not None:
        spectrum = _without_direct_current(spectrum)
    powers = spectrum.real.square() + spectrum.imag.square()  # (batch, time, 201)
    bands = powers @ mel_filters(filters, WINDOW_SAMPLES // 2 + 1, equal_area=True).to(powers.device)
    frames = Frames(bands.clamp_(min=_FLOOR).log10_(), lengths)
    loudest = frames.values.masked_fill(~frames.mask[..., None], -torch.inf).amax(dim=(1, 2), keepdim=True)
    values = torch.maximum(frames.values, loudest - _RANGE)
    if level is not None:
        values = values + (level - loudest).clamp(max=_MOST_RAISED)
    return Frames((values + 4) / 4, lengths).zero_padding()


def _without_direct_current(spectrum: Tensor) -> Tensor:
    """What is constant over a window, which a Hann window spreads over two bins, taken off: (batch, time, bins)."""
    constant = spectrum[..., :1].real  # the window's own: 1/2 of its samples here, and -1/4 of them in the next bin
    return torch.cat(
        [torch.zeros_like(spectrum[..., :1]), spectrum[..., 1:2] + constant / 2, spectrum[..., 2:]], dim=-1
    )


def _mirrored(waves: Waves) -> Tensor:
    """Half a window more at both ends of each recording, mirrored; one too short to be mirrored ends in zeros."""
    reach = WINDOW_SAMPLES // 2
    lengths = waves.lengths.clamp(min=reach + 1)[:, None]
    missing = int(lengths.max()) - waves.values.shape[1]
    values = torch.nn.functional.pad(waves.values, (0, max(missing, 0)))
    away = torch.arange(1, reach + 1, device=values.device)
    before, after = values[:, 1 : reach + 1].flip(1), values.gather(1, lengths - 1 - away)
    return torch.nn.functional.pad(torch.cat([before, values], dim=1), (0, reach)).scatter(
        1, reach + lengths - 1 + away, after
    )
