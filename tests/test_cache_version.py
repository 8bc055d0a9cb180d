"""What is kept of a fixed sound, against what it was when `CACHE_VERSION` was last raised.

Every change to what features, layers or variants of the sound are computed to be has to raise it: else the next run
would read what older code kept, and mix both. Where this test fails after such a change, raise `CACHE_VERSION` and set
`VERSION` and `KEPT` to it and to what ``python -m tests.test_cache_version`` prints.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

import affetto
from affetto.data.sound import Surroundings
from affetto.data.utterance import Utterance
from affetto.features.acoustic import AcousticConfig
from affetto.features.conditions import Condition
from affetto.features.perturbation import Perturbation
from affetto.frames import STATISTICS, pooled
from affetto.models.deepspeech2 import ConvolutionConfig, DeepSpeech2, DeepSpeech2Config
from affetto.models.encoders.encoder import Origin
from affetto.models.encoders.native import NativeEncoder, NetworkEncoder
from affetto.models.whisper import WhisperEncoder, WhisperEncoderConfig
from affetto.represent import Acoustics, Extractor, Inputs, Layers, Variants, represent
from affetto.represent.cache import CACHE_VERSION

VERSION = 5
KEPT: dict[str, list[float]] = {
    "spectrogram: input": [49, 161, 1, 0.09943, 0.541, -0.05539, -0.501, -1.89, 0.7363],
    "acoustic: acoustic": [49, 27, 1, 0.8799, -0.1841, -1.016, -1.342, -1.45, -0.07068],
    "acoustic, all: acoustic": [17, 29, 30.76, 0.0979, 6.836, -1.242, -0.428, -0.47, -0.113],
    "acoustic, absolute: acoustic": [49, 28, 31.54, 2.277, -0.2072, -0.2947, -3.486, -2.227, 0.1996],
    "deepspeech2: conv1": [13, 42, 9.166, 12.84, 20, 3.039, 0, 3.348, 0],
    "deepspeech2: gru2": [13, 8, 0.5841, 0.6221, 0.647, 0.5063, 0.8052, 0.3711, 0.3049],
    "deepspeech2: gru2/deviation": [1, 8, 0.1506, 0.149, 0.1512, 0.07824, 0.16, 0.2131, 0.1184],
    "deepspeech2: gru2/mean": [1, 8, 0.5643, 0.7097, 0.8329, 0.2358, 0.4811, 0.6325, 0.4313],
    "whisper: conv": [25, 8, 529, 562.5, 736, 734.5, 531.5, 351.2, 83],
    "whisper: layer2": [25, 8, 0.8105, 0.448, 1.681, 0.7871, 1.07, 0.4958, 0.6348],
    "whisper: layer2/deviation": [1, 8, 0.108, 0.2018, 0.1249, 0.0406, 0.02672, 0.08798, 0.1448],
    "whisper: layer2/mean": [1, 8, 0.8033, 0.7318, -0.1004, 1.065, 0.738, 0.5194, 1.552],
    "whisper, level: conv": [25, 8, 574, 613.5, 788, 782.5, 581.5, 400.2, 126.2],
    "whisper, level: layer2": [25, 8, 0.8192, 0.4277, 1.688, 0.7993, 1.079, 0.5249, 0.627],
    "whisper, level: layer2/deviation": [1, 8, 0.1153, 0.2126, 0.1346, 0.04493, 0.03029, 0.09684, 0.1546],
    "whisper, level: layer2/mean": [1, 8, 0.811, 0.772, -0.126, 1.073, 0.7459, 0.4973, 1.566],
    "perturbed: input": [47, 161, 1, 1.164, -0.2644, 0.9492, 0.7119, -1.563, -0.5635],
    "telephone: input": [49, 161, 1, 0.06287, -0.6865, 1.04, 0.02466, -1.654, -0.7002],
    "reverb and noise: input": [49, 161, 1, -1.523, 1.357, -1.786, 0.915, -0.9028, -0.6055],
    "speech: conv": [180, 8, 1.207, 1.14, 1.365, 1.013, 0.7808, 1.187, 0.161],
    "speech: layer2": [180, 8, 0.7384, 0.07465, 1.011, 0.6519, 0.07953, 0.7041, 0.6426],
    "speech: layer2/deviation": [1, 8, 0.006766, 0.01365, 0.00601, 0.002564, 0.001062, 0.00426, 0.008856],
    "speech: layer2/mean": [1, 8, 0.7384, 0.4091, 0.0814, 1.01, 0.703, 0.6486, 1.373],
}
"""By what is kept: frames, width, the root of the values' mean square, and six of them."""

_PLACES = (0.09, 0.236, 0.382, 0.618, 0.764, 0.91)
_SHAPE = ConvolutionConfig(channels=2, kernel=(21, 11), stride=(8, 4))


class Case(NamedTuple):
    """What is kept, and of which variant of the sound."""

    extractor: Callable[[], Extractor]
    variants: Variants = Variants()
    surroundings: Surroundings = Surroundings()
    spoken: bool = False  # a bundled recording instead of the sound that is made up


def _filled(network: nn.Module) -> nn.Module:
    """With numbers that no library draws."""
    with torch.no_grad():
        for place, (_, values) in enumerate(sorted(network.state_dict().items())):
            if values.is_floating_point():
                values.copy_(0.6 + 0.5 * torch.sin(torch.arange(values.numel()) * (place + 2.0)).view(values.shape))
    return network


def _deepspeech2() -> DeepSpeech2:
    network = _filled(DeepSpeech2(DeepSpeech2Config(convolutions=(_SHAPE,), width=4, depth=2)))
    assert isinstance(network, DeepSpeech2)
    return network


def _whisper(level: float | None = None) -> NetworkEncoder[WhisperEncoder]:
    shape = WhisperEncoderConfig(width=8, heads=2, depth=2, feed_forward=12, level=level)
    network = _filled(WhisperEncoder(shape))
    assert isinstance(network, WhisperEncoder)
    return NetworkEncoder(network, Origin("fixed", "here"))


def _layers(encoder: Callable[[], NetworkEncoder]) -> Callable[[], Extractor]:  # type: ignore[type-arg]
    def make() -> Extractor:
        opened = encoder()
        last = opened.layers[-1].name
        return Layers(opened, (opened.layers[0].name, last, *(pooled(last, each) for each in STATISTICS)))

    return make


def _spectrogram() -> Extractor:
    return Inputs(NativeEncoder(_deepspeech2()))


CASES = {
    "spectrogram": Case(_spectrogram),
    "acoustic": Case(lambda: Acoustics(AcousticConfig())),
    "acoustic, all": Case(lambda: Acoustics(AcousticConfig(voicing=True, loudness=True, level="relative", stride=3))),
    "acoustic, absolute": Case(lambda: Acoustics(AcousticConfig(loudness=True, level="absolute", pitch_window=5))),
    "deepspeech2": Case(_layers(lambda: NativeEncoder(_deepspeech2()))),
    "whisper": Case(_layers(_whisper)),
    "whisper, level": Case(_layers(lambda: _whisper(level=1.0))),
    "perturbed": Case(_spectrogram, Variants(count=1, perturbation=Perturbation(), seed=3)),
    "telephone": Case(_spectrogram, surroundings=Surroundings(Condition.parse("telephone"))),
    "reverb and noise": Case(_spectrogram, surroundings=Surroundings(Condition.parse("reverb-0.5+white-20"))),
    "speech": Case(_layers(_whisper), surroundings=Surroundings(speech_only=True), spoken=True),
}


def _utterance(folder: Path) -> Utterance:
    """Half a second of a voice whose octave is in doubt, then noise; made of sines alone."""
    time_s = np.arange(8_000) / 16_000
    phase = 2 * np.pi * (140 + 60 * time_s) * time_s
    octave = np.where(time_s < 0.2, 1.0, 0.18)  # how strong odd harmonics are
    voice = sum(np.sin(order * phase) / order * (octave if order % 2 else 1.0) for order in range(1, 9))
    noise = np.modf(np.sin(np.arange(8_000) * 12.9898) * 43_758.5453)[0]
    loudness = np.interp(time_s, [0, 0.1, 0.35, 0.4, 0.5], [0, 1, 0.6, 0, 0])
    soundfile.write(folder / "fixed.wav", 0.2 * voice * loudness + 0.02 * noise, 16_000, subtype="PCM_16")
    return Utterance(id="fixed", audio=folder / "fixed.wav", speaker="ann", corpus="mine")


def kept(case: Case, folder: Path) -> dict[str, list[float]]:
    """Name -> what there is of it, see `KEPT`."""
    utterance = _utterance(folder)
    if case.spoken:
        utterance = replace(utterance, audio=Path(affetto.__file__).parent / "demo" / "sad.flac")
    banks = represent([utterance], case.extractor(), folder, variants=case.variants, surroundings=case.surroundings)
    found = {}
    for name, bank in sorted(banks.items()):
        values = bank.batch(np.array([0]), np.array([case.variants.count])).values[0].double()
        some = values.flatten()[[int(share * values.numel()) for share in _PLACES]]
        found[name.partition("-")[0]] = [*values.shape, float(values.square().mean().sqrt()), *some.tolist()]
    return found


def test_the_version_is_the_one_that_was_recorded() -> None:
    assert CACHE_VERSION == VERSION


@pytest.mark.parametrize("name", CASES)
def test_what_is_kept_has_not_changed_since(name: str, tmp_path: Path) -> None:
    for part, numbers in kept(CASES[name], tmp_path).items():
        advice = "what is kept has changed: raise CACHE_VERSION in represent/cache.py, and see this file's first lines"
        np.testing.assert_allclose(numbers, KEPT[f"{name}: {part}"], rtol=2e-3, atol=2e-3 * numbers[2], err_msg=advice)


if __name__ == "__main__":
    for name, case in CASES.items():
        for part, numbers in kept(case, Path(tempfile.mkdtemp())).items():
            print(f'    "{name}: {part}": [{", ".join(f"{number:.4g}" for number in numbers)}],')  # noqa: T201
