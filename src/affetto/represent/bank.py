"""One representation of every utterance of a data set, read from disk as it is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from affetto.frames import Frames, time_mask

# A shard's tensors: (frames, width) of all its utterances, one after the other; each one's frames; its samples.
VALUES, LENGTHS, DURATIONS = "values", "lengths", "durations"


class Moments(NamedTuple):
    """What means and deviations follow from, for each utterance as it was recorded."""

    counts: NDArray[np.float64]  # frames, (utterances,)
    sums: NDArray[np.float64]  # (utterances, width)
    squares: NDArray[np.float64]  # sums of squares, (utterances, width)

    def of(self, members: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each column over the frames of some utterances, (width,)."""
        count = max(self.counts[members].sum(), 1.0)  # of nobody whose sound can be read, nothing is known
        mean = self.sums[members].sum(axis=0) / count
        variance = self.squares[members].sum(axis=0) / count - mean**2
        return torch.from_numpy(mean), torch.from_numpy(np.sqrt(np.maximum(variance, 0)))


@dataclass(eq=False, repr=False)
class Bank:
    """One representation, memory-mapped: what is not asked for is not read, and processes share what is.

    It holds paths, so that it is cheap to hand to another process.
    """

    shards: Sequence[Sequence[Path]]  # files; one row a variant of the sound, the first as recorded
    lengths: NDArray[np.int64]  # frames of each utterance, 0 where its sound cannot be read, (variants, utterances)
    durations: NDArray[np.int64]  # samples of each utterance, (variants, utterances)
    width: int  # of a frame
    shard_utterances: int  # a file
    _open: dict[tuple[int, int], Tensor] = field(default_factory=dict, init=False)

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in self.__dict__.items() if name not in {"dense", "moments", "_usual"}}
        return kept | {"_open": {}}

    def __len__(self) -> int:
        return int(self.lengths.shape[1])

    @property
    def variants(self) -> int:
        """Variants beside the sound as it was recorded."""
        return len(self.lengths) - 1

    @property
    def readable(self) -> NDArray[np.bool_]:
        """Whether an utterance's sound can be read, (utterances,)."""
        return np.asarray((self.lengths > 0).all(axis=0))

    def batch(self, places: NDArray[np.int64], variants: NDArray[np.int64] | None = None) -> Frames:
        """The frames of some utterances, (batch,), in one variant of each or as they were recorded, padded."""
        chosen = np.zeros_like(places) if variants is None else variants
        lengths = torch.from_numpy(self.lengths[chosen, places])
        values = torch.zeros(len(places), int(lengths.max()), self.width)
        for row, (place, variant) in enumerate(zip(places.tolist(), chosen.tolist(), strict=True)):
            start, length = self._starts[variant, place], self.lengths[variant, place]
            values[row, :length] = self._values(variant, place // self.shard_utterances)[start : start + length]
        return Frames(values, lengths)

    @cached_property
    def dense(self) -> Tensor:
        """The whole bank in memory, a frame an utterance: (variants, utterances, width), zero if unreadable."""
        everyone = np.flatnonzero(self.readable)
        values = torch.zeros(len(self.lengths), len(self), self.width)
        for variant in range(len(self.lengths)):
            values[variant, everyone] = self.batch(everyone, np.full_like(everyone, variant)).values[:, 0]
        return values

    @cached_property
    def moments(self) -> Moments:
        """Counts, sums and sums of squares of each utterance's frames."""
        sums, squares = np.zeros((2, len(self), self.width))
        for start in range(0, len(self), self.shard_utterances):
            frames = self.batch(np.arange(start, min(start + self.shard_utterances, len(self))))
            values = frames.values.double() * time_mask(frames.lengths, frames.values.shape[1])[..., None]
            sums[start : start + self.shard_utterances] = values.sum(dim=1).numpy()
            squares[start : start + self.shard_utterances] = values.square().sum(dim=1).numpy()
        return Moments(self.lengths[0].astype(np.float64), sums, squares)

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        """Where each utterance begins in its shard."""
        starts = np.cumsum(self.lengths, axis=1) - self.lengths
        shard = np.arange(len(self)) // self.shard_utterances
        return starts - starts[:, shard * self.shard_utterances]

    def _values(self, variant: int, shard: int) -> Tensor:
        if (variant, shard) not in self._open:
            self._open[variant, shard] = load_file(self.shards[variant][shard])[VALUES]
        return self._open[variant, shard]


@dataclass(eq=False, repr=False)
class SpeakersOwn(Bank):
    """A bank whose every frame is told in deviations from what is usual of its speaker.

    Usual is the mean over all of the speaker's recordings as they are, of whichever part they are and without labels
    (speaker normalisation, Busso et al. 2011). What never varies of a speaker is 0 throughout.
    """

    speakers: NDArray[np.int64] = field(kw_only=True)  # of each utterance, by numbers from 0 on, (utterances,)

    @classmethod
    def of(cls, bank: Bank, speakers: NDArray[np.int64]) -> SpeakersOwn:
        """The same bank for these speakers, (utterances,)."""
        return cls(bank.shards, bank.lengths, bank.durations, bank.width, bank.shard_utterances, speakers=speakers)

    def batch(self, places: NDArray[np.int64], variants: NDArray[np.int64] | None = None) -> Frames:
        """As of any bank."""
        frames, (means, deviations) = super().batch(places, variants), self._usual
        own = torch.from_numpy(self.speakers[places])
        return frames._replace(values=(frames.values - means[own]) / deviations[own]).zero_padding()

    @cached_property
    def _usual(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation of each speaker's frames, (speakers, 1, width)."""
        moments = Bank(self.shards, self.lengths, self.durations, self.width, self.shard_utterances).moments
        members = [np.flatnonzero(self.speakers == number) for number in range(self.speakers.max() + 1)]
        means, deviations = map(torch.stack, zip(*map(moments.of, members), strict=True))
        return means[:, None].float(), torch.where(deviations > 1e-5, deviations, torch.inf)[:, None].float()
