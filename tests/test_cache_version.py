"""What is kept of a fixed sound, against what it was when `CACHE_VERSION` was last raised.

Every change to what features, layers or variants of the sound are computed to be has to raise it: else the next run
would read what older code kept, and mix both. Where this test fails after such a change, raise `CACHE_VERSION` and set
`VERSION` and `KEPT` to it and to what ``python -m tests.test_cache_version`` prints.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from affetto.data.sound import Surroundings
from affetto.data.utterance import Utterance
from affetto.features.acoustic import AcousticConfig
from affetto.features.conditions import Condition
from affetto.features.perturbation import Perturbation
from affetto.frames import pooled
from affetto.models.deepspeech2 import ConvolutionConfig, DeepSpeech2, DeepSpeech2Config
from affetto.models.encoders.encoder import Origin
from affetto.models.encoders.native import NativeEncoder, NetworkEncoder
from affetto.models.whisper import WhisperEncoder, WhisperEncoderConfig
from affetto.represent import Acoustics, Extractor, Inputs, Layers, Variants, represent
from affetto.represent.cache import CACHE_VERSION

VERSION = 2
KEPT: dict[str, list[float]] = {
    "spectrogram: input": [49, 161, 1, 0.07788, 0.4417, -0.1164, 0.4973, -2.129, 0.75],
    "acoustic: acoustic": [49, 27, 1, 1.579, -0.4202, 0.6621, -0.6743, -1.505, -0.8628],
    "acoustic, all: acoustic": [17, 29, 32.11, 0.05429, 0.6064, 0.1622, -0.2749, 0.1342, -1.839],
    "acoustic, absolute: acoustic": [49, 28, 32.61, 2.32, -0.1891, -0.1539, -2.932, -1.979, 0.606],
    "deepspeech2: conv1": [13, 42, 10.39, 0, 20, 3.879, 20, 4.402, 0],
    "deepspeech2: gru2": [13, 8, 0.5816, 0.6255, 0.6392, 0.4937, 0.7988, 0.3572, 0.3354],
    "deepspeech2: gru2/mean": [1, 8, 0.5625, 0.703, 0.8345, 0.2268, 0.4761, 0.6488, 0.4184],
    "whisper: conv": [25, 8, 481.9, 291.8, 464, 539.5, 605.5, 534.5, 386.5],
    "whisper: layer2": [25, 8, 0.8033, 0.5381, 1.565, 0.7388, 1.076, 0.7461, 0.5454],
    "whisper: layer2/mean": [1, 8, 0.8007, 0.6976, -0.07113, 1.057, 0.7271, 0.544, 1.556],
    "perturbed: input": [47, 161, 1, 0.9248, -0.7627, 0.563, 0.8999, -2.137, -0.6709],
    "telephone: input": [49, 161, 1, 0.1301, -0.748, 0.1046, -0.5269, -0.4585, -0.3101],
    "reverb and noise: input": [49, 161, 1, -1.335, 1.118, -1.056, 0.9526, -0.1423, -0.1642],
}
"""By what is kept: frames, width, the root of the values' mean square, and six of them."""

_PLACES = (0.09, 0.236, 0.382, 0.618, 0.764, 0.91)
_SHAPE = ConvolutionConfig(channels=2, kernel=(21, 11), stride=(8, 4))


class Case(NamedTuple):
    """What is kept, and of which variant of the sound."""

    extractor: Callable[[], Extractor]
    variants: Variants = Variants()
    surroundings: Surroundings = Surroundings()


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


def _whisper() -> NetworkEncoder[WhisperEncoder]:
    network = _filled(WhisperEncoder(WhisperEncoderConfig(width=8, heads=2, depth=2, feed_forward=12)))
    assert isinstance(network, WhisperEncoder)
    return NetworkEncoder(network, Origin("fixed", "here"))


def _layers(encoder: Callable[[], NetworkEncoder]) -> Callable[[], Extractor]:  # type: ignore[type-arg]
    def make() -> Extractor:
        opened = encoder()
        return Layers(opened, (opened.layers[0].name, opened.layers[-1].name, pooled(opened.layers[-1].name)))

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
    "perturbed": Case(_spectrogram, Variants(count=1, perturbation=Perturbation(), seed=3)),
    "telephone": Case(_spectrogram, surroundings=Surroundings(Condition.parse("telephone"))),
    "reverb and noise": Case(_spectrogram, surroundings=Surroundings(Condition.parse("reverb-0.5+white-20"))),
}


def _utterance(folder: Path) -> Utterance:
    """Half a second of a voice that rises and of noise, made of sines alone."""
    time_s = np.arange(8_000) / 16_000
    phase = 2 * np.pi * (140 + 60 * time_s) * time_s
    voice = sum(np.sin(order * phase) / order for order in range(1, 9)) * np.sin(np.pi * time_s / 0.5)
    noise = np.modf(np.sin(np.arange(8_000) * 12.9898) * 43_758.5453)[0]
    soundfile.write(folder / "fixed.wav", 0.2 * voice + 0.01 * noise, 16_000, subtype="PCM_16")
    return Utterance(id="fixed", audio=folder / "fixed.wav", speaker="ann", corpus="mine")


def kept(case: Case, folder: Path) -> dict[str, list[float]]:
    """Name -> what there is of it, see `KEPT`."""
    banks = represent(
        [_utterance(folder)], case.extractor(), folder, variants=case.variants, surroundings=case.surroundings
    )
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
