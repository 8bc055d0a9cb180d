"""Transcripts of recordings and error rates on a corpus."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jiwer
import pytest
import torch

import affetto
from affetto import audio, pretrained
from affetto.errors import CorpusError
from affetto.frames import Frames
from affetto.models.decoding import DecoderChoice
from affetto.recognise import EmotionRecogniser
from affetto.recording import Recording, Spelling, Word
from affetto.streaming import Samples
from affetto.transcribe import Transcriber, Transcript, score_transcriber, transcribed_utterances

DEMO = sorted((Path(affetto.__file__).parent / "demo").glob("*.flac"))


@pytest.fixture(scope="module")
def transcriber(tiny_model: Path) -> Transcriber:
    return Transcriber.from_pretrained(tiny_model, "cpu")


@pytest.fixture
def corpus(tmp_path: Path, make_sound: Callable[..., Path]) -> Path:
    texts = ["Oh, 2 of them!", "Vox", "ov x", None, "lost"]
    lines = [
        {"id": f"u{number}", "audio": make_sound(f"{number}.wav", duration_s=0.4 + number / 10).name, "speaker": "a"}
        | ({} if text is None else {"text": text})
        | {"partition": "test" if number < 2 else "train"}
        for number, text in enumerate(texts)
    ]
    (tmp_path / "4.wav").write_text("no sound")
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return manifest


def test_it_writes_what_the_recogniser_reads(transcriber: Transcriber, tiny_model: Path) -> None:
    recordings = EmotionRecogniser.from_pretrained(tiny_model).recognise_many(DEMO)
    expected = [recording.transcript for recording in recordings if isinstance(recording, Recording)]
    transcripts = transcriber.transcribe_many(DEMO)
    assert [each.text for each in transcripts if isinstance(each, Transcript)] == expected
    assert len(expected) == len(DEMO)


def test_recordings_hold_the_same_words_without_emotion(transcriber: Transcriber) -> None:
    recordings = [each for each in transcriber.recognise_many(DEMO) if isinstance(each, Recording)]
    transcripts = [each for each in transcriber.transcribe_many(DEMO) if isinstance(each, Transcript)]
    assert [each.transcript for each in recordings] == [each.text for each in transcripts]
    assert [word for each in recordings for segment in each.segments for word in segment.words] == [
        word for each in transcripts for word in each.words
    ]
    assert all(segment.emotion is None for each in recordings for segment in each.segments)
    assert {each.statement for each in recordings} == {""}


@dataclass
class Counting:
    """Writes a word a second, which lasts half of it, of whatever is heard together."""

    window_s: float
    name = fingerprint = "counting"

    def __call__(self, output: Frames | None) -> list[Spelling]:
        assert output is not None
        seconds = [int(length / 25) for length in output.lengths]
        words = [tuple(Word(f"w{at}", at, at + 0.5, 1.0) for at in range(each)) for each in seconds]
        return [Spelling(" ".join(word.text for word in each), each) for each in words]


def test_words_of_what_is_recognised_together_come_into_their_stretches(transcriber: Transcriber) -> None:
    pause = torch.zeros(12_000)
    sound = torch.cat([part for path in DEMO for part in (audio.load(path), pause)])
    (alone,), (found,) = (
        Transcriber(transcriber.encoder, Counting(window_s)).recognise_many([Samples(sound, 16_000)])
        for window_s in (0.0, 30.0)
    )
    assert isinstance(alone, Recording)
    assert isinstance(found, Recording)
    times = [(each.start_s, each.end_s) for each in found.segments]
    assert times == [(each.start_s, each.end_s) for each in alone.segments]
    assert alone.transcript.split().count("w0") == len(times) > 2
    assert found.transcript == " ".join(f"w{at}" for at in range(len(found.transcript.split())))
    for segment in found.segments:
        assert segment.transcript == " ".join(word.text for word in segment.words)
        assert all(segment.start_s <= word.start_s <= word.end_s <= segment.end_s for word in segment.words)


def test_scores_are_those_of_the_transcripts(transcriber: Transcriber, corpus: Path) -> None:
    seen: list[tuple[int, int]] = []
    utterances = transcribed_utterances(corpus)
    scores = score_transcriber(transcriber, utterances, lambda done, total: seen.append((done, total)))
    results = transcriber.transcribe_many([utterance.audio for utterance in utterances[:3]])
    hypotheses = [result.text for result in results if isinstance(result, Transcript)]
    references = ["oh two of them", "vox", "ov x"]
    assert scores.cer == pytest.approx(jiwer.cer(references, hypotheses))
    assert scores.wer == pytest.approx(jiwer.wer(references, hypotheses))
    assert scores.utterances == 3
    assert scores.hours == pytest.approx((0.4 + 0.5 + 0.6) / 3600)
    assert sum(scores.left_out.values()) == 1
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_partition_and_a_number(corpus: Path) -> None:
    assert [each.id for each in transcribed_utterances(corpus, partition="test")] == ["u0", "u1"]
    assert [each.id for each in transcribed_utterances(corpus, limit=2)] == ["u0", "u2"]


def test_an_unknown_partition_names_the_known(corpus: Path) -> None:
    with pytest.raises(CorpusError, match="choose one of test, train"):
        transcribed_utterances(corpus, partition="dev")


def test_nothing_to_compare_is_an_error(transcriber: Transcriber, corpus: Path) -> None:
    with pytest.raises(CorpusError, match="no utterance could be transcribed"):
        score_transcriber(transcriber, transcribed_utterances(corpus)[-1:])


def test_words_have_the_times_of_the_recording(transcriber: Transcriber) -> None:
    sound = torch.cat([torch.zeros(16_000), audio.load(DEMO[0])])
    [later] = transcriber.transcribe_many([Samples(sound, 16_000)])
    assert isinstance(later, Transcript)
    assert later.text == " ".join(word.text for word in later.words)
    assert later.as_dict()["words"] == [word.as_dict() for word in later.words]
    assert all(1 <= word.start_s <= word.end_s <= later.duration_s for word in later.words)


@pytest.fixture(scope="module")
def small() -> Transcriber:
    return Transcriber.from_pretrained(device="cpu", decoding=DecoderChoice("greedy"))


@pytest.mark.skipif(pretrained.DEFAULT not in pretrained.names(), reason="comes without the model small")
def test_words_are_found_where_they_were_said(small: Transcriber) -> None:
    first, second = audio.load(DEMO[0]), audio.load(DEMO[1])
    pause = torch.zeros(24_000)
    [heard] = small.transcribe_many([Samples(torch.cat([first, pause, second]), 16_000)])
    assert isinstance(heard, Transcript)
    ends_s, begins_s = len(first) / 16_000, (len(first) + len(pause)) / 16_000
    before = [word for word in heard.words if word.end_s < ends_s + 0.2]
    after = [word for word in heard.words if word.start_s > begins_s - 0.2]
    assert len(before) + len(after) == len(heard.words)
    assert min(len(before), len(after)) >= 5
