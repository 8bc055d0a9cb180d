"""Heads that read what was said: from a recipe to a run folder, recognition, an explanation and a model card."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.models.tiny_encoders import save, text_encoder

import affetto
from affetto.data.sound import load_utterance
from affetto.data.utterance import Utterance
from affetto.errors import AffettoError, CheckpointError
from affetto.evaluate import RunFolder
from affetto.experiment import Engine, run_experiment, train_emotion
from affetto.explain.explanation import Explainer
from affetto.frames import Frames, Waves, pad_waves
from affetto.models.decoding.whisper_text import WhisperText
from affetto.models.encoders.encoder import Written
from affetto.models.heads import load_head
from affetto.packing import pack_run, write_card
from affetto.recognise import EmotionRecogniser
from affetto.represent import Words, represent

HEAD = """
recogniser = "{model}"
corpus = "crema-d"
classes = ["sadness", "anger"]
validation_speakers = ["1003"]
test_speakers = ["1004"]
licence = "CC0"
{more}

[head]
kind = "progressive"
layer = ["layer2", "text", "decoder"]
transcript = {{ encoder = "{text}" }}
standardise = true
branch = {{ units = 4, depth = 1 }}

[training]
epochs = 2
"""

ROWS = """
recogniser = "{model}"
corpus = "crema-d"
classes = ["sadness", "anger"]
protocol = {{ kind = "grouped_k_fold", folds = 3 }}

[training]
epochs = 1

[[rows]]
name = "sound"
model = {{ kind = "mean_pooling", layer = "layer2" }}

[[rows]]
name = "words"
model = {{ kind = "mean_pooling", layer = "text" }}

[[rows]]
name = "{{x}} and a text encoder"
x = ["text", "decoder"]
model = {{ kind = "mean_pooling", layer = ["layer2", "{{x}}"], transcript = {{ encoder = "{text}" }} }}

[[rows]]
name = "words over time"
model = {{ kind = "recurrent", layer = "text", units = 4 }}
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save("whisper", tmp_path_factory.mktemp("whisper") / "speech", seed=5)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return text_encoder(tmp_path_factory.mktemp("text") / "reader")


@pytest.fixture
def recipe(tmp_path: Path, model: Path, text: Path) -> Callable[..., Path]:
    def write(form: str, **changes: object) -> Path:
        path = tmp_path / "recipe.toml"
        path.write_text(form.format(**({"model": model, "text": text, "more": ""} | changes)))
        return path

    return write


@pytest.fixture(scope="module")
def waves(data_root: Path) -> Waves:
    files = sorted((data_root / "crema-d" / "AudioWAV").iterdir())[:3]
    return pad_waves(
        [load_utterance(Utterance(id=each.stem, audio=each, speaker="ann", corpus="mine")) for each in files]
    )


@pytest.mark.parametrize("more", ["", "speech_only = true"])
def test_from_a_recipe_to_a_recogniser(
    data_root: Path, tmp_path: Path, text: Path, recipe: Callable[..., Path], waves: Waves, more: str
) -> None:
    run = train_emotion(recipe(HEAD, more=more), data_root, tmp_path / "run")
    head, description = load_head(run.head)
    assert head.layers == {"layer2": 16, "text": 12, "decoder": 16}
    assert description.facts["transcript"]["encoder"] == str(text)

    folder = tmp_path / "packed"
    pack_run(tmp_path / "run", folder)
    recogniser = EmotionRecogniser.from_pretrained(folder, "cpu")
    assert recogniser.reader is not None
    assert recogniser.decoder is recogniser.reader.decoder  # words are written once, for people and for the head
    silent = EmotionRecogniser.from_pretrained(folder, "cpu", spells=False)
    spoken = waves._replace(speech=torch.stack([0 * waves.lengths + 1600, waves.lengths - 800], dim=1))
    for one, other in zip(recogniser.predict(spoken), silent.predict(spoken), strict=True):
        assert one.spelling.text == "seven"
        assert other.spelling.text == ""
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)
    card = write_card(folder, []).read_text()
    assert f"the words that the recogniser writes, by the text encoder `{text}`" in card
    assert "the states of the recogniser's decoder as it writes" in card

    _look_into(recogniser, spoken)


def _look_into(recogniser: EmotionRecogniser, waves: Waves) -> None:
    """Words have a share of their own, each at its own time, in an explanation."""
    sound = Waves(waves.values[:1], waves.lengths[:1], None if waves.speech is None else waves.speech[:1])
    explainer = Explainer(recogniser)
    inputs = explainer.inputs(sound)
    assert len(inputs.clocks["text"]) == len(inputs.given["text"]) == len("seven")
    assert len(inputs.clocks["decoder"]) == len(inputs.given["decoder"])
    duration_s = int(sound.spoken().lengths if recogniser.speech_only else sound.lengths) / 16_000
    decision = explainer.decide(inputs, "anger", duration_s)
    assert decision.layers == ("layer2",)
    assert decision.kinds == ("unit", "word", "feature")
    assert {"text", "decoder"} < {part.name for part in decision.parts}
    assert sum(part.total for part in decision.parts) == pytest.approx(decision.score - decision.baseline, abs=0.02)
    for part in decision.parts:
        assert part.steps.sum() == pytest.approx(part.total, abs=1e-6)
    assert len(explainer.follow(inputs, duration_s).times_s) == 1


def test_a_head_reads_the_words_of_the_sound_in_recognition_as_in_training(
    data_root: Path, tmp_path: Path, tiny_model: Path, recipe: Callable[..., Path]
) -> None:
    made = HEAD.replace('["layer2", "text", "decoder"]', '"text"')
    run = train_emotion(recipe(made, model=tiny_model), data_root, tmp_path / "run")
    shutil.copyfile(tiny_model / "recogniser.json", tmp_path / "run" / "recogniser.json")
    shutil.copyfile(tiny_model / "recogniser.safetensors", tmp_path / "run" / "recogniser.safetensors")
    recogniser = EmotionRecogniser.from_pretrained(run.head.parent, "cpu")
    assert recogniser.reader is not None
    files = sorted((Path(affetto.__file__).parent / "demo").glob("*.flac"))
    utterances = [Utterance(id=each.stem, audio=each, speaker="ann", corpus="mine") for each in files]
    words = Words(recogniser.encoder, recogniser.reader, ("text", "text/mean"))
    banks = represent(utterances, words, tmp_path / "cache")
    given, spellings, *_ = recogniser.read(pad_waves([load_utterance(each) for each in utterances]))
    assert len({each.text for each in spellings}) == len(files) > 1
    kept = banks["text"].batch(np.arange(len(files)))
    assert kept.lengths.tolist() == given["text"].lengths.tolist()
    torch.testing.assert_close(kept.values, given["text"].values, atol=2e-3, rtol=2e-3)  # kept with ten bits
    torch.testing.assert_close(banks["text/mean"].dense[0], given["text"].mean(), atol=1e-5, rtol=1e-4)


def test_another_text_encoder_is_refused(
    data_root: Path, tmp_path: Path, text: Path, recipe: Callable[..., Path]
) -> None:
    here = Path(shutil.copytree(text, tmp_path / "reader"))
    train_emotion(recipe(HEAD, text=here), data_root, tmp_path / "run")
    text_encoder(here, seed=9)
    with pytest.raises(CheckpointError, match=f"another text encoder than what is now {here}"):
        EmotionRecogniser.from_pretrained(tmp_path / "run", "cpu")
    shutil.rmtree(here)
    with pytest.raises(CheckpointError, match=str(here)):
        EmotionRecogniser.from_pretrained(tmp_path / "run", "cpu")


def test_rows_that_read_words(
    data_root: Path, tmp_path: Path, recipe: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    real = WhisperText.write

    def count(self: WhisperText, states: Frames | None) -> list[Written]:
        written.append(len(states.lengths) if states is not None else 0)
        return real(self, states)

    monkeypatch.setattr(WhisperText, "write", count)
    rows = recipe(ROWS)
    run = run_experiment(rows, data_root, tmp_path / "runs" / "words", engine=Engine(jobs=1))
    assert [row.name for row in run.rows] == [
        "sound", "words", "text and a text encoder", "decoder and a text encoder", "words over time",
    ]  # fmt: skip
    assert sum(written) == 2 * 24  # once for both of the decoder's own layers, once for the text encoder
    facts = RunFolder(run.folder).facts()["encoders"]
    assert len({facts["what reads words in words"], facts["what reads words in text and a text encoder"]}) == 2
    again = run_experiment(rows, data_root, tmp_path / "runs" / "again", engine=Engine(jobs=1))
    assert sum(written) == 2 * 24
    assert [row.scores for row in again.rows] == [row.scores for row in run.rows]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('layer = ["layer2", "text", "decoder"]', 'layer = ["layer2", "said"]', "no layer 'said'; choose one of conv"),
        ('"{text}"', '"nowhere"', "nowhere: no such model"),
        ('transcript = {{ encoder = "{text}" }}', 'transcript = {{ language = "xx" }}', "no language 'xx'"),
    ],
)
def test_what_cannot_be_read_is_said_before_anything_is_computed(
    data_root: Path, tmp_path: Path, recipe: Callable[..., Path], old: str, new: str, problem: str
) -> None:
    form = HEAD.replace(old, new)
    assert form != HEAD
    form = form.replace(
        'layer = ["layer2", "said"]\ntranscript = {{ encoder = "{text}" }}', 'layer = ["layer2", "said"]'
    )
    with pytest.raises(AffettoError, match=problem):
        train_emotion(recipe(form), data_root, tmp_path / "run")
    assert not (tmp_path / "run").exists()
