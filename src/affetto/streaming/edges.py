"""Where speech begins and ends to a hundredth of a second, once it is known to be there."""

from __future__ import annotations

import torch
from torch import Tensor

from affetto.audio import SAMPLE_RATE

EARLY_S, LATE_S = 0.2, 0.1
"""How much earlier than the detector notices it speech may begin, and how much later."""

OVER_S, STILL_S = 0.35, 0.1
"""How much earlier than the detector notices it speech may have ended, and how much later."""

_HOP = 160  # 10 ms
_RANGE_DB = 35.0  # What is softer than this below the loud parts is breath or echo.
_RISE = 0.3  # of the way from the noise to the voice, in dB
_SILENT_DB = -100.0


def edges(sound: Tensor, begin: int, end: int) -> tuple[int, int]:
    """The first and the last loud place near where a detector, which hears frames of 32 ms, says speech is.

    Loud is what rises above the noise around it and is less than 35 dB below the loud parts of the speech.

    Args:
        sound: (samples,) at 16 kHz, with what was recorded around the speech.
        begin: the sample where the detector noticed speech.
        end: the sample after the last that it took for speech.

    Returns:
        The same two, moved by at most 0.35 s; where nothing is loud, as they were.

    >>> buzz = torch.tensor([1.0, -1.0]).repeat(8000)
    >>> speech = torch.cat([torch.zeros(8000), buzz, torch.zeros(8000)])
    >>> edges(speech, 8500, 26000)
    (8000, 24000)
    """
    whole = len(sound) // _HOP
    if whole == 0:
        return begin, end
    hops = sound[: whole * _HOP].reshape(whole, _HOP)
    level = 10 * (hops - hops.mean(dim=1, keepdim=True)).square().mean(dim=1).clamp(min=1e-10).log10()  # dB, (hops,)
    first, last = begin // _HOP, max(begin // _HOP + 1, end // _HOP)
    loud = level > _threshold(level[first:last], torch.cat([level[:first], level[last:]]))
    steady = loud & (torch.roll(loud, 1) | torch.roll(loud, -1))  # a single one is a click
    starts = _places(steady, begin - _samples(EARLY_S), begin + _samples(LATE_S))
    ends = _places(steady, end - _samples(OVER_S), end + _samples(STILL_S))
    start = starts[0] * _HOP if starts else begin
    stop = (ends[-1] + 1) * _HOP if ends else end
    return (start, stop) if start < stop else (begin, end)


def _threshold(speech: Tensor, around: Tensor) -> float:
    voice = float(speech.quantile(0.9)) if len(speech) else 0.0
    noise = float(around.median()) if len(around) else _SILENT_DB
    return max(voice - _RANGE_DB, noise + _RISE * (voice - noise))


def _places(steady: Tensor, first: int, last: int) -> list[int]:
    """The loud hops between two samples."""
    offset = max(first, 0) // _HOP
    return [offset + place for place in steady[offset : max(last, 0) // _HOP].nonzero()[:, 0].tolist()]


def _samples(duration_s: float) -> int:
    return round(duration_s * SAMPLE_RATE)
