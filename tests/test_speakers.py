"""Who speaks in one channel: stretches are parted where the voice changes, and grouped by voices."""

from __future__ import annotations

import json
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import jsonschema
import numpy as np
import pytest
import soundfile
import torch
from pyannote.core import Annotation, Segment
from pyannote.database.util import load_rttm
from pyannote.metrics.diarization import DiarizationErrorRate
from sklearn.cluster import AgglomerativeClustering

from affetto import audio
from affetto.cli import main
from affetto.data.sound import speech_in
from affetto.errors import ConfigError, MissingExtraError
from affetto.formats import FORMATS
from affetto.models import voices
from affetto.models.voices import group, turns, voice_encoder, windows
from affetto.recognise import EmotionRecogniser
from affetto.recording import Recording
from affetto.streaming import Samples
from affetto.streaming.segments import cut

needs_weights = pytest.mark.skipif(find_spec("resemblyzer") is None, reason="Resemblyzer is not installed")
SCHEMA = json.loads((Path(__file__).parents[1] / "docs" / "output.schema.json").read_text(encoding="utf-8"))
RATE = audio.SAMPLE_RATE
CPU = torch.device("cpu")
Dialogue = tuple[np.ndarray, Annotation]


@pytest.fixture(scope="module")
def recogniser(tiny_model: Path) -> EmotionRecogniser:
    return EmotionRecogniser.from_pretrained(tiny_model, "cpu")


def in_turn(said: list[tuple[str, torch.Tensor, float]]) -> Dialogue:
    """Samples, and who speaks when, from recordings of the turns and the seconds of pause after each."""
    parts, who, at_s = [np.zeros(RATE // 2, np.float32)], Annotation(), 0.5
    for name, recorded, pause_s in said:
        wave = speech_in(recorded).without_pauses().wave
        who[Segment(at_s, at_s + len(wave) / RATE)] = name
        parts += [wave, np.zeros(round(pause_s * RATE), np.float32)]
        at_s += (len(wave) + len(parts[-1])) / RATE
    return np.concatenate(parts), who


@pytest.fixture(scope="module")
def synthetic(demo: dict[str, torch.Tensor]) -> Dialogue:
    """Two bundled voices, twice each, once without a pause between."""
    sad, happy = demo["sad"], demo["happy"]
    return in_turn([("sad", sad, 0.0), ("happy", happy, 0.8), ("sad", sad[: 3 * RATE], 0.8), ("happy", happy, 0.5)])


@pytest.fixture(scope="module")
def readers(data_root: Path) -> Dialogue:
    """Two of LibriSpeech, for whom nothing was chosen, half of the times without a pause between."""
    folder = data_root / "speech" / "LibriSpeech"
    files = {who: sorted(folder.rglob(f"{who}-*-*.*"))[:3] for who in ("84", "2035")}
    if not all(len(found) == 3 for found in files.values()):
        pytest.skip("no LibriSpeech dev-clean there")
    said = [(who, place, pause_s) for place in range(3) for who, pause_s in (("84", 0.0), ("2035", 0.8))]
    return in_turn([(who, audio.load(files[who][place])[: 6 * RATE], pause_s) for who, place, pause_s in said])


def error_rate(recording: Recording, who: Annotation) -> float:
    found = Annotation()
    for segment in recording.segments:
        found[Segment(segment.start_s, segment.end_s)] = f"speaker {segment.speaker}"
    return float(DiarizationErrorRate(collar=0.5)(who, found))


@needs_weights
@pytest.mark.parametrize("speakers", ["auto", 2])
@pytest.mark.parametrize("name", ["synthetic", "readers"])
def test_two_in_turn_are_told_apart(
    recogniser: EmotionRecogniser, name: str, speakers: int, request: pytest.FixtureRequest
) -> None:
    samples, who = request.getfixturevalue(name)
    found = recogniser.recognise_samples(samples, RATE, speakers=speakers)  # type: ignore[arg-type]
    assert found.speakers is not None
    assert (len(found.speakers), found.segments[0].speaker) == (2, 1)
    assert error_rate(found, who) < 0.1
    for number, alone in enumerate(found.speakers, start=1):
        assert alone.segments == tuple(each for each in found.segments if each.speaker == number)
        assert sum(alone.shares.values()) + alone.unsure_share == pytest.approx(1)
    plain = recogniser.recognise_samples(samples, RATE)
    assert len(plain.segments) < len(found.segments)  # there are changes without a pause
    assert found.speech_s == pytest.approx(plain.speech_s, abs=0.01)
    assert plain.speakers is None
    assert all(each.speaker is None for each in plain.segments)


@needs_weights
def test_vectors_are_those_of_resemblyzer(demo: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "webrtcvad", ModuleType("webrtcvad"))  # which cuts silence away
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import resemblyzer

    theirs = resemblyzer.VoiceEncoder("cpu", verbose=False)
    for wave in (demo["angry"], demo["sad"][: 2 * RATE], demo["happy"][:RATE], 0.001 * demo["neutral"]):
        louder = resemblyzer.normalize_volume(wave.numpy(), -30, increase_only=True)
        _, expected, _ = theirs.embed_utterance(louder, return_partials=True, rate=2.5)
        found = voice_encoder(CPU)(windows(wave))
        np.testing.assert_allclose(found.numpy(), expected[: len(found)], atol=1e-5)


@needs_weights
def test_what_comes_out_depends_on_no_other(recogniser: EmotionRecogniser, synthetic: Dialogue, call: Path) -> None:
    sources = [call / "1.wav", Samples(synthetic[0], RATE), call / "call.wav"]
    together = list(recogniser.recognise_many(sources, speakers="auto"))
    for source, found in zip(sources, together, strict=True):
        (alone,) = recogniser.recognise_many([source], speakers="auto")
        assert isinstance(alone, Recording)
        assert isinstance(found, Recording)
        assert [(each.start_s, each.end_s, each.speaker) for each in found.segments] == [
            (each.start_s, each.end_s, each.speaker) for each in alone.segments
        ]


@needs_weights
def test_every_format_names_the_speaker(recogniser: EmotionRecogniser, synthetic: Dialogue, tmp_path: Path) -> None:
    samples, who = synthetic
    soundfile.write(tmp_path / "two.wav", samples, RATE)
    found = recogniser.recognise(tmp_path / "two.wav", speakers=2)
    jsonschema.validate(found.as_dict(), SCHEMA)
    assert [each["speaker"] for each in found.as_dict()["speakers"]] == [1, 2]
    texts = {name: each.write(found) for name, each in FORMATS.items()}
    assert texts["csv"].startswith("file,speaker,start_s")
    assert "[speaker 1 " in texts["vtt"]
    assert "[speaker 2 " in texts["srt"]
    assert '"emotion 2"' in texts["textgrid"]
    assert found.to_dataframe()["speaker"].tolist() == [each.speaker for each in found.segments]
    assert [label.get_text() for label in found.plot().get_yticklabels()] == ["speaker 2", "speaker 1"]
    (tmp_path / "two.rttm").write_text(texts["rttm"])
    assert DiarizationErrorRate(collar=0.5)(who, load_rttm(tmp_path / "two.rttm")["two"]) < 0.1


@needs_weights
@pytest.mark.parametrize(("speakers", "expected"), [("auto", 1), (1, 1), (3, 1)])
def test_one_part_is_of_one_speaker(
    recogniser: EmotionRecogniser, demo: dict[str, torch.Tensor], speakers: int, expected: int
) -> None:
    """However many were asked for, and as short as it may be."""
    for wave in (demo["neutral"], demo["neutral"][: RATE // 2]):
        found = recogniser.recognise_samples(wave, RATE, speakers=speakers)
        assert [each.speaker for each in found.segments] == [1]
        plain = recogniser.recognise_samples(wave, RATE)
        assert found.segments[0].probabilities == pytest.approx(plain.probabilities, abs=1e-5)
        assert found.speakers is not None
        assert len(found.speakers) == expected


@needs_weights
def test_of_few_parts_each_has_a_speaker(recogniser: EmotionRecogniser, synthetic: Dialogue) -> None:
    found = recogniser.recognise_samples(synthetic[0], RATE, speakers=9)
    assert [each.speaker for each in found.segments] == [1, 2, 3, 4]


@needs_weights
def test_where_nobody_speaks_there_are_no_speakers(recogniser: EmotionRecogniser) -> None:
    found = recogniser.recognise_samples(np.zeros(32_000, np.float32), RATE, speakers=2)
    assert (found.emotion, found.speakers, found.segments) == (None, (), ())
    jsonschema.validate(found.as_dict(), SCHEMA)
    assert found.as_dict()["speakers"] == []
    header, row = FORMATS["csv"].write(found).splitlines()
    assert header.count(",") == row.count(",")
    assert list(found.to_dataframe().columns)[1] == "speaker"


@needs_weights
def test_a_voice_changes_where_it_does(demo: dict[str, torch.Tensor]) -> None:
    samples, who = in_turn([("sad", demo["sad"], 0.0), ("happy", demo["happy"], 0.5)])
    stretches = list(cut([torch.from_numpy(samples)]))
    assert len(stretches) == 1
    first, second = turns(stretches, CPU)
    assert (first.start, second.end) == (stretches[0].start, stretches[0].end)
    assert first.end == second.start == second.since
    assert second.start_s == pytest.approx(who.get_timeline()[0].end, abs=0.5)
    np.testing.assert_array_equal(np.concatenate([first.wave, second.wave]), stretches[0].wave)


def test_groups_are_those_of_scikit_learn(rng: np.random.Generator) -> None:
    middles = np.eye(5)[rng.integers(5, size=40)]
    vectors = torch.nn.functional.normalize(torch.from_numpy(middles + rng.normal(0, 0.1, middles.shape)), dim=-1)
    found = group(vectors, [2.0] * 40, 5)
    other = AgglomerativeClustering(5, linkage="ward").fit_predict(vectors.numpy())
    assert len(set(zip(found, other.tolist(), strict=True))) == 5


def test_what_is_short_joins_the_nearest(rng: np.random.Generator) -> None:
    vectors = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.2, 1.0], [1.0, 1.2]]), dim=-1)
    assert group(vectors, [0.5, 3.0, 3.0, 0.5], "auto") == [1, 1, 1, 1]  # the first would else be another
    assert group(vectors, [3.0, 3.0, 3.0, 0.5], "auto") == [1, 2, 2, 2]


@pytest.mark.parametrize("speakers", [0, -1, "two", 1.5])
def test_what_speakers_cannot_be(recogniser: EmotionRecogniser, call: Path, speakers: int) -> None:
    with pytest.raises(ConfigError, match=f"speakers={speakers!r}; give a number from 1 on, or auto"):
        recogniser.recognise(call / "1.wav", speakers=speakers)


def test_speakers_of_separate_channels(recogniser: EmotionRecogniser, call: Path) -> None:
    with pytest.raises(ConfigError, match="separate channels"):
        recogniser.recognise(call / "call.wav", speakers=2, channels="separate")


def shell(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    with pytest.raises(SystemExit) as end:
        main(["recognise", *map(str, arguments)])
    printed = capsys.readouterr()
    return int(end.value.code or 0), printed.out if not end.value.code else " ".join(printed.err.split())


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--speakers", "many"], "no number of speakers"),
        (["--speakers", "0"], "speakers=0"),
        (["--speakers", "2", "--words-only"], "words alone"),
        (["--speakers", "2", "--channels", "separate"], "separate channels"),
    ],
)
def test_the_shell_says_what_cannot_be(
    options: list[str], problem: str, call: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = shell(capsys, call / "1.wav", *options)
    assert code == 2
    assert problem in said


def test_without_the_extra_nothing_starts(
    recogniser: EmotionRecogniser, call: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voices, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"affetto\[speakers\]"):
        recogniser.recognise(call / "1.wav", speakers=2)
    code, said = shell(capsys, call / "1.wav", "--speakers", "auto", "--model", "no-such-model")
    assert (code, said) == (
        2,
        'affetto: what tells speakers apart is not installed; pip install "affetto[speakers]"',
    )


@needs_weights
@pytest.mark.parametrize("format_", ["table", "csv"])
def test_the_shell_shows_who_speaks(
    synthetic: Dialogue, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], format_: str
) -> None:
    soundfile.write(tmp_path / "two.wav", synthetic[0], RATE)
    options = ("--speakers", "auto", "--model", tiny_model, "--format", format_)
    code, out = shell(capsys, tmp_path / "two.wav", *options)
    assert code == 0
    if format_ == "table":
        assert out.count("speaker 1  ") == out.count("speaker 2  ") == 1
        assert [line.split()[0] for line in out.splitlines()[-4:]] == ["1", "2", "1", "2"]
    else:
        assert [line.split(",")[1] for line in out.splitlines()] == ["speaker", "1", "2", "1", "2"]


@needs_weights
def test_a_folder_knows_for_how_many_it_was_asked(
    call: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--model", tiny_model, "--output-dir", tmp_path / "out")
    assert shell(capsys, call / "1.wav", *options, "--speakers", "2")[0] == 0
    assert shell(capsys, call / "1.wav", *options)[0] == 2
    assert shell(capsys, call / "1.wav", *options, "--speakers", "2")[0] == 0
