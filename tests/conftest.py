"""What the tests share: where real speech lies, seeded randomness, short recordings, one thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import settings

import affetto
from affetto import audio
from affetto.cli import main
from affetto.models import checkpoint
from affetto.models.deepspeech2 import ConvolutionConfig, DeepSpeech2, DeepSpeech2Config
from affetto.models.heads import EmotionHead, save_head
from affetto.models.heads.kinds import BranchConfig, ProgressiveConfig
from affetto.models.network import save_recogniser

REPOSITORY = Path(__file__).resolve().parent.parent
FORMATS = {".opus": ("OGG", "OPUS"), ".sph": ("NIST", "PCM_16")}
"""Suffix -> libsndfile's format and subtype, where it does not guess them from the suffix."""

# The same examples on every machine, however slow: a failure is never a matter of luck.
settings.register_profile("affetto", deadline=None, derandomize=True)
settings.load_profile("affetto")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tests are small: more threads cost more than they bring."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real speech: AFFETTO_DATA, or ../shared/data beside the repository."""
    root = Path(os.environ.get("AFFETTO_DATA", REPOSITORY.parent / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"no real speech at {root}; name its folder in AFFETTO_DATA")
    return root


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20170912)


@pytest.fixture
def make_sound(tmp_path: Path, rng: np.random.Generator) -> Callable[..., Path]:
    """Writes a short recording: a gliding voiced tone in faint noise, not quite the same in each channel."""

    def make(
        name: str = "sound.wav",
        *,
        duration_s: float = 0.5,
        sample_rate: int = 16_000,
        channels: int = 1,
        subtype: str | None = None,
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        container, default_subtype = FORMATS.get(path.suffix, (None, None))
        time_s = np.arange(round(duration_s * sample_rate)) / sample_rate
        phase = 2 * np.pi * (140 * time_s + 20 * time_s**2)
        harmonics = np.arange(1, 6)[:, None]
        voice = (0.3 / harmonics * np.sin(harmonics * phase)).sum(axis=0)
        values = voice[:, None] * np.linspace(1, 0.8, channels) + 0.003 * rng.standard_normal((len(time_s), channels))
        soundfile.write(path, values, sample_rate, subtype=subtype or default_subtype, format=container)
        return path

    return make


@pytest.fixture(scope="session")
def demo() -> dict[str, torch.Tensor]:
    """The bundled recordings by name, (samples,) each at 16 kHz; sounds that are made up are no speech."""
    folder = Path(affetto.__file__).parent / "demo"
    return {path.stem: audio.load(path) for path in sorted(folder.glob("*.flac"))}


@pytest.fixture(scope="session")
def call(tmp_path_factory: pytest.TempPathFactory, demo: dict[str, torch.Tensor]) -> Path:
    """A folder with a call of two parties, call.wav, and what each of them says, 1.wav and 2.wav."""
    folder = tmp_path_factory.mktemp("call")
    parties = np.zeros((2, 14 * audio.SAMPLE_RATE), np.float32)
    for channel, name, start_s in ((0, "angry", 0.5), (1, "sad", 2.2), (0, "happy", 6.1), (1, "neutral", 9.3)):
        start = round(start_s * audio.SAMPLE_RATE)
        parties[channel, start : start + len(demo[name])] = demo[name]
    for name, wave in (("call", parties.T), ("1", parties[0]), ("2", parties[1])):
        soundfile.write(folder / f"{name}.wav", wave, audio.SAMPLE_RATE, subtype="FLOAT")
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole model, as it lies on disk, with random weights: it hears nonsense, but quickly."""
    folder = tmp_path_factory.mktemp("tiny")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        shape = ConvolutionConfig(channels=2, kernel=(21, 11), stride=(8, 4))
        speech = DeepSpeech2(DeepSpeech2Config(convolutions=(shape,), width=8, depth=2, merge="sum")).eval()
        head_config = ProgressiveConfig(layer="gru2", branch=BranchConfig(units=4, depth=1))
        head = EmotionHead(head_config, ("anger", "happiness", "neutral", "sadness"), {"gru2": 8}).eval()
        torch.nn.init.normal_(speech.output.weight, std=5.0)  # so that it spells something
        torch.nn.init.normal_(head.output.weight)  # and that emotions differ
    save_recogniser(folder / "recogniser.safetensors", speech, {"licence": "none"})
    save_head(folder / "emotion.safetensors", head, {"encoder_fingerprint": checkpoint.fingerprint(speech)})
    return folder


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the model `tiny` as ONNX graphs, exactly."""
    pytest.importorskip("onnx")
    folder = tmp_path_factory.mktemp("onnx") / "float32"
    with pytest.raises(SystemExit) as ended:
        main(["model", "export", "--output", str(folder)])
    assert ended.value.code == 0
    return folder
