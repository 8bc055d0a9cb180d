"""What a recogniser can learn from, and why the rest is left out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from affetto.data.transcribed import Transcribed, batch_loader, fewest_frames, select
from affetto.data.utterance import Utterance
from affetto.frames import pad_waves
from affetto.models.deepspeech2 import ConvolutionConfig, DeepSpeech2, DeepSpeech2Config
from affetto.text import Alphabet

LIMITS: dict[str, Any] = {"max_duration_s": 2.0, "frame_rate_hz": 25.0}


def _said(path: Path, text: str | None, **times: Any) -> Utterance:
    return Utterance(id=path.stem, audio=path, speaker="ann", corpus="mine", text=text, **times)


@pytest.mark.parametrize(
    ("text", "times", "reason"),
    [
        ("Hello!", {}, None),
        (None, {}, "no transcript"),
        ("...", {}, "no transcript"),
        ("x" + "yx" * 12, {}, "transcript too long for the audio"),
        ("aaaaaaaaaaaaa", {}, "transcript too long for the audio"),  # 13 letters, but 12 blanks between them
        ("Hi", {"start_s": 1.5, "end_s": 2.0}, "beyond the end of the audio"),
        ("a" + "ba" * 8, {"end_s": 0.5}, "transcript too long for the audio"),
        ("a" + "ba" * 8, {"end_s": 99.0}, None),  # there is no more than 1 s, which is enough
    ],
)
def test_keeps_or_counts_why_not(
    make_sound: Callable[..., Path], text: str | None, times: dict[str, float], reason: str | None
) -> None:
    path = make_sound(duration_s=1.0)
    kept, left_out = select([_said(path, text, **times)], Alphabet(), **LIMITS)
    assert dict(left_out) == ({} if reason is None else {reason: 1})
    assert len(kept) == (reason is None)


def test_normalises_and_measures(make_sound: Callable[..., Path]) -> None:
    path = make_sound(duration_s=1.5)
    kept, _ = select([_said(path, "It’s 7!", start_s=0.5)], Alphabet(), **LIMITS)
    assert [(each.text, each.duration_s) for each in kept] == [("it's seven", pytest.approx(1.0))]


def test_counts_reasons_together(make_sound: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    files = [make_sound("long.wav", duration_s=2.5), make_sound("silent.wav"), tmp_path / "broken.wav", tmp_path / "no"]
    texts = ["hi", None, "hi", "hi"]
    kept, left_out = select([_said(*each) for each in zip(files, texts, strict=True)], Alphabet(), **LIMITS)
    assert kept == []
    assert dict(left_out) == {"over 2 s": 1, "no transcript": 1, "unreadable audio": 2}


def test_characters_that_the_recogniser_does_not_spell(make_sound: Callable[..., Path]) -> None:
    path = make_sound(duration_s=1.0)
    kept, left_out = select([_said(path, "abc"), _said(path, "ab ba")], Alphabet(" ab"), **LIMITS)
    assert [each.text for each in kept] == ["ab ba"]
    assert dict(left_out) == {"characters outside the alphabet": 1}


@pytest.mark.parametrize(("text", "frames"), [("a", 1), ("ab", 2), ("aa", 3), ("abba", 5), ("hello", 6)])
def test_fewest_frames_is_where_ctc_becomes_possible(text: str, frames: int) -> None:
    """torch's loss is infinite with one frame less."""
    classes = Alphabet().encode(text)
    assert fewest_frames(classes) == frames

    def loss(time: int) -> float:
        log_probs = torch.zeros(time, 1, 29).log_softmax(-1)
        return torch.nn.functional.ctc_loss(log_probs, torch.tensor([classes]), (time,), (len(classes),)).item()

    assert torch.isfinite(torch.tensor(loss(frames)))
    assert frames == 1 or loss(frames - 1) == float("inf")


MODEL = DeepSpeech2(
    DeepSpeech2Config(
        convolutions=(ConvolutionConfig(channels=1, kernel=(21, 11), stride=(16, 4)),), width=1, depth=1, merge="sum"
    )
).eval()


@given(samples=st.integers(320, 12_000))
def test_what_is_kept_has_frames_enough(samples: int) -> None:
    longest = int(samples / 16_000 * MODEL.output_rate_hz) - 1  # see select
    with torch.no_grad():
        frames = MODEL(pad_waves([torch.zeros(samples)])).log_probs.lengths.item()
    assert longest <= frames <= longest + 2


def test_a_batch(make_sound: Callable[..., Path]) -> None:
    items = [
        Transcribed(_said(make_sound("a.wav", duration_s=0.25), None), "it", 0.25),
        Transcribed(_said(make_sound("b.wav", duration_s=1.0), None, start_s=0.25, end_s=0.75), "a", 0.5),
    ]
    batch = batch_loader(Alphabet())(items)
    assert batch is not None
    assert batch.inputs.lengths.tolist() == [4000, 8000]
    assert batch.targets.tolist() == [[11, 22], [3, 0]]
    assert (batch.target_lengths.tolist(), batch.texts) == ([2, 1], ["it", "a"])


def test_what_turns_out_unreadable_is_left_out_with_a_warning(
    make_sound: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    broken = Transcribed(_said(tmp_path / "broken.wav", None), "it", 0.5)
    good = Transcribed(_said(make_sound(), None), "a", 0.5)
    with caplog.at_level(logging.WARNING, logger="affetto"):
        batch = batch_loader(Alphabet())([broken, good])
        assert batch_loader(Alphabet())([broken]) is None
    assert batch is not None
    assert batch.texts == ["a"]
    assert len(batch.inputs.lengths) == 1
    assert caplog.text.count("broken.wav") == 2
