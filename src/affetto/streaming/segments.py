"""Cuts a stream of sound into stretches of speech: at pauses, and in speech without any, where it is quietest.

Where a stretch begins and ends is found to a hundredth of a second, once the detector knows that somebody speaks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from affetto.audio import SAMPLE_RATE, Centre
from affetto.streaming.activity import FRAME, Activity
from affetto.streaming.sources import Wave

if TYPE_CHECKING:
    from torch import Tensor

    from affetto.frames import Waves

LONGEST_S = 15.0  # the longest stretch; the recogniser was trained on no longer utterances (paper 3.2.2)
PAUSE_S = 0.4
"""So long nobody speaks between two stretches. Sentences are further apart, the closures of [p] and [t] are shorter."""

_BEFORE_S, _AFTER_S = 1.0, 1.0
"""So much of the pauses before and after a stretch goes with it, if it was recorded: the networks were trained on clips
that begin and end with some silence. Live, nobody waits for more than the pause that ends a stretch."""

_EARLIEST_S = 8.0  # before this, speech without a pause is not cut, so that each part is long enough to recognise
_SHORTEST_REST_S = 3.0  # what such a cut leaves over at least
_SHORTEST_SPEECH_S = 0.15  # less is a click or a note, not a word
_FILE_FRAMES, _LIVE_FRAMES = 256, 4  # at a time: 8.2 s, which is quick, or 128 ms, which is soon
_BEGINS, _GOES_ON = 0.5, 0.25  # probabilities of speech; two, so that it does not flicker between them
# Voices that the detector is never sure of (sad, muffled, in an echo) keep its doubt up; music and noise raise it for a
# frame or two.
_PERHAPS, _PERHAPS_GOES_ON = 0.15, 0.1  # the mean of lately; a probability
_LATELY_FRAMES = 12
_QUIET_FRAME = 320  # 20 ms
_SMOOTHING_FRAMES = 11  # A pause between words lasts 200 ms or more; the closure of a [p] or [t] does not.

_EARLY_S, _LATE_S = 0.2, 0.1  # how much earlier than the detector notices it speech may begin, and how much later
_OVER_S, _STILL_S = 0.35, 0.1  # how much earlier than the detector notices it speech may have ended, and how much later
_AROUND_S = _BEFORE_S + _EARLY_S
_HOP = 160  # 10 ms
_RANGE_DB = 35.0  # What is softer than this below the loud parts is breath or echo.
_RISE = 0.3  # of the way from the noise to the voice, in dB
_SILENT_DB = -100.0


class Spoken(NamedTuple):
    """A stretch of speech; places are samples of the stream, at 16 kHz."""

    start: int  # its first sample
    end: int  # the one after its last
    since: int  # the first sample of its wave, which begins in the pause before it
    wave: Wave  # (samples,) its sound, with some of the pauses around it
    channel: int | None = None  # in which it is, from 1 on; None where channels are mixed
    voice: Tensor | None = None  # a vector that tells whose it is, where that is asked

    @property
    def start_s(self) -> float:
        """Where it begins, seconds."""
        return self.start / SAMPLE_RATE

    @property
    def end_s(self) -> float:
        """Where it ends, seconds."""
        return self.end / SAMPLE_RATE

    @property
    def since_s(self) -> float:
        """Where its wave begins, seconds."""
        return self.since / SAMPLE_RATE

    @property
    def until(self) -> int:
        """The sample after the last of its wave."""
        return self.since + len(self.wave)

    def without_pauses(self) -> Spoken:
        """The same stretch without the pauses around it.

        >>> spoken = Spoken(16_000, 32_000, 0, np.zeros(48_000)).without_pauses()
        >>> spoken.since, len(spoken.wave)
        (16000, 16000)
        """
        return self._replace(since=self.start, wave=self.wave[self.start - self.since : self.end - self.since])


def join(stretches: Sequence[Spoken]) -> Waves:
    """A batch of stretches, which tells where in their waves somebody speaks.

    >>> join([Spoken(16_000, 32_000, 12_000, np.zeros(24_000))]).speech
    tensor([[ 4000, 20000]])
    """
    import torch  # not needed to find speech

    from affetto.frames import pad_waves

    speech = torch.tensor([[each.start - each.since, each.end - each.since] for each in stretches])
    return pad_waves([torch.as_tensor(each.wave) for each in stretches])._replace(speech=speech)


def quietest(samples: Wave) -> int:
    """The sample in the middle of the quietest fifth of a second; of at least 20 ms at 16 kHz.

    >>> quietest(np.concatenate([np.ones(8000), np.zeros(4000), np.ones(8000)]))
    10080
    """
    whole = len(samples) // _QUIET_FRAME * _QUIET_FRAME
    energy = np.square(samples[:whole]).reshape(-1, _QUIET_FRAME).mean(axis=1)  # (frames,)
    half, places = _SMOOTHING_FRAMES // 2, np.arange(len(energy))
    first, end = np.maximum(places - half, 0), np.minimum(places + half + 1, len(energy))
    sums = np.concatenate([[0.0], np.cumsum(energy, dtype=np.float64)])
    smooth = (sums[end] - sums[first]) / (end - first)
    best = np.flatnonzero(smooth == smooth.min())  # in digital silence there are many: the middle one
    return int(best[len(best) // 2]) * _QUIET_FRAME + _QUIET_FRAME // 2


def cut(
    blocks: Iterable[Wave | Tensor], *, live: bool = False, activity: Callable[[], Activity] | None = None
) -> Iterator[Spoken]:
    """Finds the speech in blocks of (samples,) at 16 kHz, in stretches of at most 15 s that do not overlap.

    Of blocks of (channels, samples), each channel is cut by itself. What is found depends on the sound alone, not on
    how it is divided into blocks. No more than two blocks and 18 s of sound are held at a time. ``activity`` makes what
    says how probable speech is in each of its frames; None is an `Activity` by the usual detector.

    >>> list(cut([np.zeros(20 * 16000, np.float32)]))
    []
    """
    segmenters: list[Segmenter] = []
    for given in blocks:
        block = np.asarray(given)
        waves: dict[int | None, Wave] = {None: block} if block.ndim == 1 else dict(enumerate(block, start=1))
        segmenters = segmenters or [Segmenter(channel, live=live, activity=activity) for channel in waves]
        for segmenter, wave in zip(segmenters, waves.values(), strict=True):
            yield from segmenter.feed(wave)
    for segmenter in segmenters:
        yield from segmenter.finish()


def neighbours(stretches: Iterable[Spoken], longest_s: float = 0.0) -> Iterator[tuple[Spoken, ...]]:
    """Stretches of a channel without a gap between their waves, as many as last at most so long together.

    >>> first, second = Spoken(0, 8000, 0, np.zeros(16_000)), Spoken(24_000, 32_000, 16_000, np.zeros(16_000))
    >>> [len(group) for longest_s in (2.0, 1.9) for group in neighbours([first, second], longest_s)]
    [2, 1, 1]
    """
    groups: dict[int | None, tuple[Spoken, ...]] = {}
    for each in stretches:
        group = groups.get(each.channel, ())
        if group and (each.since > group[-1].until or each.until - group[0].since > _samples(longest_s)):
            yield group
            group = ()
        groups[each.channel] = (*group, each)
    yield from groups.values()


def merge(stretches: Sequence[Spoken]) -> Spoken:
    """Such neighbours as one stretch, which has a pause that belongs to two of them once.

    >>> first, second = Spoken(0, 8000, 0, np.zeros(16_000)), Spoken(24_000, 32_000, 15_000, np.zeros(17_000))
    >>> len(merge([first, second]).wave)
    32000
    """
    more = (later.wave[earlier.until - later.since :] for earlier, later in pairwise(stretches))
    wave = np.concatenate([stretches[0].wave, *more]) if len(stretches) > 1 else stretches[0].wave
    return stretches[0]._replace(end=stretches[-1].end, wave=wave)


class Segmenter:
    """Finds the speech in a stream that comes in blocks; live, each stretch is given as soon as it has ended."""

    def __init__(
        self, channel: int | None = None, *, live: bool = False, activity: Callable[[], Activity] | None = None
    ) -> None:
        self._channel = channel
        self._activity = (activity or Activity)()
        self._centre = Centre(SAMPLE_RATE) if live else None  # files have been centred
        self._live = live
        self._quantum = (_LIVE_FRAMES if live else _FILE_FRAMES) * FRAME
        self._sound: Wave = np.zeros(0, np.float32)  # from self._base on
        self._base = 0
        self._seen = 0  # what the detector has had
        self._begin: int | None = None  # where the present speech was noticed; None in a pause
        self._continued = False  # whether it was cut there, instead
        self._doubtful = False  # whether it was noticed only because the detector kept doubting
        self._doubt = 0.0  # the mean probability of lately
        self._kept_doubting = False  # whether that was high enough for speech since the present one was noticed
        self._last = 0  # the end of its last frame that sounded like speech
        self._voiced = 0  # its samples that surely are
        self._perhaps = 0  # its samples that perhaps are
        self._taken = 0  # where the last stretch ended
        self._ended: Spoken | None = None  # a stretch that waits for the pause after it

    def feed(self, block: Wave | Tensor) -> list[Spoken]:
        """Takes the next (samples,) at 16 kHz, finite; gives the stretches known to have ended since, in time."""
        samples = np.asarray(block)
        if self._centre is not None:
            samples = self._centre.feed(samples)
        self._sound = np.concatenate([self._sound, samples])
        found: list[Spoken] = []
        while self._base + len(self._sound) - self._seen >= self._quantum:
            found += self._listen(self._quantum)
        return found

    def finish(self) -> list[Spoken]:
        """Ends the stream, and gives what was still being spoken."""
        if self._centre is not None:
            self._sound = np.concatenate([self._sound, self._centre.finish()])
        rest = self._base + len(self._sound) - self._seen
        found = self._listen(rest) if rest else []
        found += self._close() if self._begin is not None else []
        return found + self._release(self._seen)

    def present(self) -> Spoken | None:
        """What is being spoken now, as far as it has come; None in a pause, or where it may still be a click."""
        if self._begin is None or self._voiced < _samples(_SHORTEST_SPEECH_S):
            return None
        return self._stretch(self._begin, self._last, self._last)

    def _listen(self, samples: int) -> list[Spoken]:
        """Gives the detector the next samples, follows what it finds, and forgets what is done with."""
        first = self._seen
        found: list[Spoken] = []
        for number, probability in enumerate(self._activity.feed(self._between(first, first + samples))):
            self._seen = min(first + (number + 1) * FRAME, first + samples)
            found += self._follow(probability, first + number * FRAME)
        needed = (self._seen if self._begin is None else self._begin) - _samples(_AROUND_S)
        needed = needed if self._ended is None else min(needed, self._ended.since)
        if needed > self._base:
            self._sound = self._sound[needed - self._base :].copy()  # a copy lets the rest of the memory go
            self._base = needed
        return found

    def _follow(self, probability: float, frame: int) -> list[Spoken]:
        """One frame further; it begins at this sample and ends at self._seen."""
        self._doubt += (probability - self._doubt) / _LATELY_FRAMES
        found: list[Spoken] = []
        if self._begin is None:
            if probability < _BEGINS and self._doubt < _PERHAPS:
                full = self._ended is not None and self._seen >= self._ended.end + _samples(_AFTER_S)
                return self._release(self._seen) if full else []
            self._doubtful = probability < _BEGINS
            earlier = _LATELY_FRAMES * FRAME if self._doubtful else 0
            self._begin = max(frame - earlier, self._taken, self._base)
            self._last, self._voiced, self._perhaps, self._kept_doubting = self._seen, 0, 0, False
            found = self._release(self._begin - _samples(_EARLY_S))
        self._doubtful &= probability < _BEGINS
        if probability >= (_PERHAPS_GOES_ON if self._doubtful else _GOES_ON):
            self._last = self._seen
        self._kept_doubting |= self._doubt >= _PERHAPS
        self._voiced += self._seen - frame if probability >= _BEGINS else 0
        self._perhaps += self._seen - frame if probability >= _PERHAPS else 0
        if self._seen - self._last >= _samples(PAUSE_S):
            return self._close()
        if self._seen - self._begin >= _samples(LONGEST_S + _SHORTEST_REST_S):
            start, _ = self._bounds()
            return [self._split(start, _samples(LONGEST_S))]
        return found

    def _close(self) -> list[Spoken]:
        """Speech has ended: it becomes a stretch, or two if it is long, or none if it was a click."""
        start, end = self._bounds()
        found: list[Spoken] = []
        if (self._perhaps if self._kept_doubting else self._voiced) >= _samples(_SHORTEST_SPEECH_S):
            if end - start > _samples(LONGEST_S):
                latest = min(end - start - _samples(_SHORTEST_REST_S), _samples(LONGEST_S))
                found.append(self._split(start, latest))
                start = found[0].end
            self._ended = self._stretch(start, end, self._seen)
            self._taken = end
        self._begin, self._continued, self._doubt = None, False, 0.0
        return found + (self._release(self._seen) if self._live else [])

    def _split(self, start: int, latest: int) -> Spoken:
        """Cuts speech that does not pause at the quietest place between 8 s and the latest sample after its start."""
        earliest = start + _samples(_EARLIEST_S)
        place = earliest + quietest(self._between(earliest, start + latest))
        part = self._stretch(start, place, place)
        self._begin, self._continued, self._taken = place, True, place
        return part

    def _stretch(self, start: int, end: int, until: int) -> Spoken:
        """The present speech, with some of the pause before it, and the pause after it up to a sample."""
        since = max(start - (0 if self._continued else _samples(_BEFORE_S)), self._taken, self._base)
        return Spoken(start, end, since, self._between(since, until).copy(), self._channel)

    def _release(self, quiet_until: int) -> list[Spoken]:
        """The stretch that waits, if there is one, with the pause after it, which lasts up to this sample or longer."""
        if self._ended is None:
            return []
        until = min(self._ended.end + _samples(_AFTER_S), max(self._ended.until, quiet_until))
        found = self._ended._replace(wave=self._between(self._ended.since, until).copy())
        self._ended = None
        return [found]

    def _bounds(self) -> tuple[int, int]:
        """Where the present speech begins and ends."""
        assert self._begin is not None
        since = max(self._begin - _samples(_AROUND_S), self._taken, self._base)
        start, end = edges(self._between(since, self._seen), self._begin - since, self._last - since)
        return self._begin if self._continued else since + start, min(since + end, self._seen)

    def _between(self, first: int, last: int) -> Wave:
        return self._sound[first - self._base : last - self._base]


def edges(sound: Wave, begin: int, end: int) -> tuple[int, int]:
    """The first and the last loud place near where the detector, which has frames of 32 ms, finds speech in a sound.

    Loud is what rises above the noise around it and is less than 35 dB below the loud parts of the speech. Where
    nothing is, the two samples are as they were; else they are moved by at most 0.35 s.

    >>> buzz = np.tile([1.0, -1.0], 8000)
    >>> speech = np.concatenate([np.zeros(8000), buzz, np.zeros(8000)])
    >>> edges(speech, 8500, 26000)
    (8000, 24000)
    """
    whole = len(sound) // _HOP
    if whole == 0:
        return begin, end
    hops = sound[: whole * _HOP].reshape(whole, _HOP)
    level = 10 * np.log10(hops.var(axis=1).clip(min=1e-10))  # dB, (hops,)
    first, last = begin // _HOP, max(begin // _HOP + 1, end // _HOP)
    loud = level > _threshold(level[first:last], np.concatenate([level[:first], level[last:]]))
    steady = loud & (np.roll(loud, 1) | np.roll(loud, -1))  # a single one is a click
    starts = _places(steady, begin - _samples(_EARLY_S), begin + _samples(_LATE_S))
    ends = _places(steady, end - _samples(_OVER_S), end + _samples(_STILL_S))
    start = starts[0] * _HOP if starts else begin
    stop = (ends[-1] + 1) * _HOP if ends else end
    return (start, stop) if start < stop else (begin, end)


def _threshold(speech: Wave, around: Wave) -> float:
    voice = float(np.quantile(speech, 0.9)) if len(speech) else 0.0
    noise = float(np.sort(around)[(len(around) - 1) // 2]) if len(around) else _SILENT_DB  # the lower of two medians
    return max(voice - _RANGE_DB, noise + _RISE * (voice - noise))


def _places(steady: NDArray[np.bool_], first: int, last: int) -> list[int]:
    """The loud hops between two samples."""
    offset = max(first, 0) // _HOP
    return [offset + place for place in np.flatnonzero(steady[offset : max(last, 0) // _HOP]).tolist()]


def _samples(duration_s: float) -> int:
    return round(duration_s * SAMPLE_RATE)
