"""Explanations of whole recordings: which stretches are looked into, what is drawn, and what bad input gives."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from affetto import audio
from affetto.errors import AudioError, OutputError
from affetto.explain import explain, telling, write
from affetto.explain.explanation import Explanation
from affetto.explain.picture import draw_explanation, pictures
from affetto.recognise import EmotionRecogniser
from affetto.recording import Segment
from affetto.timeline import Moment

Make = Callable[..., Path]
Run = Callable[..., "tuple[int, str, str]"]
PNG = b"\x89PNG\r\n"


@pytest.fixture(scope="module")
def recogniser(tiny_model: Path) -> EmotionRecogniser:
    return EmotionRecogniser.from_pretrained(tiny_model, "cpu")


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory, demo: dict[str, torch.Tensor]) -> Path:
    """Two statements with a second of silence around each."""
    path = tmp_path_factory.mktemp("talk") / "talk & co.wav"
    soundfile.write(path, np.concatenate([np.pad(demo[name].numpy(), 16_000) for name in ("angry", "sad")]), 16_000)
    return path


@pytest.fixture(scope="module")
def explained(recogniser: EmotionRecogniser, talk: Path) -> Explanation:
    return explain(recogniser, talk)


def test_it_tells_what_recognise_tells(recogniser: EmotionRecogniser, talk: Path, explained: Explanation) -> None:
    recording = recogniser.recognise(talk)
    assert explained.statement == recording.statement
    assert len(explained.passages) == len(recording.segments) == 2
    for passage, segment in zip(explained.passages, recording.segments, strict=True):
        assert passage.moment.probabilities == pytest.approx(segment.probabilities, abs=1e-6)
        assert passage.decision.emotion == segment.emotion
        assert passage.words == segment.words


def test_the_outline_is_that_of_the_samples(talk: Path, explained: Explanation) -> None:
    samples = audio.load(talk).numpy()
    starts = np.ceil(np.arange(len(explained.outline)) * len(samples) / len(explained.outline)).astype(int)
    np.testing.assert_array_equal(explained.outline[:, 1], np.clip(np.maximum.reduceat(samples, starts), 0, None))
    assert explained.outline.min() == samples.min()
    assert explained.outline.max() == samples.max()


@pytest.mark.parametrize(("time_s", "passage"), [(2.0, 0), (8.0, 1)])
def test_a_stretch_can_be_asked_for(
    recogniser: EmotionRecogniser, talk: Path, explained: Explanation, time_s: float, passage: int
) -> None:
    found = explain(recogniser, talk, at_s=[time_s])
    assert [each.moment.start_s for each in found.passages] == [explained.passages[passage].moment.start_s]


def heard(emotion: str, sure: float) -> Segment:
    return Segment(0, 1, "", emotion, {emotion: sure})


@pytest.mark.parametrize(
    ("most", "places"), [(1, [1]), (2, [1, 3]), (3, [1, 2, 3]), (9, [0, 1, 2, 3])], ids=["1", "2", "3", "all"]
)
def test_every_emotion_is_looked_into_before_any_twice(most: int, places: list[int]) -> None:
    segments = [heard("anger", 0.7), heard("anger", 0.9), heard("anger", 0.8), heard("sadness", 0.6)]
    assert telling(segments, most) == places


def test_a_page_needs_nothing_else(explained: Explanation) -> None:
    explained = replace(explained, passages=explained.passages[:1])
    page = draw_explanation(explained, "html").decode()
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page)
    assert page.count("data:image/svg+xml") == len(pictures(explained)) == 2
    assert "<h1>talk &amp; co.wav</h1>" in page
    for passage in explained.passages:
        assert f"speaks for {passage.decision.emotion}" in page


def test_an_svg_is_one_whole_picture(explained: Explanation) -> None:
    picture = draw_explanation(replace(explained, passages=explained.passages[1:]), "svg")
    assert ET.fromstring(picture).tag.endswith("svg")


def test_thousands_of_stretches_stay_a_small_page() -> None:
    moments = tuple(Moment(10.0 * n, 10.0 * n + 8, {"anger": 0.3, "sadness": 0.7}) for n in range(4_000))
    long = Explanation("day.wav", 40_000.0, "sadness", moments[0].probabilities, moments, np.zeros((1200, 2)), ())
    page = draw_explanation(long, "html")
    assert len(page) < 1_000_000
    assert b"And 3,700 more" in page


def test_where_nobody_speaks_the_picture_says_so(recogniser: EmotionRecogniser, tmp_path: Path) -> None:
    path = tmp_path / "silence.wav"
    soundfile.write(path, np.zeros(16_000), 16_000)
    found = explain(recogniser, path)
    assert (found.statement, found.passages, found.silent) == ("no speech", (), True)
    assert "digital silence" in pictures(found)[0].caption
    write(found, tmp_path / "new" / "silence.png")
    assert (tmp_path / "new" / "silence.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize("options", [{"passages": 0}, {"passages": 13}, {"at_s": [4.7]}], ids=str)
def test_what_cannot_be_looked_into(recogniser: EmotionRecogniser, talk: Path, options: dict[str, object]) -> None:
    with pytest.raises(OutputError):
        explain(recogniser, talk, **options)  # type: ignore[arg-type]


def test_too_short_a_recording(recogniser: EmotionRecogniser, make_sound: Make) -> None:
    with pytest.raises(AudioError, match="only 50 ms"):
        explain(recogniser, make_sound(duration_s=0.05))


def test_a_file_that_cannot_be_written(explained: Explanation, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("not a folder")
    nothing = Explanation("a", 1.0, "no speech", {"anger": 0.0}, (), np.zeros((10, 2)), ())
    with pytest.raises(OutputError, match="cannot be written"):
        write(nothing, tmp_path / "taken" / "a.png")


def test_the_command(run: Run, tiny_model: Path, talk: Path, tmp_path: Path) -> None:
    code, out, _ = run("explain", talk, "--output", tmp_path, "--passages", "1", "--model", tiny_model)
    assert code == 0
    assert Path(out.strip()) == tmp_path / "talk & co-explained.png"
    assert Path(out.strip()).read_bytes().startswith(PNG)


@pytest.mark.parametrize(
    ("name", "options", "code", "complaint"),
    [
        ("missing.wav", (), 1, "no such file"),
        ("letter.wav", (), 1, "cannot be read as sound"),
        ("empty.wav", (), 1, "the file is empty"),
        ("letter.wav", ("--output", "a.pdf"), 2, "name a .png, .svg or .html file"),
        ("letter.wav", ("--output", "a.svg", "--format", "png"), 2, "is no png"),
        ("letter.wav", ("--model", "enormous"), 2, "no such model"),
    ],
)
def test_bad_input_is_a_line_and_an_exit_code(  # noqa: PLR0917
    run: Run, tiny_model: Path, tmp_path: Path, name: str, options: tuple[str, ...], code: int, complaint: str
) -> None:
    (tmp_path / "letter.wav").write_text("Dear all,\n" * 100)
    (tmp_path / "empty.wav").touch()
    asked = options if "--model" in options else (*options, "--model", tiny_model)
    found, out, err = run("explain", tmp_path / name, *asked)
    assert (found, out) == (code, "")
    assert complaint in err
    assert err.count("\n") == 1
