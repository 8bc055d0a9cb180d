"""What a recording sounds like depends on nothing but itself, and a model that is not whole is refused."""

from __future__ import annotations

import copy
import json
import os
import pickle
import re
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

import affetto
from affetto import audio, pretrained
from affetto.data.sound import Surroundings
from affetto.data.utterance import Utterance
from affetto.devices import choose_precision
from affetto.errors import AudioError, CheckpointError, ConfigError
from affetto.frames import pad_waves
from affetto.models.decoding import DecoderChoice
from affetto.models.heads.head import Familiarity
from affetto.recognise import EmotionRecogniser
from affetto.recording import Recording, Segment, join_segments
from affetto.represent import Layers, represent
from affetto.streaming import Failure, Samples, batches, blocks
from affetto.streaming.segments import cut, join
from affetto.timeline import Judgement

DEMO = sorted((Path(affetto.__file__).parent / "demo").glob("*.flac"))
EMOTIONS = ("anger", "happiness", "neutral", "sadness")


@pytest.fixture(scope="module")
def recogniser(tiny_model: Path) -> EmotionRecogniser:
    return EmotionRecogniser.from_pretrained(tiny_model, "cpu")


def shares(recording: Recording | Segment) -> np.ndarray:
    return np.array([recording.probabilities[emotion] for emotion in EMOTIONS])


def recordings(results: object) -> list[Recording]:
    found = list(results)  # type: ignore[call-overload]
    assert not [result for result in found if isinstance(result, Failure)]
    return found


def test_half_the_bits_predict_the_same() -> None:
    exact, fast = (EmotionRecogniser.from_pretrained(device="cpu", precision=each) for each in ("float32", "bfloat16"))
    assert exact.fingerprint() != fast.fingerprint()
    for expected, found in zip(
        recordings(exact.recognise_many(DEMO)), recordings(fast.recognise_many(DEMO)), strict=True
    ):
        assert shares(found) == pytest.approx(shares(expected), abs=0.03)
        assert found.transcript == expected.transcript


def test_the_precision_is_the_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for able, expected in (("amx_bf16", torch.bfloat16), ("avx512_bf16", torch.bfloat16), ("avx2", torch.float32)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", partial(dict, {able: True}))
        assert choose_precision("auto", cpu) == expected
        assert choose_precision("auto", torch.device("cuda")) == torch.float32
        assert EmotionRecogniser.from_pretrained(device="cpu", spells=False).encoder.network.precision == expected


def test_the_package_completes_names() -> None:
    names = dir(affetto)
    assert {"EmotionRecogniser", "Recording", "recognise", "streaming", "__version__"} <= set(names)
    assert names == sorted(names)


def test_it_is_at_hand() -> None:
    assert affetto.Recogniser is EmotionRecogniser


@pytest.mark.parametrize("number", range(len(DEMO)))
def test_batch_mates_change_nothing(
    recogniser: EmotionRecogniser, make_sound: Callable[..., Path], number: int
) -> None:
    alone = recogniser.recognise(DEMO[number])
    among = recordings(recogniser.recognise_many([make_sound(duration_s=11), *DEMO, make_sound("b.wav")]))[1 + number]
    np.testing.assert_allclose(shares(among), shares(alone), atol=1e-4)
    assert (among.transcript, among.duration_s) == (alone.transcript, alone.duration_s)


def test_the_same_twice_is_the_same(recogniser: EmotionRecogniser) -> None:
    assert recordings(recogniser.recognise_many(DEMO)) == recordings(recogniser.recognise_many(DEMO))


@pytest.fixture(scope="module")
def long_sound() -> torch.Tensor:
    return torch.cat([audio.load(path) for path in DEMO] * 3)


def test_a_segment_is_recognised_as_if_it_were_alone(recogniser: EmotionRecogniser, long_sound: torch.Tensor) -> None:
    recording = recogniser.recognise_samples(long_sound, 16_000)
    stretch = list(cut(blocks(Samples(long_sound, 16_000))))[1]
    (alone,) = recogniser.predict(pad_waves([torch.from_numpy(stretch.wave)]))
    segment = recording.segments[1]
    assert (segment.start_s, segment.end_s) == (stretch.start_s, stretch.end_s)
    np.testing.assert_allclose(list(alone.probabilities.values()), shares(segment), atol=1e-4)
    assert alone.spelling.text == segment.transcript


def test_segments_come_as_they_are_there(
    recogniser: EmotionRecogniser, long_sound: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "_POOL_SEGMENTS", 4)
    parts: list[tuple[str, tuple[Segment, ...]]] = []
    sources = [DEMO[0], Samples(long_sound, 16_000)]
    judgement = Judgement(sure=0.3)
    short, long = recordings(
        recogniser.recognise_many(sources, judgement=judgement, part=lambda *found: parts.append(found))
    )
    early = [segment for _, segments in parts for segment in segments]
    assert {name for name, _ in parts} == {long.source}
    assert early == list(long.segments[: len(early)])
    assert len(long.segments) - len(early) < 4
    assert short.source == str(DEMO[0])


def test_a_recording_is_the_mean_of_its_segments(recogniser: EmotionRecogniser, long_sound: torch.Tensor) -> None:
    recording = recogniser.recognise_samples(long_sound, 16_000)
    durations = [segment.end_s - segment.start_s for segment in recording.segments]
    assert len(durations) > 2
    assert recording.speech_s == pytest.approx(sum(durations))
    assert recording.speech_s < recording.duration_s
    expected = np.average([shares(segment) for segment in recording.segments], axis=0, weights=durations)
    np.testing.assert_allclose(shares(recording), expected, rtol=1e-9)
    assert recording.emotion == EMOTIONS[int(expected.argmax())]
    assert recording.transcript.split() == " ".join(segment.transcript for segment in recording.segments).split()


def test_probabilities_are_probabilities(recogniser: EmotionRecogniser, long_sound: torch.Tensor) -> None:
    recording = recogniser.recognise_samples(long_sound, 16_000)
    every = np.array([shares(recording), *(shares(segment) for segment in recording.segments)])
    assert tuple(recording.probabilities) == recogniser.emotions == EMOTIONS
    np.testing.assert_allclose(every.sum(axis=1), 1, atol=1e-5)
    assert (every > 0).all()


def test_one_name_is_not_taken_for_many(recogniser: EmotionRecogniser) -> None:
    with pytest.raises(AudioError, match="one name where several sources are expected"):
        list(recogniser.recognise_many(str(DEMO[0])))


def test_a_file_however_given(recogniser: EmotionRecogniser) -> None:
    with DEMO[0].open("rb") as file:
        results = recordings(recogniser.recognise_many([DEMO[0], str(DEMO[0]), file]))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(("sample_rate", "channels"), [(8_000, 1), (192_000, 1), (16_000, 8)])
def test_any_rate_and_number_of_channels(
    recogniser: EmotionRecogniser, make_sound: Callable[..., Path], sample_rate: int, channels: int
) -> None:
    recording = recogniser.recognise(make_sound(sample_rate=sample_rate, channels=channels))
    assert recording.duration_s == pytest.approx(0.5, abs=0.001)
    assert shares(recording).sum() == pytest.approx(1)


@pytest.mark.parametrize("sample_rate", [8_000, 44_100, 192_000])
def test_speech_is_speech_at_any_rate(
    recogniser: EmotionRecogniser, demo: dict[str, torch.Tensor], sample_rate: int
) -> None:
    values = soxr.resample(demo["happy"].numpy(), 16_000, sample_rate)
    here, there = recogniser.recognise(DEMO[1]), recogniser.recognise_samples(values, sample_rate)
    assert len(there.segments) == len(here.segments) == 1
    assert there.segments[0].start_s == pytest.approx(here.segments[0].start_s, abs=0.05)
    assert there.segments[0].end_s == pytest.approx(here.segments[0].end_s, abs=0.05)


def clipped(sound: torch.Tensor) -> torch.Tensor:
    return (sound * 8).clamp(-0.99, 0.99)


def offset(sound: torch.Tensor) -> torch.Tensor:
    return sound * 0.5 + 0.4


def soft(sound: torch.Tensor) -> torch.Tensor:
    return sound * 0.02


@pytest.mark.parametrize("spoil", [clipped, offset, soft])
def test_poor_recordings_are_recognised(
    recogniser: EmotionRecogniser, demo: dict[str, torch.Tensor], spoil: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    recording = recogniser.recognise_samples(spoil(demo["happy"]), 16_000)
    assert len(recording.segments) == 1
    assert recording.speech_s == pytest.approx(2.4, abs=0.3)
    assert shares(recording).sum() == pytest.approx(1)


@pytest.mark.parametrize(("level", "silent"), [(0.0, True), (1e-5, True), (0.05, False)])
def test_where_nobody_speaks_it_says_so(
    recogniser: EmotionRecogniser, rng: np.random.Generator, level: float, silent: bool
) -> None:
    recording = recogniser.recognise_samples(level * rng.standard_normal(48_000), 16_000)
    assert (recording.statement, recording.emotion, recording.segments) == ("no speech", None, ())
    assert (recording.silent, recording.transcript, recording.speech_s) == (silent, "", 0)
    assert recording.probabilities == dict.fromkeys(EMOTIONS, 0.0)


def test_following_gives_the_same_segments(recogniser: EmotionRecogniser, long_sound: torch.Tensor) -> None:
    recording = recogniser.recognise_samples(long_sound, 16_000)
    followed = list(recogniser.follow(long_sound.split(800)))
    assert [(each.start_s, each.end_s) for each in followed] == [
        (each.start_s, each.end_s) for each in recording.segments
    ]
    spoken = list(cut([long_sound], live=True))  # with less of the pauses after them
    opinions = [recogniser.predict(pad_waves([torch.from_numpy(each.wave)]))[0] for each in spoken]
    assert [each.transcript for each in followed] == [each.spelling.text for each in opinions]


def test_sure_is_a_matter_of_the_threshold(recogniser: EmotionRecogniser, long_sound: torch.Tensor) -> None:
    bold = recogniser.recognise_samples(long_sound, 16_000, Judgement(sure=0.0))
    never = recogniser.recognise_samples(long_sound, 16_000, Judgement(sure=1.0))
    assert {each.statement for each in bold.segments} <= set(EMOTIONS)
    assert sum(bold.shares.values()) == pytest.approx(1)
    assert {each.statement for each in never.segments} == {"not sure"} == {never.statement}
    assert never.unsure_share == pytest.approx(1)
    assert [each.probabilities for each in never.segments] == [each.probabilities for each in bold.segments]


def test_smoothing_changes_segments_but_not_the_whole(recogniser: EmotionRecogniser, long_sound: torch.Tensor) -> None:
    plain = recogniser.recognise_samples(long_sound, 16_000)
    smooth = recogniser.recognise_samples(long_sound, 16_000, Judgement(smooth_s=5))
    np.testing.assert_allclose(shares(smooth), shares(plain))
    spread = [np.std([shares(each) for each in recording.segments], axis=0).sum() for recording in (plain, smooth)]
    assert spread[1] < 0.7 * spread[0]


def with_temperature(folder: Path, value: object) -> Path:
    card = json.loads((folder / "emotion.json").read_text())
    card["facts"]["temperature"] = value
    (folder / "emotion.json").write_text(json.dumps(card))
    return folder


def test_temperature_calibrates(tiny_model: Path, tmp_path: Path, recogniser: EmotionRecogniser) -> None:
    cooled = EmotionRecogniser.from_pretrained(with_temperature(copytree(tiny_model, tmp_path / "model"), 2.5), "cpu")
    before, after = shares(recogniser.recognise(DEMO[0])), shares(cooled.recognise(DEMO[0]))
    expected = before ** (1 / 2.5)  # softmax(z / T) is softmax(z) to the power of 1 / T, made to add up to 1
    np.testing.assert_allclose(after, expected / expected.sum(), rtol=1e-4)
    assert cooled.fingerprint() != recogniser.fingerprint()


def test_american_spelling_and_how_it_looks_in_an_interpreter(recogniser: EmotionRecogniser) -> None:
    path = DEMO[0]
    recording = recogniser.recognize(path)
    assert recording == recogniser.recognise(path)
    (again,) = recogniser.recognize_many([path])
    assert again == recording
    samples, rate = soundfile.read(path, dtype="int16")
    assert recogniser.recognize_samples(samples, rate).emotion == recording.emotion
    shown = re.fullmatch(r"<Recording '.*angry.flac', 4.2 s: (.*), 1 segment>", repr(recording))
    assert shown is not None
    assert recording.statement in shown[1]
    assert re.fullmatch(r"EmotionRecogniser\('.+', emotions=\('anger', .*\), device='cpu'\)", repr(recogniser))


@pytest.mark.parametrize("many", [lambda x: x, lambda x: (16_000, x), lambda x: (torch.from_numpy(x), 16_000), list])
def test_samples_for_a_file_are_refused_with_the_way_to_go(
    recogniser: EmotionRecogniser, many: Callable[[NDArray[np.float64]], Any]
) -> None:
    given = many(np.zeros(16_000))
    with pytest.raises(AudioError, match=r"samples where a file .* recognise_samples\(samples, sample_rate\)"):
        recogniser.recognise(given)
    (failure,) = recogniser.recognise_many([given])
    assert isinstance(failure, Failure)


def test_the_fingerprint_tells_decoders_apart(tiny_model: Path, recogniser: EmotionRecogniser) -> None:
    searching = EmotionRecogniser.from_pretrained(tiny_model, "cpu", DecoderChoice("beam"))
    assert searching.fingerprint() != recogniser.fingerprint()


@pytest.mark.parametrize("value", [0, -1, "hot", True, None, 1e400])
def test_impossible_temperatures_are_refused(tiny_model: Path, tmp_path: Path, value: object) -> None:
    with pytest.raises(CheckpointError, match="temperature"):
        EmotionRecogniser.from_pretrained(with_temperature(copytree(tiny_model, tmp_path / "model"), value), "cpu")


def test_what_cannot_be_read_is_an_error(recogniser: EmotionRecogniser) -> None:
    with pytest.raises(AudioError, match=r"nowhere\.wav: no such file"):
        recogniser.recognise("nowhere.wav")


def test_values_for_json_survive_it(recogniser: EmotionRecogniser) -> None:
    values = recogniser.recognise(DEMO[0]).as_dict()
    assert json.loads(json.dumps(values)) == values
    assert values["version"] == 1
    assert set(values["segments"][0]) == {
        "start_s",
        "end_s",
        "emotion",
        "sure",
        "familiar",
        "probabilities",
        "transcript",
        "words",
    }


def test_words_are_the_transcript_and_lie_in_their_segment(
    recogniser: EmotionRecogniser, long_sound: torch.Tensor
) -> None:
    segments = recogniser.recognise_samples(long_sound, 16_000).segments
    assert len(segments) > 2
    assert [" ".join(word.text for word in segment.words) for segment in segments] == [
        segment.transcript for segment in segments
    ]
    for segment in segments:
        times = [time for word in segment.words for time in (word.start_s, word.end_s)]
        assert [segment.start_s, *times, segment.end_s] == sorted([segment.start_s, *times, segment.end_s])


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
        EmotionRecogniser.from_pretrained(tiny_model, device)


def test_a_recogniser_alone_gives_no_emotion(tiny_model: Path, tmp_path: Path) -> None:
    shutil.copy(tiny_model / "recogniser.safetensors", tmp_path)
    shutil.copy(tiny_model / "recogniser.json", tmp_path)
    with pytest.raises(CheckpointError, match="no emotion head"):
        EmotionRecogniser.from_pretrained(tmp_path)


def test_unknown_models_are_refused() -> None:
    with pytest.raises(CheckpointError, match="huge: no such model"):
        EmotionRecogniser.from_pretrained("huge")


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
        EmotionRecogniser.from_pretrained(folder)


def test_training_and_recognition_read_the_same_frames_of_speech(
    recogniser: EmotionRecogniser, make_sound: Callable[..., Path], tmp_path: Path
) -> None:
    path = tmp_path / "pauses.wav"
    soundfile.write(path, torch.cat([torch.zeros(16_000), audio.load(DEMO[0]), torch.zeros(16_000)]).numpy(), 16_000)
    utterance = Utterance(id="pauses", audio=path, speaker="she", corpus="one")
    speech_only = EmotionRecogniser(
        recogniser.encoder, recogniser.emotion, recogniser.decoder, facts={"speech_only": True}
    )
    name = next(iter(recogniser.emotion.layers))
    banks = represent(
        [utterance], Layers(recogniser.encoder, (name,)), tmp_path, surroundings=Surroundings(speech_only=True)
    )
    (stretch,) = cut(blocks(path))
    waves = join([stretch])
    layers = recogniser.encoder.represent(waves, [name])
    read = speech_only.given(waves, layers)
    (kept,) = banks[name].batch(np.array([0])).unpad()
    torch.testing.assert_close(read[name].values[0], kept.float(), atol=2e-3, rtol=2e-3)
    assert len(kept) < len(layers[name].values[0]) - 20
    assert len(recogniser.given(waves, layers)[name].values[0]) == len(layers[name].values[0])


def test_emotion_needs_no_words(tiny_model: Path, recogniser: EmotionRecogniser) -> None:
    silent = EmotionRecogniser.from_pretrained(tiny_model, "cpu", spells=False)
    found, whole = silent.recognise(DEMO[0]), recogniser.recognise(DEMO[0])
    np.testing.assert_allclose(shares(found), shares(whole), atol=1e-5)
    assert (found.transcript, found.segments[0].words) == ("", ())
    assert silent.fingerprint() != recogniser.fingerprint()


def test_unfamiliar_sound_is_reported(recogniser: EmotionRecogniser) -> None:
    wary = EmotionRecogniser(recogniser.encoder, copy.deepcopy(recogniser.emotion), recogniser.decoder)
    wary.emotion.familiarity = Familiarity(wary.emotion.width, 1)
    wary.emotion.familiarity.limit.fill_(-1.0)
    found = wary.recognise(DEMO[0])
    assert (found.familiar, found.statement) == (False, "unfamiliar sound")
    assert shares(found) == pytest.approx(shares(recogniser.recognise(DEMO[0])))


def test_unfamiliar_sound_is_never_stated_firmly() -> None:
    strange = Segment(0.0, 3.0, "no", "anger", {"anger": 1.0, "sadness": 0.0}, familiar=False)
    usual = Segment(3.0, 4.0, "yes", "sadness", {"anger": 0.0, "sadness": 1.0})
    recording = join_segments("a.wav", 4.0, [strange, usual])
    assert [each.statement for each in recording.segments] == ["unfamiliar sound", "sadness"]
    assert (recording.statement, recording.sure, recording.familiar) == ("unfamiliar sound", False, False)
    assert recording.shares == {"anger": 0.0, "sadness": 0.25}
    assert recording.unsure_share == 0.75
    assert join_segments("a.wav", 4.0, [usual]).statement == "sadness"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks on this system")
def test_a_forked_process_recognises_the_same(tiny_model: Path, demo: dict[str, Tensor]) -> None:
    recogniser = EmotionRecogniser.from_pretrained(tiny_model, "cpu")
    torch.set_num_threads(2)
    try:
        torch.ones(1000, 1000) @ torch.ones(1000, 1000)  # so that there are threads for a fork to lose
        here = recogniser.recognise_samples(demo["happy"], 16_000)
        child = os.fork()
        if child == 0:  # ended from outside, should it hang
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(60)
            torch.ones(1000, 1000) @ torch.ones(1000, 1000)
            same = recogniser.recognise_samples(demo["happy"], 16_000).transcript == here.transcript
            os._exit(0 if same else 3)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        torch.set_num_threads(1)
