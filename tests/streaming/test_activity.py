"""The detector says what silero-vad's own code says, whatever the blocks, and takes offset and softness for nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from affetto.errors import CheckpointError
from affetto.streaming import detector
from affetto.streaming.activity import FRAME, Activity
from affetto.streaming.detector import half_band, speech_detector


@pytest.fixture(scope="module")
def reference() -> torch.jit.ScriptModule:
    """The network as its makers publish it, code and all."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.load(detector._weights())


@pytest.mark.parametrize("name", ["angry", "happy", "neutral", "sad"])
def test_it_is_silero_vad(demo: dict[str, Tensor], reference: torch.jit.ScriptModule, name: str) -> None:
    sound = demo[name][: len(demo[name]) // FRAME * FRAME]
    ours = speech_detector()
    taps = ours.halve.shape[2]
    narrow = functional.conv1d(functional.pad(sound, (taps - 2, 0))[None, None], ours.halve, stride=2)[0]
    expected = reference.audio_forward(narrow, 8_000)[0]
    found, _ = ours(sound.reshape(-1, FRAME), ours.forget())
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert found.max() > 0.9


@pytest.mark.parametrize(("pitch_hz", "left"), [(300, 1.0), (3000, 1.0), (5000, 0.003), (7800, 0.003)])
def test_half_the_rate_holds_what_it_can(pitch_hz: float, left: float) -> None:
    tone = torch.sin(2 * torch.pi * pitch_hz * torch.arange(16_000) / 16_000)
    narrow = functional.conv1d(tone[None, None], half_band(63)[None, None], stride=2)
    assert float(narrow.std()) * 2**0.5 == pytest.approx(left, abs=0.003)


@pytest.mark.parametrize("frames", [1, 7, 50])
def test_blocks_change_nothing(demo: dict[str, Tensor], frames: int) -> None:
    sound = demo["sad"]
    whole, parts = Activity(), Activity()
    again = [value for block in sound.split(frames * FRAME) for value in parts.feed(block)]
    np.testing.assert_allclose(again, whole.feed(sound), atol=1e-4)


@pytest.mark.parametrize("offset", [-0.5, 0.02, 0.3])
@pytest.mark.parametrize("gain", [0.002, 0.02, 0.2, 1.0])
def test_speech_is_recognised_whatever_the_offset_and_the_level(
    demo: dict[str, Tensor], offset: float, gain: float
) -> None:
    usual = np.array(Activity().feed(demo["happy"])) > 0.5
    found = np.array(Activity().feed(demo["happy"] * gain + offset)) > 0.5
    assert usual.mean() > 0.6
    assert (found == usual).mean() > 0.85


def test_importing_it_leaves_threads_alone() -> None:
    program = (
        "import torch; torch.set_num_threads(3); from affetto.streaming.detector import speech_detector; "
        "speech_detector(); print(torch.get_num_threads())"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "3\n"


def test_finding_speech_leaves_threads_as_they_were(demo: dict[str, Tensor]) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: Activity().feed(demo["sad"]), range(8)))
        Activity().feed(demo["sad"])
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_missing_weights_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector, "_PACKAGE", "silero-vad-that-is-not-installed")
    with pytest.raises(CheckpointError, match="is not installed"):
        detector._weights()


def test_other_weights_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector, "_WEIGHTS", "silero_vad_99.jit")
    with pytest.raises(CheckpointError, match="holds no silero_vad_99"):
        detector._weights()


def test_damaged_weights_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector, "_WEIGHTS", "silero_vad.onnx")
    with pytest.raises(CheckpointError, match="cannot be used"):
        speech_detector.__wrapped__()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_fork_while_others_compute_on_one_thread_can_do_so_too() -> None:
    program = (
        "import os, torch; from affetto.devices import one_thread, survive_forks; survive_forks(); "
        "one_thread._lock.acquire()\n"
        "if not os.fork():\n"
        "    with one_thread: os._exit(torch.get_num_threads())\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.wait()[1]))"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=120, check=False).returncode == 1
