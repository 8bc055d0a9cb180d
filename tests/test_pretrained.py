"""The embedded model on the bundled recordings and on real speech of people it never heard."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import affetto
from affetto import metrics, pretrained
from affetto.data.corpora import open_corpus
from affetto.models import checkpoint
from affetto.recognise import EmotionRecogniser
from affetto.recording import Recording
from affetto.transcribe import Transcriber, score_transcriber, transcribed_utterances

DEMO = sorted((Path(affetto.__file__).parent / "demo").glob("*.flac"))
TRUTH = {
    "angry": ("anger", "how could you do this to me i told you never to touch it"),
    "happy": ("happiness", "we won the game what a wonderful surprise"),
    "neutral": ("neutral", "the train to the city leaves at ten in the morning"),
    "sad": ("sadness", "i miss her and nothing is the same any more"),
}
FOLDER = pretrained.find(pretrained.DEFAULT)


@pytest.fixture(scope="module")
def recogniser() -> EmotionRecogniser:
    return EmotionRecogniser.from_pretrained(device="cpu")


@pytest.mark.parametrize("path", DEMO, ids=lambda path: path.stem)
def test_bundled_recordings_come_out(recogniser: EmotionRecogniser, path: Path) -> None:
    recording = recogniser.recognise(path)
    assert set(recording.probabilities) == {"anger", "happiness", "neutral", "sadness"}
    assert re.fullmatch(r"[a-z' ]+", recording.transcript)
    assert sum(recording.probabilities.values()) == pytest.approx(1, abs=1e-5)
    emotion, text = TRUTH[path.stem]
    assert recording.statement == emotion
    assert metrics.wer([text], [recording.transcript]) < 0.5


@pytest.mark.parametrize("name", pretrained.names())
def test_weights_fit_into_the_package(name: str) -> None:
    assert sum(path.stat().st_size for path in (FOLDER.parent / name).glob("*.safetensors")) < 15e6


def test_all_weights_together_grow_no_further() -> None:
    assert sum(path.stat().st_size for path in FOLDER.parent.rglob("*.safetensors")) < 24.4e6


def test_the_card_holds_the_figures_of_the_checkpoints() -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    head = checkpoint.describe(FOLDER / pretrained.EMOTION, "emotion head").facts
    speech = checkpoint.describe(FOLDER / pretrained.RECOGNISER, "recogniser").facts
    assert f"UAR {head['test']['uar']:.3f}" in card
    assert f"{speech['validation_cer']:.3f}" in card


def test_unknown_speakers_are_recognised_far_better_than_by_chance(
    recogniser: EmotionRecogniser, data_root: Path
) -> None:
    test_speakers = checkpoint.describe(FOLDER / pretrained.EMOTION, "emotion head").facts["recipe"]["test_speakers"]
    chosen = [
        each
        for each in open_corpus(data_root / "crema-d").utterances
        if each.speaker in test_speakers[-4:] and each.emotion in recogniser.emotions
    ]
    heard = [each for each in recogniser.recognise_many([each.audio for each in chosen]) if isinstance(each, Recording)]
    assert len(heard) == len(chosen)
    assert metrics.uar([str(each.emotion) for each in chosen], [each.emotion or each.statement for each in heard]) > 0.6


def test_the_cards_error_rate_is_what_a_user_measures(data_root: Path) -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    stated = re.search(r"\| LibriSpeech[^|]*\| (0\.\d+) \|", card)
    assert stated is not None
    utterances = transcribed_utterances(data_root / "speech/LibriSpeech", partition=None, limit=60)
    scores = score_transcriber(Transcriber.from_pretrained(device="cpu"), utterances)
    assert scores.cer == pytest.approx(float(stated.group(1)), abs=0.06)  # 60 of 638 utterances
