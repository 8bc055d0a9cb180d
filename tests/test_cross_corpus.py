"""Scores on any corpus: hand-worked figures, whom they count, and the product's own results behind them."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import affetto
from affetto.data.corpora import open_corpus
from affetto.errors import CorpusError
from affetto.evaluate.cross_corpus import CorpusPart, CorpusScores, corpus_part, score_corpora
from affetto.features.conditions import CLEAN, Condition
from affetto.recognise import EmotionRecogniser
from affetto.recording import Recording, Segment
from affetto.report.cross_corpus import score_notes, score_sheets, scores_to_markdown, scores_to_values, write_scores
from affetto.streaming import Failure, Source, label
from affetto.streaming.sources import blocks
from affetto.timeline import Judgement

CLASSES = ("anger", "neutral", "sadness")
DEMO = Path(affetto.__file__).parent / "demo"


def _recording(path: str, duration_s: float, shares: tuple[float, ...] | None) -> Recording:
    probabilities = dict(zip(CLASSES, shares or (0.0, 0.0, 0.0), strict=True))
    emotion = max(probabilities, key=probabilities.__getitem__) if shares else None
    segments = (Segment(0.0, duration_s, "", emotion, probabilities),) if emotion else ()
    return Recording(path, duration_s, segments, emotion, probabilities, "", sure=max(probabilities.values()) >= 0.5)


class Told:
    """Says of a file what it was told to, by the file's stem; listens to it nevertheless."""

    emotions = CLASSES

    def __init__(self, shares: dict[str, tuple[float, ...] | None]) -> None:
        self.shares = shares
        self.lengths: list[int] = []

    def recognise_many(
        self,
        sources: Iterable[Source],
        progress: Callable[[float], None] | None = None,  # noqa: ARG002
        judgement: Judgement = Judgement(),  # noqa: ARG002, B008
    ) -> Iterator[Recording | Failure]:
        for source in sources:
            try:
                samples = sum(map(len, blocks(source)))
            except affetto.errors.AffettoError as error:
                yield Failure(label(source), error)
                continue
            self.lengths.append(samples)
            yield _recording(label(source), samples / 16_000, self.shares[Path(label(source)).stem])


@pytest.fixture
def corpus(make_sound: Callable[..., Path], tmp_path: Path) -> Path:
    """Three labels of the model's and one that is not, two speakers, half a second each."""
    places = ["anger/ann/a1", "anger/bob/a2", "neutral/ann/n1", "neutral/bob/n2", "sadness/ann/s1", "disgust/bob/d1"]
    for place in places:
        (tmp_path / "mine" / place).parent.mkdir(parents=True, exist_ok=True)
        make_sound(f"mine/{place}.wav")
    return tmp_path / "mine"


SHARES: dict[str, tuple[float, ...] | None] = {
    "a1": (0.8, 0.1, 0.1),  # right and sure
    "a2": (0.2, 0.6, 0.2),  # wrong and sure
    "n1": (0.3, 0.4, 0.3),  # right, not sure
    "n2": (0.1, 0.9, 0.0),  # right and sure
    "s1": None,  # no speech: wrong
}


def _score(corpus: Path, **choice: object) -> CorpusScores:
    (scores,) = score_corpora(Told(SHARES), [corpus_part(corpus, CLASSES, **choice)])
    return scores


def test_scores_are_those_worked_out_by_hand(corpus: Path) -> None:
    scores = _score(corpus)
    assert (scores.corpus, scores.condition, scores.utterances) == ("mine", "clean", 5)
    assert scores.hours == pytest.approx(2.5 / 3600)
    assert scores.accuracy == pytest.approx(3 / 5)
    assert scores.uar == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert scores.f1_macro == pytest.approx((2 / 3 + 4 / 5 + 0) / 3)
    assert scores.ece == pytest.approx((0.2 + 0.6 + 0.6 + 0.1) / 4)  # each alone in its bin
    assert scores.stated_accuracy == pytest.approx(2 / 3)
    assert scores.stated == {
        "anger": 0.2,
        "neutral": 0.4,
        "sadness": 0.0,
        "not sure": 0.2,
        "unfamiliar sound": 0.0,
        "no speech": 0.2,
    }
    assert (scores.not_sure, scores.no_speech) == (0.2, 0.2)
    assert scores.confusion == {
        "anger": {"anger": 1, "neutral": 1, "sadness": 0, "no speech": 0},
        "neutral": {"anger": 0, "neutral": 2, "sadness": 0, "no speech": 0},
        "sadness": {"anger": 0, "neutral": 0, "sadness": 0, "no speech": 1},
    }
    assert scores.speakers["ann"] == (3, pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert scores.speakers["bob"] == (2, pytest.approx(1 / 2), pytest.approx(1 / 2))
    assert (scores.left_out, scores.failed) == ({"disgust": 1}, {})


def test_clips_are_recognised_under_each_condition(corpus: Path) -> None:
    told, done = Told(SHARES), list[tuple[int, int]]()
    conditions = [CLEAN, Condition.parse("silence-1"), Condition.parse("babble-5")]
    found = score_corpora(
        told, [corpus_part(corpus, CLASSES)], conditions, progress=lambda *counts: done.append(counts)
    )
    assert [each.condition for each in found] == ["clean", "silence-1", "babble-5"]
    assert told.lengths == [8000] * 5 + [40_000] * 5 + [8000] * 5
    assert done == [(number, 15) for number in range(1, 16)]


def test_unreadable_clips_are_counted_by_reason(corpus: Path) -> None:
    (corpus / "anger/bob/a2.wav").write_bytes(b"")
    (corpus / "neutral/bob/n2.wav").write_bytes(b"")
    (scores,) = score_corpora(Told(SHARES), [corpus_part(corpus, CLASSES)], [Condition.parse("gain-6")])
    assert scores.failed == {"the file is empty": 2}
    assert (scores.utterances, scores.accuracy) == (3, pytest.approx(2 / 3))
    assert score_notes([scores])[1] == "mine, gain-6: not read: the file is empty 2"


def test_nothing_readable_is_an_error(corpus: Path) -> None:
    for path in corpus.rglob("*.wav"):
        path.write_bytes(b"")
    with pytest.raises(CorpusError, match="the file is empty: 5"):
        _score(corpus)


def test_only_some_speakers(corpus: Path) -> None:
    assert set(_score(corpus, speakers=["ann"]).speakers) == {"ann"}
    with pytest.raises(CorpusError, match="no speaker cyd"):
        corpus_part(corpus, CLASSES, speakers=["ann", "cyd"])


def test_a_limit_draws_the_same_clips_each_time_and_more_of_them(corpus: Path) -> None:
    drawn = [[each.id for each in corpus_part(corpus, CLASSES, limit=limit).utterances] for limit in (2, 2, 4, 9)]
    assert [len(each) for each in drawn] == [2, 2, 4, 5]
    assert drawn[0] == drawn[1]
    assert set(drawn[0]) < set(drawn[2]) < set(drawn[3])


def test_other_labels_alone_are_an_error_that_lists_them(corpus: Path) -> None:
    with pytest.raises(CorpusError, match=r"one of joy; its labels are anger, disgust, neutral, sadness"):
        corpus_part(corpus, ["joy"])


def test_without_labels_only_what_is_stated_is_counted(corpus: Path) -> None:
    unlabelled = tuple(replace(each, emotion=None) for each in corpus_part(corpus, CLASSES).utterances)
    part = replace(corpus_part(corpus, CLASSES), utterances=unlabelled)
    (scores,) = score_corpora(Told(SHARES), [part])
    assert scores.uar is scores.accuracy is scores.f1_macro is scores.ece is scores.stated_accuracy is None
    assert scores.stated["neutral"] == 0.4
    assert (scores.confusion, scores.speakers) == ({}, {})
    assert "mine, clean | 5 | - | -" in scores_to_markdown([scores])


def test_a_corpus_without_labels_is_read_whole(make_sound: Callable[..., Path], tmp_path: Path) -> None:
    make_sound("talks/a.wav")
    (tmp_path / "talks/manifest.csv").write_text("audio,speaker\na.wav,ann\n", encoding="utf-8")
    part = corpus_part(tmp_path / "talks", CLASSES)
    assert len(part.utterances) == 1
    assert part.left_out == {}


def test_tables_show_the_scores(corpus: Path) -> None:
    scores = _score(corpus)
    table, stated = score_sheets([scores], details=False)
    assert table.rows == (("mine, clean", "5", "0.500", "0.600", "0.489", "0.375", "0.667"),)
    assert stated.header[1:] == ("anger", "neutral", "sadness", "not sure", "unfamiliar sound", "no speech")
    assert stated.rows == (("mine, clean", "20.0%", "40.0%", "0.0%", "20.0%", "0.0%", "20.0%"),)
    text = scores_to_markdown([scores])
    assert "| sadness | 0 | 0 | 0 | 1 |" in text
    assert "| bob | 0.500 |" in text
    assert "- mine: left out, of no class of the model: disgust 1" in text


def test_a_folder_keeps_scores_and_what_they_follow_from(corpus: Path, tmp_path: Path) -> None:
    scores = list(score_corpora(Told(SHARES), [corpus_part(corpus, CLASSES)], [CLEAN, Condition.parse("dc-0.1")]))
    write_scores(tmp_path / "out" / "deep", {"model": "mine"}, scores)
    values = json.loads((tmp_path / "out/deep/scores.json").read_text())
    assert values == json.loads(json.dumps(scores_to_values({"model": "mine"}, scores)))
    assert [*values] == ["version", "model", "scores"]
    assert [*values["scores"][0]] == [
        "corpus", "condition", "utterances", "hours", "uar", "accuracy", "f1_macro", "ece", "stated_accuracy",
        "stated", "ccc", "confusion", "left_out", "failed", "speakers",
    ]  # fmt: skip
    assert (tmp_path / "out/deep/scores.md").read_text() == scores_to_markdown(scores)
    with (tmp_path / "out/deep/predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10
    assert rows[0]["utterance"] == "anger/ann/a1"
    assert [rows[7][name] for name in ("condition", "predicted", "statement", "p_neutral")] == [
        "dc-0.1", "neutral", "not sure", "0.400000",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def recogniser() -> EmotionRecogniser:
    return EmotionRecogniser.from_pretrained("tiny", precision="float32")


@pytest.fixture
def played(tmp_path: Path) -> Path:
    """The bundled recordings as folders of emotions."""
    for name, emotion in {"angry": "anger", "happy": "happiness", "neutral": "neutral", "sad": "sadness"}.items():
        (tmp_path / "played" / emotion / name).mkdir(parents=True)
        shutil.copy(DEMO / f"{name}.flac", tmp_path / "played" / emotion / name)
    return tmp_path / "played"


def test_predictions_are_those_of_the_product(recogniser: EmotionRecogniser, played: Path) -> None:
    part: CorpusPart = corpus_part(played, recogniser.emotions)
    (scores,) = score_corpora(recogniser, [part])
    assert scores.accuracy == 1.0
    for clip, utterance in zip(scores.predictions, open_corpus(played).utterances, strict=True):
        recording = recogniser.recognise(utterance.audio)
        assert clip.statement == recording.statement
        assert clip.probabilities == pytest.approx(recording.probabilities, abs=1e-5)
