"""What a recording sounds like depends on nothing but itself, and a model that is not whole is refused."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import torch

import affetto
from affetto import audio, pretrained
from affetto.errors import AudioError, CheckpointError, ConfigError
from affetto.recognise import Recogniser, Recording, Segment, join_segments
from affetto.streaming import Failure

DEMO = sorted((Path(affetto.__file__).parent / "demo").glob("*.flac"))
EMOTIONS = ("anger", "happiness", "neutral", "sadness")


@pytest.fixture(scope="module")
def recogniser(tiny_model: Path) -> Recogniser:
    return Recogniser.from_pretrained(tiny_model, "cpu")


def shares(recording: Recording | Segment) -> np.ndarray:
    return np.array([recording.probabilities[emotion] for emotion in EMOTIONS])


def recordings(results: object) -> list[Recording]:
    found = list(results)  # type: ignore[call-overload]
    assert not [result for result in found if isinstance(result, Failure)]
    return found


def test_it_is_at_hand() -> None:
    assert affetto.Recogniser is Recogniser


@pytest.mark.parametrize("number", range(len(DEMO)))
def test_batch_mates_change_nothing(recogniser: Recogniser, make_sound: Callable[..., Path], number: int) -> None:
    alone = recogniser.recognise(DEMO[number])
    among = recordings(recogniser.recognise_many([make_sound(duration_s=11), *DEMO, make_sound("b.wav")]))[1 + number]
    np.testing.assert_allclose(shares(among), shares(alone), atol=1e-4)
    assert (among.transcript, among.duration_s) == (alone.transcript, alone.duration_s)


def test_the_same_twice_is_the_same(recogniser: Recogniser) -> None:
    assert recordings(recogniser.recognise_many(DEMO)) == recordings(recogniser.recognise_many(DEMO))


@pytest.fixture(scope="module")
def long_sound() -> torch.Tensor:
    return torch.cat([audio.load(path) for path in DEMO] * 3)


def test_a_segment_is_heard_as_if_it_were_alone(recogniser: Recogniser, long_sound: torch.Tensor) -> None:
    recording = recogniser.recognise_samples(long_sound, 16_000)
    segment = recording.segments[1]
    stretch = long_sound[round(segment.start_s * 16_000) : round(segment.end_s * 16_000)]
    alone = recogniser.recognise_samples(stretch, 16_000)
    np.testing.assert_allclose(shares(alone), shares(segment), atol=1e-4)
    assert alone.transcript == segment.transcript


def test_a_recording_is_the_mean_of_its_segments(recogniser: Recogniser, long_sound: torch.Tensor) -> None:
    recording = recogniser.recognise_samples(long_sound, 16_000)
    durations = [segment.end_s - segment.start_s for segment in recording.segments]
    assert len(durations) > 2
    assert sum(durations) == pytest.approx(recording.duration_s)
    expected = np.average([shares(segment) for segment in recording.segments], axis=0, weights=durations)
    np.testing.assert_allclose(shares(recording), expected, rtol=1e-9)
    assert recording.emotion == EMOTIONS[int(expected.argmax())]
    assert recording.transcript.split() == " ".join(segment.transcript for segment in recording.segments).split()


def test_probabilities_are_probabilities(recogniser: Recogniser, long_sound: torch.Tensor) -> None:
    recording = recogniser.recognise_samples(long_sound, 16_000)
    every = np.array([shares(recording), *(shares(segment) for segment in recording.segments)])
    assert tuple(recording.probabilities) == recogniser.emotions == EMOTIONS
    np.testing.assert_allclose(every.sum(axis=1), 1, atol=1e-5)
    assert (every > 0).all()


def test_a_file_however_given(recogniser: Recogniser) -> None:
    with DEMO[0].open("rb") as file:
        results = recordings(recogniser.recognise_many([DEMO[0], str(DEMO[0]), file]))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(("sample_rate", "channels"), [(8_000, 1), (192_000, 1), (16_000, 8)])
def test_any_rate_and_number_of_channels(
    recogniser: Recogniser, make_sound: Callable[..., Path], sample_rate: int, channels: int
) -> None:
    recording = recogniser.recognise(make_sound(sample_rate=sample_rate, channels=channels))
    assert recording.duration_s == pytest.approx(0.5, abs=0.001)
    assert shares(recording).sum() == pytest.approx(1)


def test_what_cannot_be_heard_is_an_error(recogniser: Recogniser) -> None:
    with pytest.raises(AudioError, match=r"nowhere\.wav: no such file"):
        recogniser.recognise("nowhere.wav")


def test_values_for_json_survive_it(recogniser: Recogniser) -> None:
    values = recogniser.recognise(DEMO[0]).as_dict()
    assert json.loads(json.dumps(values)) == values
    assert values["version"] == 1
    assert set(values["segments"][0]) == {
        "start_s",
        "end_s",
        "emotion",
        "probabilities",
        "transcript",
        "words",
    }


def test_words_are_the_transcript_and_lie_in_their_segment(recogniser: Recogniser, long_sound: torch.Tensor) -> None:
    segments = recogniser.recognise_samples(long_sound, 16_000).segments
    assert len(segments) > 2
    assert [" ".join(word.text for word in segment.words) for segment in segments] == [
        segment.transcript for segment in segments
    ]
    for segment in segments:
        times = [time for word in segment.words for time in (word.start_s, word.end_s)]
        assert [segment.start_s, *times, segment.end_s + 0.04] == sorted(
            [segment.start_s, *times, segment.end_s + 0.04]
        )


def test_segments_without_words_leave_no_gap() -> None:
    probabilities = {"anger": 1.0}
    segments = [Segment(start, start + 1, words, "anger", probabilities) for start, words in enumerate(["a", "", "b"])]
    assert join_segments("x", 3, segments).transcript == "a b"


@pytest.mark.parametrize(
    ("device", "problem"),
    [
        ("tpu", "no such device"),
        ("cuda:x", "no such device"),
        ("cpu:0", "no such device"),
        ("", "no such device"),
        ("cuda:99", "not available here"),
    ],
)
def test_devices_are_checked(tiny_model: Path, device: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        Recogniser.from_pretrained(tiny_model, device)


def test_a_recogniser_alone_hears_no_emotion(tiny_model: Path, tmp_path: Path) -> None:
    shutil.copy(tiny_model / "recogniser.safetensors", tmp_path)
    shutil.copy(tiny_model / "recogniser.json", tmp_path)
    with pytest.raises(CheckpointError, match="no emotion head"):
        Recogniser.from_pretrained(tmp_path)


def test_unknown_models_are_refused() -> None:
    with pytest.raises(CheckpointError, match="huge: no such model"):
        Recogniser.from_pretrained("huge")


@pytest.mark.parametrize("name", pretrained.names())
def test_known_models_are_named(name: str) -> None:
    with pytest.raises(CheckpointError, match=f"choose .*{name}"):
        pretrained.find("huge")


def cut_short(folder: Path) -> None:
    weights = folder / pretrained.RECOGNISER
    weights.write_bytes(weights.read_bytes()[:-100])


def pickled(folder: Path) -> None:
    (folder / pretrained.RECOGNISER).write_bytes(pickle.dumps({"weights": [1.0]}))


def foreign(folder: Path) -> None:
    (folder / "recogniser.json").write_text('{"model_type": "wav2vec2"}')


def not_json(folder: Path) -> None:
    (folder / "emotion.json").write_text("{")


def of_another_version(folder: Path) -> None:
    card = folder / "recogniser.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"version": 2}))


def without_head(folder: Path) -> None:
    (folder / pretrained.EMOTION).unlink()


def without_card(folder: Path) -> None:
    (folder / "emotion.json").unlink()


def of_another_recogniser(folder: Path) -> None:
    card = folder / "emotion.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"facts": {"encoder_fingerprint": "0" * 16}}))


def of_no_recogniser(folder: Path) -> None:
    card = folder / "emotion.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"facts": {}}))


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (cut_short, "cannot be loaded"),
        (pickled, "cannot be loaded"),
        (foreign, "was not written by affetto"),
        (not_json, "is not JSON"),
        (of_another_version, "version 2"),
        (without_head, "cannot be loaded"),
        (without_card, "cannot be read"),
        (of_another_recogniser, "was trained on another recogniser"),
        (of_no_recogniser, "was trained on another recogniser"),
    ],
)
def test_damaged_models_are_refused(
    tiny_model: Path, tmp_path: Path, harm: Callable[[Path], None], problem: str
) -> None:
    folder = tmp_path / "model"
    copytree(tiny_model, folder)
    harm(folder)
    with pytest.raises(CheckpointError, match=problem):
        Recogniser.from_pretrained(folder)
