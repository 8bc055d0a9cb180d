"""Who speaks: where the voice changes within a stretch of speech, and which stretches share one.

A network makes a vector of each 1.6 s of a voice, near that of the same voice and far from others (Wan et al. 2018,
Generalized End-to-End Loss for Speaker Verification). Network and weights are Resemblyzer's; its own code is not used,
for it imports far more than it needs to run them (docs/decisions/resemblyzer.md).
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from affetto.audio import SAMPLE_RATE, Channels
from affetto.errors import CheckpointError, ConfigError, MissingExtraError
from affetto.features.spectrogram import mel_filters
from affetto.streaming import StreamResult
from affetto.streaming.segments import Spoken, quietest

T = TypeVar("T")

Speakers = int | Literal["auto"]  # how many speak, or find out

_MELS, _WIDTH, _DEPTH = 40, 256, 3
_FFT, _FRAME = 400, 160  # samples: 25 ms, every 10 ms
_WINDOW, _HOP = 160, 40  # frames: 1.6 s, every 0.4 s
_HOPS = _WINDOW // _HOP  # in a window
_LOUDNESS = 10 ** (-30 / 20)  # root mean square: what is softer is raised to it
_TOGETHER = 64  # windows at a time, or one stretch
_NEAR = round(0.3 * SAMPLE_RATE)  # of where the voice seems to change, it does where it is quietest
# The next four were chosen on speech that tests nothing (docs/results/speakers.md).
_CHANGE = 0.6  # cosine of the windows before and after a place, below which the voice changes there
_APART, _GROWTH = 0.5, 0.3  # of n turns, two groups are of two speakers from Ward's distance 0.5 n ** 0.3 on
_SHORT_S = 2.0  # what is shorter starts no group, unless most are
_MOST = 4000  # turns that start groups, for each is compared with each
_PACKAGE, _WEIGHTS, _REMEDY = "resemblyzer", "pretrained.pt", 'pip install "affetto[speakers]"'


class VoiceEncoder(nn.Module):
    """A vector of length 1 for each window of a voice.

    >>> VoiceEncoder()(torch.rand(2, 160, 40)).shape
    torch.Size([2, 256])
    """

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(_MELS, _WIDTH, _DEPTH, batch_first=True)
        self.linear = nn.Linear(_WIDTH, _WIDTH)

    def forward(self, windows: Tensor) -> Tensor:
        """(windows, 256), none of them negative, from (windows, 160, 40)."""
        _, (hidden, _) = self.lstm(windows)
        return functional.normalize(functional.relu(self.linear(hidden[-1])), dim=-1)


def check_speakers(speakers: Speakers, channels: Channels = "mix") -> None:
    """Whether so many can be told apart here.

    Raises ConfigError where it is no such number, or channels are voices of their own already, and MissingExtraError
    where what it takes is not installed.
    """
    given: object = speakers  # whatever the caller's types say
    if given != "auto" and not (isinstance(given, int) and given >= 1):
        raise ConfigError(f"speakers={speakers!r}", "give a number from 1 on, or auto")
    if channels != "mix":
        raise ConfigError("speakers in separate channels", "ask for one of the two")
    if not can_tell_apart():
        raise MissingExtraError("what tells speakers apart is not installed", _REMEDY)


def can_tell_apart() -> bool:
    """Whether the package with the weights is installed, and scipy."""
    return all(find_spec(package) is not None for package in (_PACKAGE, "scipy"))


@cache
def voice_encoder(device: torch.device | str) -> VoiceEncoder:
    """The network with its weights, loaded once."""
    spec = find_spec(_PACKAGE)
    path = Path("" if spec is None else spec.origin or "").parent / _WEIGHTS
    encoder = VoiceEncoder()
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)["model_state"]  # no code of the file runs
        encoder.load_state_dict({name: weights[name] for name in encoder.state_dict()})
    except (OSError, RuntimeError, KeyError, pickle.UnpicklingError) as error:
        raise CheckpointError("its weights cannot be used", f"{_REMEDY} --force-reinstall", path) from error
    return encoder.to(device).eval().requires_grad_(False)


def windows(wave: Tensor) -> Tensor:
    """What the network reads of (samples,) at 16 kHz: mel powers, (windows, 160, 40), zeros after what is shorter.

    >>> windows(torch.zeros(40_000)).shape
    torch.Size([3, 160, 40])
    """
    loudness = float(wave.square().mean().sqrt())
    wave = functional.pad(wave * max(1.0, _LOUDNESS / max(loudness, 1e-6)), (_FFT // 2, _FFT // 2))
    spectrum = torch.fft.rfft(wave.unfold(0, _FFT, _FRAME) * torch.hann_window(_FFT))
    powers = spectrum.real.square() + spectrum.imag.square()  # (frames, 201)
    mels = powers @ mel_filters(_MELS, _FFT // 2 + 1, equal_area=True)
    mels = functional.pad(mels, (0, 0, 0, max(0, _WINDOW - len(mels))))
    return mels.unfold(0, _WINDOW, _HOP).transpose(1, 2)


def turns(stretches: Iterable[Spoken], device: torch.device | str) -> Iterator[Spoken]:
    """Stretches of speech parted where the voice changes, each with the vector of its voice."""
    waiting: list[tuple[Spoken, Tensor]] = []
    for each in stretches:
        waiting.append((each, windows(torch.from_numpy(each.without_pauses().wave))))
        if sum(len(own) for _, own in waiting) >= _TOGETHER:
            yield from _parted(waiting, device)
            waiting = []
    yield from _parted(waiting, device)


@torch.inference_mode()
def _parted(waiting: Sequence[tuple[Spoken, Tensor]], device: torch.device | str) -> Iterator[Spoken]:
    if not waiting:
        return
    vectors = voice_encoder(device)(torch.cat([own for _, own in waiting]).to(device)).cpu()
    for spoken, own in waiting:
        voices, vectors = vectors[: len(own)], vectors[len(own) :]
        found = changes(voices)
        places = [_quiet_place(spoken, each) for each in found]
        hops = pairwise([0, *found, len(voices) + _HOPS - 1])
        times = pairwise([(spoken.start, spoken.since), *((each, each) for each in places), (spoken.end, spoken.until)])
        for (first, last), ((start, since), (end, until)) in zip(hops, times, strict=True):
            own_voice = voices[first : max(first + 1, last - _HOPS + 1)].mean(dim=0)  # of windows without the change
            wave = spoken.wave[since - spoken.since : until - spoken.since]
            yield Spoken(start, end, since, wave, spoken.channel, functional.normalize(own_voice, dim=-1))


def _quiet_place(spoken: Spoken, hop: int) -> int:
    """The sample, near a hop, at which a stretch is parted."""
    first = spoken.start - spoken.since + hop * _HOP * _FRAME - _NEAR
    return spoken.since + first + quietest(spoken.wave[first : first + 2 * _NEAR])


def changes(vectors: Tensor) -> list[int]:
    """The hops at which another voice begins, from windows of (windows, width); the plainest change is found first.

    >>> changes(torch.eye(2).repeat_interleave(6, dim=0))
    [6]
    """
    likeness = (vectors[:-_HOPS] * vectors[_HOPS:]).sum(dim=-1).tolist()  # of what ends and begins at each border
    found: list[int] = []
    for place in sorted(range(len(likeness)), key=likeness.__getitem__):
        border = place + _HOPS
        if likeness[place] < _CHANGE and all(abs(border - other) >= _HOPS for other in found):
            found.append(border)
    return sorted(found)


def group(voices: Tensor, durations_s: Sequence[float], speakers: Speakers, apart: float = _APART) -> list[int]:
    """Which turns share a speaker: a number for each, from 1 on in the order of their first turns.

    Of voices, (turns, width), each of length 1. The long ones are grouped agglomeratively, by Ward's criterion; then
    each joins the nearest group. Of fewer turns than speakers, each has its own. ``apart`` is the unit of Ward's
    distance, which grows with the number of turns, from which groups are two speakers': so "auto" finds how many.

    >>> voices = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> group(voices, [2.0, 2.0, 0.5], "auto"), group(voices, [2.0, 2.0, 0.5], 1)
    ([1, 2, 1], [1, 1, 1])
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    least = 1 if speakers == "auto" else speakers
    by_length = sorted(range(len(voices)), key=lambda place: -durations_s[place])
    short_s = min(_SHORT_S, median(durations_s))
    long = [place for rank, place in enumerate(by_length) if rank < least or durations_s[place] >= short_s][:_MOST]
    found = torch.ones(1, dtype=torch.int64)
    if len(long) > 1:
        given = (speakers, "maxclust")
        limit, criterion = (apart * len(long) ** _GROWTH, "distance") if speakers == "auto" else given
        tree = linkage(voices[long].double().numpy(), "ward")
        found = torch.from_numpy(fcluster(tree, limit, criterion))
    centres = torch.stack([voices[long][found == number].mean(dim=0) for number in range(1, int(found.max()) + 1)])
    groups = 1 + (voices @ functional.normalize(centres, dim=-1).T).argmax(dim=-1)
    groups[long] = found.to(groups)
    order = {group: number for number, group in enumerate(dict.fromkeys(groups.tolist()), start=1)}
    return [order[group] for group in groups.tolist()]


def tell_apart(found: StreamResult[T], speakers: Speakers) -> StreamResult[T]:
    """A recording of `turns` with who speaks in each, and each speaker by itself."""
    voices = [each.voice for each in found.pieces if each.voice is not None]
    durations_s = [each.end_s - each.start_s for each in found.pieces]
    numbers = group(torch.stack(voices), durations_s, speakers) if voices else []
    pieces = tuple(replace(each, speaker=number) for each, number in zip(found.pieces, numbers, strict=True))
    own = [tuple(each for each in pieces if each.speaker == number) for number in sorted(set(numbers))]
    return replace(found, pieces=pieces, speakers=tuple(replace(found, pieces=each) for each in own))
