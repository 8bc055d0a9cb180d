"""Channels to one, without losing what they cancel, or each by itself, and sound without a constant offset; by blocks.

What comes out does not depend on how the sound is divided into blocks. And the full scale of samples that are plainly
not of the scale that their type says.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

Samples = NDArray[np.float32]
Channels: TypeAlias = Literal["mix", "separate"]
"""What becomes of the channels of a recording: one voice together, or each its own."""

_MIXED_S = 0.1
_CROSSFADE = 10  # the part of such a stretch in which the channels change
_LOW_PARTS = 100  # of such a stretch, a millisecond each: low is what changes little within one
_MOST_COMPARED = 16  # channels; of more no microphone is made
_OPPOSED = -0.5  # the correlation of two channels below which they cancel more than they add
_LATER = 0.5  # what the power of a channel that is not the first counts
_CENTRED_S = 0.01
_FIRST_HOPS, _FEWEST_HOPS = 25, 5  # what the offset at the beginning is estimated from
_PACE = 0.01  # a hop's part in the offset, which so follows in a second
_USUAL_BITS = (16, 24, 32)
_SILENT = 2.0**-16
_BEYOND = 4.0  # so far floats may go beyond their full scale
_LOUDEST_FLOAT = 256.0  # times full scale; sound that was divided by its deviation is much softer


class Mixer:
    """The mean of all channels but those that would cancel a louder one.

    Channels cancel where the wires of one microphone were swapped, or a program turned its polarity round. Each tenth
    of a second is looked at by itself, and low and high frequencies apart, as one may cancel and not the other.

    >>> left = np.sin(np.arange(3200, dtype=np.float32) / 5)
    >>> mixer = Mixer(2, 16_000)
    >>> mixed = np.concatenate([mixer.feed(np.stack([left, -0.5 * left], axis=1)), mixer.finish()])
    >>> bool(np.abs(mixed - left).max() < 1e-6)
    True
    """

    def __init__(self, channels: int, sample_rate: int) -> None:
        self._hop = max(1, round(_MIXED_S * sample_rate))
        self._rest = np.zeros((0, channels), np.float32)
        self._weights: Samples | None = None  # of the last hop

    def feed(self, block: Samples) -> Samples:
        """Takes the next (frames, channels); gives what is known of them and those before, (frames,)."""
        if block.shape[1] == 1:
            return np.ascontiguousarray(block[:, 0])
        sound = np.concatenate([self._rest, block]) if len(self._rest) else block
        whole = len(sound) // self._hop * self._hop
        self._rest = sound[whole:].copy()
        return self._mix(sound[:whole].reshape(-1, self._hop, block.shape[1]))

    def finish(self) -> Samples:
        """What was kept back, at the end."""
        rest, self._rest = self._rest, self._rest[:0]
        return self._mix(rest[None]) if len(rest) else rest[:, 0]

    def _mix(self, hops: Samples) -> Samples:
        if len(hops) == 0:
            return np.zeros(0, np.float32)
        sound = np.ascontiguousarray(hops.transpose(0, 2, 1))  # (hops, channels, frames)
        weights = _weights(sound)
        mixed: Samples = np.matmul(weights[:, None], sound)[:, 0]  # (hops, frames)
        before = np.concatenate([weights[:1] if self._weights is None else self._weights[None], weights[:-1]])
        self._weights = weights[-1]
        fade = np.linspace(0, 1, hops.shape[1] // _CROSSFADE, dtype=np.float32)
        for hop in np.flatnonzero((before != weights).any(axis=1)):
            start = sound[hop, :, : len(fade)]
            mixed[hop, : len(fade)] = fade * (weights[hop] @ start) + (1 - fade) * (before[hop] @ start)
        return mixed.reshape(-1)


def _weights(sound: Samples) -> Samples:
    """What each channel counts in each hop: (hops, channels) of (hops, channels, frames)."""
    channels = sound.shape[1]
    if channels > _MOST_COMPARED:
        return np.full(sound.shape[:2], 1 / channels, np.float32)
    opposed = _opposed(sound) | _opposed(np.diff(sound, axis=2)) | _opposed(_low(sound))  # as it is, high, low
    if not opposed.any():
        return np.full(sound.shape[:2], 1 / channels, np.float32)
    # The first of two about as loud, so that it is the same one in each hop.
    louder = np.argsort(-sound.var(axis=2) * ([1] + [_LATER] * (channels - 1)), axis=1, kind="stable")
    kept = np.ones(sound.shape[:2], bool)
    hops = np.arange(len(sound))
    for rank in range(1, channels):
        channel = louder[:, rank]
        cancels = opposed[hops, channel] & kept  # (hops, channels)
        cancels[hops[:, None], louder[:, rank:]] = False
        kept[hops, channel] = ~cancels.any(axis=1)
    weights: Samples = (kept / kept.sum(axis=1, keepdims=True)).astype(np.float32)
    return weights


def _low(sound: Samples) -> Samples:
    """The low frequencies alone: sums over a millisecond."""
    hops, channels, frames = sound.shape
    size = max(1, frames // _LOW_PARTS)
    low = np.empty((hops, channels, frames - size), np.float32)
    # One by one, as the sums take twice the memory of the sound.
    for wave, out in zip(sound.reshape(-1, frames), low.reshape(-1, frames - size), strict=True):
        sums = np.cumsum(wave, dtype=np.float64)
        np.subtract(sums[size:], sums[:-size], out=out, casting="same_kind")
    return low


def _opposed(sound: Samples) -> NDArray[np.bool_]:
    """Which channels cancel which: (hops, channels, channels)."""
    means = sound.mean(axis=2)
    common = np.matmul(sound, sound.transpose(0, 2, 1)) - means[:, :, None] * means[:, None] * sound.shape[2]
    size = np.sqrt(np.maximum(np.diagonal(common, axis1=1, axis2=2), 1e-12))
    found: NDArray[np.bool_] = common < _OPPOSED * size[:, :, None] * size[:, None]
    return found


class Centre:
    """Sound about zero: takes away what it hovers about, which nobody hears, and which converters add.

    >>> centre = Centre(16_000)
    >>> wave = np.sin(np.arange(16_000, dtype=np.float32) / 5)
    >>> centred = np.concatenate([centre.feed(wave + np.float32(0.2)), centre.finish()])
    >>> bool(np.abs(centred - wave).max() < 0.01)
    True
    """

    def __init__(self, sample_rate: int) -> None:
        self._hop = max(1, round(_CENTRED_S * sample_rate))
        self._rising = np.linspace(0, 1, self._hop + 1, dtype=np.float32)[1:]
        self._rest = np.zeros(0, np.float32)
        self._offset: float | None = None  # at the end of what was given

    def feed(self, block: Samples) -> Samples:
        """Takes the next (samples,); gives what is known of them and those before."""
        sound = np.concatenate([self._rest, block]) if len(self._rest) else block
        if self._offset is None:
            first = _FIRST_HOPS * self._hop
            if len(sound) < first:
                self._rest = sound.copy()
                return np.zeros(0, np.float32)
            self._offset = float(sound[:first].mean(dtype=np.float64))
        whole = len(sound) // self._hop * self._hop
        self._rest = sound[whole:].copy()
        hops = sound[:whole].reshape(-1, self._hop)
        offsets = [self._offset]
        for mean in (np.einsum("ij->i", hops) / np.float32(self._hop)).tolist():
            offsets.append(offsets[-1] + _PACE * (mean - offsets[-1]))
        self._offset = offsets[-1]
        ends = np.array(offsets, np.float32)
        out: Samples = np.multiply((ends[1:] - ends[:-1])[:, None], self._rising)  # (hops, samples)
        np.add(out, ends[:-1, None], out=out)
        np.subtract(hops, out, out=out)
        return out.reshape(-1)

    def finish(self) -> Samples:
        """What was kept back, at the end."""
        rest, self._rest = self._rest, self._rest[:0]
        if self._offset is None:  # of less than that, nobody could tell an offset from half a wave
            known = len(rest) >= _FEWEST_HOPS * self._hop
            self._offset = float(rest.mean(dtype=np.float64)) if known else 0.0
        return rest - np.float32(self._offset)


def tracks(blocks: Iterable[Samples], sample_rate: int, channels: Channels = "mix") -> Iterator[Samples]:
    """Blocks of (frames, channels) as (tracks, frames) about zero: one track, or one a channel; some may be empty.

    >>> block = np.array([[0.5, 0.25], [0.5, 0.75]], np.float32)
    >>> [list(tracks([block], 16_000, channels))[-1].tolist() for channels in ("mix", "separate")]
    [[[0.375, 0.625]], [[0.5, 0.5], [0.25, 0.75]]]
    """
    made: list[tuple[Mixer, Centre]] = []
    for block in blocks:
        parts = [block] if channels == "mix" else np.split(block, block.shape[1], axis=1)
        made = made or [(Mixer(part.shape[1], sample_rate), Centre(sample_rate)) for part in parts]
        yield np.stack([centre.feed(mixer.feed(part)) for (mixer, centre), part in zip(made, parts, strict=True)])
    if made:
        yield np.stack([np.concatenate([centre.feed(mixer.finish()), centre.finish()]) for mixer, centre in made])


def full_scale(peak: float, usual: float, where: object) -> float:
    """That of the type (1 for floats), unless such a peak can only be of a narrower one, which is said in a warning.

    >>> full_scale(0.7, 1.0, "a.wav"), full_scale(30_000, 2.0**31, "a.wav"), full_scale(30_000, 1.0, "a.wav")
    (1.0, 32768.0, 32768.0)
    >>> full_scale(1.5, 1.0, "a.wav"), full_scale(1e9, 2.0**31, "a.wav"), full_scale(5e6, 2.0**63, "a.wav")
    (1.0, 2147483648.0, 8388608.0)
    """
    beyond = _BEYOND if usual == 1 else 1.0
    bits = next((bits for bits in _USUAL_BITS if peak <= beyond * 2.0 ** (bits - 1)), 0)
    # As what their type says, such integers would be silence, and such floats far beyond full scale.
    doubtful = peak > _LOUDEST_FLOAT if usual == 1 else 0 < peak <= usual * _SILENT
    if not (doubtful and bits):
        return usual
    remedy = "if they are not, scale them to the range of their type"
    logger.warning("%s: values up to %.0f are taken for %d-bit samples; %s", where, peak, bits, remedy)
    return 2.0 ** (bits - 1)
