"""A model folder with a second head, for emotion in numbers: from packing to every output."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch

import affetto
from affetto import metrics, pretrained
from affetto.cli import main
from affetto.data.utterance import Utterance
from affetto.errors import CheckpointError
from affetto.evaluate.cross_corpus import CorpusPart, score_corpora
from affetto.models import checkpoint
from affetto.models.heads import EmotionHead, load_head, save_head
from affetto.models.heads.kinds import MeanPoolingConfig
from affetto.models.network import load_recogniser
from affetto.packing import pack_run, write_card
from affetto.recognise import EmotionRecogniser
from affetto.recording import Recording
from affetto.report.cross_corpus import score_sheets, write_scores
from affetto.server.answers import model_answer

DEMO = Path(affetto.__file__).parent / "demo"
SCHEMA = json.loads((Path(__file__).parents[1] / "docs" / "output.schema.json").read_text(encoding="utf-8"))
RANGE = {"valence": [1.0, 5.0], "activation": [1.0, 4.5]}


def _save(run: Path, model: Path) -> EmotionHead:
    """What a training of a head on a model's layers leaves."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        head = EmotionHead(MeanPoolingConfig(layer=("gru1", "gru2")), (), {"gru1": 8, "gru2": 8}, tuple(RANGE)).eval()
        torch.nn.init.normal_(head.output.weight)  # type: ignore[arg-type]
    head.units.measure(torch.tensor([3.0, 2.5]), torch.tensor([0.9, 0.8]))
    recogniser, _ = load_recogniser(model / pretrained.RECOGNISER)
    recipe = {"corpus": "talks", "licence": "CC0", "seed": 1, "test_speakers": ["9", "10"]}
    facts = {
        "encoder_fingerprint": checkpoint.fingerprint(recogniser),
        "encoder": str(model),
        "range": RANGE,
        "recipe": recipe,
        "corpora": ["talks"],
        "utterances": {"train": 5, "validation": 3, "test": 2},
        "test": {"ccc": {"valence": 0.4, "activation": 0.6}},
    }
    save_head(run / pretrained.DIMENSIONS, head, facts)
    return head


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    """A model with both heads."""
    folder = tmp_path / "both"
    shutil.copytree(tiny_model, folder)
    _save(tmp_path / "run", tiny_model)
    pack_run(tmp_path / "run", folder)
    return folder


@pytest.fixture
def recogniser(model: Path) -> EmotionRecogniser:
    return EmotionRecogniser.from_pretrained(model, "cpu")


def test_a_segment_has_what_the_head_predicts(recogniser: EmotionRecogniser, tiny_model: Path) -> None:
    assert recogniser.dimensions == tuple(RANGE)
    recording = recogniser.recognise(DEMO / "happy.flac")
    (segment,) = recording.segments
    samples, rate = affetto.audio.load(DEMO / "happy.flac"), affetto.audio.SAMPLE_RATE
    spoken = samples[round(segment.start_s * rate) : round(segment.end_s * rate)]
    alone = recogniser.predict(affetto.frames.pad_waves([spoken]))[0]
    assert segment.dimensions == pytest.approx(alone.dimensions, abs=0.5)  # the sound around it is read, too
    assert recording.dimensions == pytest.approx(segment.dimensions)
    assert len(set(segment.dimensions.values())) == 2
    jsonschema.validate(recording.as_dict(), SCHEMA, cls=jsonschema.Draft202012Validator)
    plain = EmotionRecogniser.from_pretrained(tiny_model, "cpu")
    assert plain.recognise(DEMO / "happy.flac").probabilities == pytest.approx(recording.probabilities)
    assert plain.fingerprint() != recogniser.fingerprint()


def test_the_whole_is_the_mean_over_time(recogniser: EmotionRecogniser, call: Path) -> None:
    recording = recogniser.recognise(call / "call.wav")
    assert len(recording.segments) > 1
    lengths = [each.end_s - each.start_s for each in recording.segments]
    values = [each.dimensions["valence"] for each in recording.segments]
    assert recording.dimensions["valence"] == pytest.approx(np.average(values, weights=lengths))


def test_silence_has_no_values(recogniser: EmotionRecogniser) -> None:
    recording = recogniser.recognise_samples(np.zeros(16_000, np.float32), 16_000)
    assert recording.dimensions == dict.fromkeys(RANGE)


def test_a_folder_with_that_head_alone_goes_with_its_recognisers_emotions(tiny_model: Path, tmp_path: Path) -> None:
    head = _save(tmp_path / "run", tiny_model)
    pack_run(tmp_path / "run", tmp_path / "alone")
    assert [path.name for path in sorted((tmp_path / "alone").iterdir())] == [
        "dimensions.json",
        "dimensions.safetensors",
    ]
    found = EmotionRecogniser.from_pretrained(tmp_path / "alone", "cpu")
    assert found.dimensions == head.dimensions
    assert found.emotions == EmotionRecogniser.from_pretrained(tiny_model, "cpu").emotions


@pytest.mark.parametrize("fault", ["another recogniser", "predicts classes", "weights are missing"])
def test_a_head_that_does_not_belong_is_refused(fault: str, model: Path) -> None:
    path = model / pretrained.DIMENSIONS
    head, description = load_head(path)
    if fault == "another recogniser":
        save_head(path, head, {**description.facts, "encoder_fingerprint": "0"})
    elif fault == "predicts classes":
        for suffix in (".safetensors", ".json"):
            shutil.copy((model / pretrained.EMOTION).with_suffix(suffix), path.with_suffix(suffix))
    else:
        path.unlink()
    problem = "no such file|missing" if fault == "weights are missing" else fault
    with pytest.raises(CheckpointError, match=f"(?i){problem}"):
        EmotionRecogniser.from_pretrained(model, "cpu")


def test_the_card_and_the_service_say_what_is_predicted(model: Path, recogniser: EmotionRecogniser) -> None:
    for name in (pretrained.RECOGNISER, pretrained.EMOTION):  # whose facts are too few for a card
        for suffix in (".safetensors", ".json"):
            (model / name).with_suffix(suffix).unlink()
    text = write_card(model, []).read_text(encoding="utf-8")
    assert "## Dimensions" in text
    assert "CCC of valence 0.400, CCC of activation 0.600" in text
    assert "valence from 1 to 5, activation from 1 to 4.5" in text
    assert model_answer(str(model), recogniser).dimensions == {name: tuple(ends) for name, ends in RANGE.items()}


@pytest.mark.parametrize("format_", ["table", "json", "csv"])
def test_the_shell_shows_them(format_: str, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["recognise", str(DEMO / "happy.flac"), "--model", str(model), "--format", format_, "--device", "cpu"])
    assert not ended.value.code
    out = capsys.readouterr().out
    if format_ == "json":
        (values,) = json.loads(out)
        assert list(values["dimensions"]) == list(values["segments"][0]["dimensions"]) == list(RANGE)
    elif format_ == "csv":
        (row,) = csv.DictReader(io.StringIO(out))
        assert list(row)[-2:] == list(RANGE)
        assert 0 < float(row["valence"]) < 10
    else:
        assert "valence" in out


class Told:
    """Says what it was told to of each clip in turn."""

    emotions = ("anger", "sadness")

    def __init__(self, values: list[float | None]) -> None:
        self.values = values

    def recognise_many(self, sources: object, progress: object = None, judgement: object = None) -> object:  # noqa: ARG002
        for value, _ in zip(self.values, sources, strict=True):  # type: ignore[call-overload]
            emotion = None if value is None else "anger"
            shares = {"anger": 0.0 if value is None else 1.0, "sadness": 0.0}
            yield Recording("a", 1.0, (), emotion, shares, "", dimensions={"valence": value, "activation": value})


def test_evaluation_scores_what_the_corpus_has(tmp_path: Path) -> None:
    clip = Utterance(id="0", audio=Path("a.wav"), speaker="ann", corpus="c", emotion="anger")
    truths = [1.0, 2.0, None, 4.0, 3.0]
    clips = tuple(
        replace(clip, id=str(number), dimensions=None if truth is None else {"valence": truth})
        for number, truth in enumerate(truths)
    )
    told = Told([1.5, 2.0, 5.0, 3.0, None])
    (scores,) = score_corpora(told, [CorpusPart("c", clips, None)])  # type: ignore[arg-type]
    expected = metrics.ccc(np.array([1.0, 2.0, 4.0]), np.array([1.5, 2.0, 3.0]))
    assert scores.ccc == {"valence": pytest.approx(expected)}
    table = score_sheets([scores], details=False)[0]
    assert (table.header[-1], table.rows[0][-1]) == ("CCC valence", f"{expected:.3f}")
    assert scores.as_dict()["ccc"] == scores.ccc
    write_scores(tmp_path, {}, [scores])
    rows = list(csv.DictReader((tmp_path / "predictions.csv").open()))
    assert [row["true_valence"] for row in rows] == ["1.000000", "2.000000", "", "4.000000", "3.000000"]
    assert [row["predicted_activation"] for row in rows] == ["1.500000", "2.000000", "5.000000", "3.000000", ""]
