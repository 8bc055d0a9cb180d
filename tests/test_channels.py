"""A channel that is recognised separately is recognised as it would be if it were a recording of its own."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from tests.models.tiny_encoders import save

from affetto import audio
from affetto.errors import ConfigError
from affetto.recognise import EmotionRecogniser
from affetto.recording import Recording
from affetto.streaming import Deferred, Failure, Samples, StreamResult, Stretch, listen
from affetto.streaming.segments import Spoken
from affetto.timeline import Judgement
from affetto.transcribe import Transcriber

Wave = NDArray[np.float32]

JUDGEMENT = Judgement(sure=0.4, smooth_s=5.0)


@pytest.fixture(scope="module")
def recogniser(tiny_model: Path) -> EmotionRecogniser:
    return EmotionRecogniser.from_pretrained(tiny_model, "cpu")


@pytest.fixture(scope="module")
def parties(call: Path) -> Wave:
    """(samples, 2)."""
    return np.asarray(soundfile.read(call / "call.wav", dtype="float32")[0])


def assert_same(channel: Recording, alone: Recording) -> None:
    """Whether one is the other, but for rounding in batches of another size."""
    assert (channel.emotion, channel.sure, channel.silent) == (alone.emotion, alone.sure, alone.silent)
    assert (channel.duration_s, channel.speech_s) == (alone.duration_s, alone.speech_s)
    assert (channel.transcript, channel.statement) == (alone.transcript, alone.statement)
    assert channel.probabilities == pytest.approx(alone.probabilities, abs=1e-5)
    assert channel.shares == pytest.approx(alone.shares)
    for one, other in zip(channel.segments, alone.segments, strict=True):
        assert (one.start_s, one.end_s, one.transcript) == (other.start_s, other.end_s, other.transcript)
        assert (one.emotion, one.sure) == (other.emotion, other.sure)
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
        assert [word[:3] for word in one.words] == [word[:3] for word in other.words]


def assert_together(recording: Recording) -> None:
    """Whether the whole is its channels."""
    for number, channel in enumerate(recording.channels, start=1):
        assert {each.channel for each in channel.segments} <= {number}
        assert tuple(each for each in recording.segments if each.channel == number) == channel.segments
    starts = [each.start_s for each in recording.segments]
    assert starts == sorted(starts)
    assert recording.speech_s == pytest.approx(sum(each.speech_s for each in recording.channels))
    for mean in ("probabilities", "shares"):
        rows = [list(getattr(each, mean).values()) for each in recording.channels]
        expected = np.average(rows, axis=0, weights=[each.speech_s for each in recording.channels])
        np.testing.assert_allclose(list(getattr(recording, mean).values()), expected, atol=1e-9)


def test_the_embedded_model_tells_two_parties_apart(call: Path) -> None:
    recogniser = EmotionRecogniser.from_pretrained(device="cpu", precision="float32")
    call_, *alone = recogniser.recognise_many([call / "call.wav", call / "1.wav", call / "2.wav"], channels="separate")
    assert isinstance(call_, Recording)
    assert [(each.channel, each.emotion) for each in call_.segments] == [
        (1, "anger"),
        (2, "sadness"),
        (1, "happiness"),
        (2, "neutral"),
    ]
    for channel, other in zip(call_.channels, alone, strict=True):
        assert isinstance(other, Recording)
        assert_same(channel, other)
    assert_together(call_)


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
@pytest.mark.parametrize("source", ["path", "stream", "samples", "stretch"])
def test_a_channel_is_recognised_as_if_it_were_alone(
    recogniser: EmotionRecogniser, parties: Wave, tmp_path: Path, rate: int, source: str
) -> None:
    path = tmp_path / "call.wav"

    def recognised(wave: Wave) -> Recording:
        soundfile.write(path, wave, rate, subtype="FLOAT")
        if source == "samples":
            return recogniser.recognise_samples(wave, rate, JUDGEMENT, channels="separate")
        if source == "stretch":
            (found,) = recogniser.recognise_many([Stretch(path, 1.0, 9.5)], judgement=JUDGEMENT, channels="separate")
            assert isinstance(found, Recording)
            return found
        given = path if source == "path" else io.BytesIO(path.read_bytes())
        return recogniser.recognise(given, JUDGEMENT, channels="separate")

    found = recognised(parties)
    assert len(found.channels) == 2
    for channel, wave in zip(found.channels, parties.T, strict=True):
        alone = recognised(np.ascontiguousarray(wave))
        assert len(alone.channels) == 1
        assert_same(channel, alone)
        assert_same(alone.channels[0], alone)
    assert_together(found)


def test_six_channels_one_of_them_silent(recogniser: EmotionRecogniser, parties: Wave) -> None:
    left, right = parties.T
    six = np.stack([left, np.zeros_like(left), right, -left, left, right + 0.2], axis=1)
    found = recogniser.recognise_samples(six, 16_000, JUDGEMENT, channels="separate")
    expected = recogniser.recognise_samples(left, 16_000, JUDGEMENT)
    for number in (0, 4):  # the same sound twice: each is recognised, and the one that cancels them, too
        assert_same(found.channels[number], expected)
    assert [len(each.segments) for each in found.channels] == [2, 0, 2, 2, 2, 2]
    assert [each.silent for each in found.channels] == [False, True, False, False, False, False]
    assert (found.channels[1].statement, found.silent) == ("no speech", False)
    assert_same(found.channels[5], recogniser.recognise_samples(right + 0.2, 16_000, JUDGEMENT))
    assert_together(found)


def test_where_nobody_speaks_channels_say_so(recogniser: EmotionRecogniser) -> None:
    found = recogniser.recognise_samples(np.zeros((32_000, 2), np.float32), 16_000, channels="separate")
    assert (found.emotion, found.silent, found.segments, len(found.channels)) == (None, True, (), 2)


def test_mixed_channels_are_none(recogniser: EmotionRecogniser, parties: Wave) -> None:
    mixed, asked = (
        recogniser.recognise_samples(parties, 16_000, **options)  # type: ignore[arg-type]
        for options in ({}, {"channels": "mix"})
    )
    assert mixed == asked
    assert (mixed.channels, {each.channel for each in mixed.segments}) == ((), {None})
    assert "channels" not in mixed.as_dict()
    assert "channel" not in mixed.to_dataframe().columns


def test_what_channels_cannot_be(recogniser: EmotionRecogniser, parties: Wave) -> None:
    with pytest.raises(ConfigError, match="channels='both'; choose one of mix, separate"):
        recogniser.recognise_samples(parties, 16_000, channels="both")  # type: ignore[arg-type]


def test_a_table_has_the_channel(recogniser: EmotionRecogniser, parties: Wave) -> None:
    found = recogniser.recognise_samples(parties, 16_000, channels="separate")
    frame = found.to_dataframe()
    assert list(frame.columns)[:3] == ["file", "channel", "start_s"]
    assert frame["channel"].tolist() == [each.channel for each in found.segments]
    assert frame["channel"].dtype == "int"


@pytest.mark.parametrize("kind", ["whisper", "deepspeech2"])
def test_words_alone_of_a_channel_are_as_if_it_were_alone(tmp_path: Path, parties: Wave, kind: str) -> None:
    transcriber = Transcriber.from_pretrained(save(kind, tmp_path), "cpu")
    waves = (parties, *parties.T)
    found, *alone = transcriber.recognise_many([Samples(wave, 16_000) for wave in waves], channels="separate")
    assert isinstance(found, Recording)
    assert [each.channel for each in found.segments] == [1, 2, 1, 2]
    assert found.transcript == " ".join(each.transcript for each in found.segments if each.transcript)
    for channel, other in zip(found.channels, alone, strict=True):
        assert isinstance(other, Recording)
        assert_same(channel, other)


def test_batches_are_shared_by_all_channels_and_each_block_is_decoded_once(parties: Wave) -> None:
    batches, decoded = [], 0

    def predict(stretches: Sequence[Spoken]) -> list[int]:
        batches.append(len(stretches))
        return [0] * len(stretches)

    def blocks() -> list[torch.Tensor]:
        nonlocal decoded
        decoded += 1
        return list(torch.from_numpy(parties.T.copy()).split(audio.SAMPLE_RATE, dim=1))

    (found,) = listen([Deferred("call", blocks)], predict)
    assert isinstance(found, StreamResult)
    assert ([each.channel for each in found.pieces], batches, decoded) == ([1, 2, 1, 2], [4], 1)


def test_a_channel_too_loud_is_an_error(parties: Wave) -> None:
    loud = parties * np.array([1, 1e8], np.float32)
    (failure,) = listen([Deferred("call", lambda: [torch.from_numpy(loud.T)])], lambda _: [], channels="separate")
    assert isinstance(failure, Failure)
    assert "times full scale" in failure.error.problem


def test_each_channel_has_a_row_of_its_own_in_a_plot(call: Path, tiny_model: Path) -> None:
    found = EmotionRecogniser.from_pretrained(tiny_model).recognise(call / "call.wav", channels="separate")
    axes = found.plot()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["channel 2", "channel 1"]
    assert {math.floor(bar.get_y()) for bar in axes.patches if bar.get_height() > 0} == {0, 1}
