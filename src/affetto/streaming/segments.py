"""Cuts a stream of sound where it is quietest, so that no word is torn if there is any pause."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

from affetto.audio import SAMPLE_RATE

LONGEST_S = 15.0
"""The longest segment; the recogniser was trained on no longer utterances (paper 3.2.2)."""

EARLIEST_S = 8.0
"""Before this no cut is made, so that there is enough to hear in each segment."""

SHORTEST_REST_S = 3.0
"""What a cut leaves over at the end of a recording at least."""

_FRAME = 320  # 20 ms
_SMOOTHING_FRAMES = 11  # A pause between words lasts 200 ms or more; the closure of a [p] or [t] does not.


def quietest(samples: Tensor) -> int:
    """The sample in the middle of the quietest fifth of a second.

    Args:
        samples: (samples,) at 16 kHz, at least 20 ms.

    >>> quietest(torch.cat([torch.ones(8000), torch.zeros(4000), torch.ones(8000)]))
    10080
    """
    whole = len(samples) // _FRAME * _FRAME
    energy = samples[:whole].reshape(1, -1, _FRAME).square().mean(dim=-1)  # (1, frames)
    half = _SMOOTHING_FRAMES // 2
    smooth = functional.avg_pool1d(energy, _SMOOTHING_FRAMES, stride=1, padding=half, count_include_pad=False)[0]
    best = (smooth == smooth.min()).nonzero()[:, 0]  # in digital silence there are many: the middle one
    return int(best[len(best) // 2]) * _FRAME + _FRAME // 2


def cut(blocks: Iterable[Tensor]) -> Iterator[Tensor]:
    """Cuts a stream into segments of at most 15 s.

    Where the cuts fall depends on the sound alone, not on how it is divided into blocks; joined, the segments are the
    stream. No more than a block and 18 s of sound are held at a time.

    Args:
        blocks: (samples,) each, at 16 kHz.

    Yields:
        (samples,) each, one after the other without gaps.

    >>> [len(segment) / 16000 for segment in cut([torch.ones(20 * 16000)])]
    [11.51, 8.49]
    """
    longest, rest = round(LONGEST_S * SAMPLE_RATE), round(SHORTEST_REST_S * SAMPLE_RATE)
    waiting = torch.zeros(0)
    for block in blocks:
        waiting = torch.cat([waiting, block])
        while len(waiting) >= longest + rest:
            segment, waiting = _split(waiting, longest)
            yield segment
    if len(waiting) > longest:
        segment, waiting = _split(waiting, len(waiting) - rest)
        yield segment
    if len(waiting):
        yield waiting


def _split(waiting: Tensor, latest: int) -> tuple[Tensor, Tensor]:
    """Cuts at the quietest place between 8 s and the latest sample; a copy lets the rest of the memory go."""
    earliest = round(EARLIEST_S * SAMPLE_RATE)
    place = earliest + quietest(waiting[earliest:latest])
    return waiting[:place].clone(), waiting[place:]
