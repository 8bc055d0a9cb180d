"""A long sound in overlapping chunks: each is heard with what is around it, and only its core is kept.

A network that looks both ways hears the first and the last moments of a stretch worse than its middle, for want of
context. Where a recording must not be cut at pauses, or has none, chunks that overlap give every moment its context.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from affetto.audio import SAMPLE_RATE


class Overlap(NamedTuple):
    """How long chunks are.

    Attributes:
        core_s: what is kept of each, seconds.
        context_s: what is heard before and after it and then dropped.
    """

    core_s: float = 10.0
    context_s: float = 2.5


class Chunk(NamedTuple):
    """A stretch of sound, part of which is its core.

    Attributes:
        wave: (samples,).
        core: where its core begins and ends in it, samples.
    """

    wave: Tensor
    core: tuple[int, int]


def overlapping(blocks: Iterable[Tensor], overlap: Overlap, unit_samples: int) -> Iterator[Chunk]:
    """Cuts a stream into chunks whose cores, joined, are the stream.

    No more than a block and a chunk are held at a time.

    Args:
        blocks: (samples,) each, at 16 kHz.
        overlap: how long chunks are; both lengths are rounded to whole units.
        unit_samples: chunks and cores begin at multiples of it, so that a network's frames fall where they would in the
            whole.

    Yields:
        One chunk a core, in time; the first has no context before it and the last none after it.

    >>> chunks = overlapping([torch.arange(10.0)], Overlap(4 / 16000, 2 / 16000), unit_samples=2)
    >>> [(chunk.wave.int().tolist(), chunk.core) for chunk in chunks]
    [([0, 1, 2, 3, 4, 5], (0, 4)), ([2, 3, 4, 5, 6, 7, 8, 9], (2, 6)), ([6, 7, 8, 9], (2, 4))]
    """
    core = max(1, round(overlap.core_s * SAMPLE_RATE / unit_samples)) * unit_samples
    context = max(0, round(overlap.context_s * SAMPLE_RATE / unit_samples)) * unit_samples
    waiting, before = torch.zeros(0), 0
    for block in blocks:
        waiting = torch.cat([waiting, block])
        while len(waiting) > before + core + context:
            yield Chunk(waiting[: before + core + context].clone(), (before, before + core))
            dropped = max(0, before + core - context)
            waiting, before = waiting[dropped:], before + core - dropped
    while len(waiting) > before:
        yield Chunk(waiting[: before + core + context].clone(), (before, min(len(waiting), before + core)))
        dropped = max(0, before + core - context)
        waiting, before = waiting[dropped:], before + core - dropped
