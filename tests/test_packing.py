"""Packed models: small, loadable, honest about what they hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from affetto import pretrained
from affetto.cli import main
from affetto.errors import CheckpointError
from affetto.models import checkpoint
from affetto.models.deepspeech2 import PRESETS, ConvolutionConfig, DeepSpeech2, DeepSpeech2Config
from affetto.models.heads import EmotionHead, load_head, save_head
from affetto.models.heads.kinds import BaselineConfig, MeanPoolingConfig
from affetto.models.language_model import save_language_model
from affetto.models.network import load_recogniser, save_recogniser
from affetto.packing import pack_head, pack_recogniser, pack_run, read_evaluation, write_card
from affetto.text import Alphabet
from affetto.training.recogniser.language_model import estimate

SHAPE = DeepSpeech2Config(
    convolutions=(ConvolutionConfig(channels=2, kernel=(5, 5), stride=(8, 4)),), width=4, depth=2, merge="sum"
)
RECOGNISER_FACTS = {
    "recipe": {"corpora": [{"path": "speech/mine"}], "preset": "small", "licence": "CC0"},
    "training_hours": 1.5,
    "validation_cer": 0.25,
    "epochs": 3,
    "environment": {"affetto": "0.1.0", "commit": "abc"},
}
HEAD_FACTS = {
    "recipe": {
        "head": {"kind": "mean_pooling", "layer": "gru2"},
        "corpus": "acted",
        "licence": "CC0",
        "seed": 7,
        "test_speakers": ["9"],
    },
    "utterances": {"train": 5, "validation": 3, "test": 2},
    "test": {"uar": 0.5, "accuracy": 0.5, "f1_macro": 0.5, "classes": ["a", "b"], "confusion": [[11, 12], [13, 14]]},
}


KEYS = ("corpus", "cer", "wer", "utterances", "hours")


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """A trained recogniser's folder and that of a head on the packed recogniser."""
    torch.manual_seed(1)
    speech, emotion = tmp_path / "speech", tmp_path / "emotion"
    save_recogniser(speech / pretrained.RECOGNISER, DeepSpeech2(SHAPE), RECOGNISER_FACTS)
    pack_recogniser(speech, tmp_path / "packed")
    packed, _ = load_recogniser(tmp_path / "packed" / pretrained.RECOGNISER)
    head = EmotionHead(MeanPoolingConfig(layer="gru2"), ("a", "b"), {"gru2": 4})
    facts = HEAD_FACTS | {"encoder_fingerprint": checkpoint.fingerprint(packed)}
    save_head(emotion / pretrained.EMOTION, head, facts)
    return speech, emotion


def _exit_code(*arguments: str) -> object:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return ended.value.code


def test_a_packed_model_is_half_as_large_and_nearly_the_same(runs: tuple[Path, Path], tmp_path: Path) -> None:
    speech, emotion = runs
    pack_head(emotion, tmp_path / "packed")
    exact, _ = load_recogniser(speech / pretrained.RECOGNISER)
    packed, _ = load_recogniser(tmp_path / "packed" / pretrained.RECOGNISER)
    torch.testing.assert_close(packed.state_dict(), exact.state_dict(), rtol=1e-3, atol=1e-3)
    sizes = [(folder / pretrained.RECOGNISER).stat().st_size for folder in (speech, tmp_path / "packed")]
    assert sizes[1] < 0.8 * sizes[0]
    assert load_head(tmp_path / "packed" / pretrained.EMOTION)[0].classes == ("a", "b")


def test_a_head_takes_a_byte_for_each_number_where_asked(runs: tuple[Path, Path], tmp_path: Path) -> None:
    pack_run(runs[1], tmp_path / "packed", "int8")
    packed, _ = load_head(tmp_path / "packed" / pretrained.EMOTION)
    exact, _ = load_head(runs[1] / pretrained.EMOTION)
    assert load_file(tmp_path / "packed" / pretrained.EMOTION)["output.weight"].dtype == torch.int8
    step = exact.output.weight.abs().max().item() / 127
    torch.testing.assert_close(packed.output.weight, exact.output.weight, rtol=0, atol=step / 2)
    assert not torch.equal(packed.output.weight, exact.output.weight)


def test_a_head_of_another_recogniser_is_refused(runs: tuple[Path, Path], tmp_path: Path) -> None:
    _, emotion = runs
    save_recogniser(tmp_path / "other" / pretrained.RECOGNISER, DeepSpeech2(SHAPE), RECOGNISER_FACTS)
    with pytest.raises(CheckpointError, match="another recogniser"):
        pack_head(emotion, tmp_path / "other")


def test_the_card_says_what_was_measured(runs: tuple[Path, Path], tmp_path: Path) -> None:
    pack_head(runs[1], tmp_path / "packed")
    found = {"corpus": "LibriSpeech", "cer": 0.4321, "wer": 0.8765, "utterances": 638, "hours": 1.35}
    text = write_card(tmp_path / "packed", [found]).read_text(encoding="utf-8")
    assert "| LibriSpeech | 0.432 | 0.876 | 638 | 1.35 | none | greedy |" in text
    assert "CER on held-out speakers, 0.250" in text
    assert "UAR 0.500" in text
    assert "| true \\ predicted | a | b |" in text
    assert "| a | 11 | 12 |" in text
    assert "CC0" in text


def test_the_hub_reads_what_the_card_begins_with(runs: tuple[Path, Path], tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    for run in runs:
        pack_run(run, tmp_path / "packed")
    row = {"corpus": "savee", "condition": "telephone", "utterances": 13, "uar": 0.51234, "accuracy": None, "ece": None}
    silent = row | {"corpus": "read", "uar": None}
    words = {"corpus": "LibriSpeech test", "cer": 0.4321, "wer": 0.8765, "utterances": 638, "hours": 1.35}
    scores = {"scores": [each | {"stated": {}} for each in (row, silent)]}
    card = hub.ModelCard.load(write_card(tmp_path / "packed", [words, scores]))
    found = card.data.to_dict()
    assert card.text.startswith("# Model card: packed\n")
    assert {key: found[key] for key in ("license", "library_name", "pipeline_tag", "datasets", "metrics")} == {
        "license": "cc0-1.0",
        "library_name": "affetto",
        "pipeline_tag": "audio-classification",
        "datasets": ["mine", "acted"],
        "metrics": ["cer", "wer", "recall", "accuracy", "f1"],
    }
    assert "speech-emotion-recognition" in found["tags"]
    assert "base_model" not in found
    measured = [(each.dataset_name, each.metric_type, each.metric_value) for each in card.data.eval_results]
    assert measured == [
        ("LibriSpeech test, greedy", "cer", 0.4321),
        ("LibriSpeech test, greedy", "wer", 0.8765),
        *(("acted, 1 test speakers", metric, 0.5) for metric in ("recall", "accuracy", "f1")),
        ("savee, telephone", "recall", 0.5123),
    ]
    assert card.data.eval_results[0].dataset_type == "LibriSpeech-test"


def test_the_metadata_has_where_a_head_comes_from(tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    facts = HEAD_FACTS | {"corpora": ["emodb", "mine"], "encoder": "openai/whisper-base@abc"}
    facts["recipe"] = HEAD_FACTS["recipe"] | {"licence": "my own"}
    save_head(tmp_path / pretrained.EMOTION, EmotionHead(BaselineConfig(), ("a", "b"), {}), facts)
    found = hub.ModelCard.load(write_card(tmp_path, [])).data
    assert (found.license, found.license_name) == ("other", "see-the-card")
    assert (found.language, found.base_model) == (["de"], ["openai/whisper-base"])


@pytest.mark.parametrize(
    ("corpora", "told"),
    [
        ({"corpora": ["crema_d"]}, "\nActed emotion, twelve sentences, one language: on other voices"),
        ({"corpora": ["mine", "emodb"]}, "\nActed emotion, ten sentences, one language: on other voices"),
        ({"corpora": ["mine"]}, "\nOn other voices"),
        ({"recipe": {**HEAD_FACTS["recipe"], "corpus": "data/crema-d"}}, "\nActed emotion, twelve sentences"),
        ({}, "\nOn other voices"),
    ],
)
def test_the_card_says_of_emotions_what_the_corpus_does(
    runs: tuple[Path, Path], tmp_path: Path, corpora: dict[str, object], told: str
) -> None:
    save_head(
        tmp_path / "packed" / pretrained.EMOTION, EmotionHead(BaselineConfig(), ("a", "b"), {}), HEAD_FACTS | corpora
    )
    assert told in write_card(tmp_path / "packed", []).read_text(encoding="utf-8")


def test_the_card_names_no_layer_where_none_is_read(runs: tuple[Path, Path], tmp_path: Path) -> None:
    head = EmotionHead(BaselineConfig(), ("a", "b"), {})
    save_head(tmp_path / "packed" / pretrained.EMOTION, head, HEAD_FACTS)
    card = write_card(tmp_path / "packed", []).read_text(encoding="utf-8")
    assert "- **What**: baseline, reading acoustic features of its own." in card


@pytest.mark.parametrize(
    ("found", "part"),
    [
        ({"corpus": "mine"}, "trained on"),
        ({"corpus": "mine test"}, "held out, validates"),
        ({"corpus": "mine train"}, "trained on"),
        ({"corpus": "mine", "held_out_by": "recipe"}, "held out, validates"),
        ({"corpus": "others test"}, "none"),
    ],
)
def test_the_card_tells_what_was_trained_on(found: dict[str, str], part: str, tmp_path: Path) -> None:
    recipe = {**RECOGNISER_FACTS["recipe"], "corpora": [{"path": "speech/mine", "validation_partition": "test"}]}
    save_recogniser(tmp_path / pretrained.RECOGNISER, DeepSpeech2(SHAPE), RECOGNISER_FACTS | {"recipe": recipe})
    rates = {"cer": 0.5, "wer": 0.9, "utterances": 2, "hours": 0.1}
    text = write_card(tmp_path, [found | rates]).read_text(encoding="utf-8")
    assert f"| {found['corpus']} | 0.500 | 0.900 | 2 | 0.10 | {part} | greedy |" in text


@pytest.mark.parametrize(
    ("shape", "named"), [(PRESETS["small"].model_copy(update={"dropout": 0.2}), "small"), (SHAPE, "own")]
)
def test_the_card_names_a_shape_that_a_recipe_wrote_out(shape: DeepSpeech2Config, named: str, tmp_path: Path) -> None:
    recipe = {**RECOGNISER_FACTS["recipe"], "preset": None, "model": shape.model_dump(mode="json")}
    save_recogniser(tmp_path / pretrained.RECOGNISER, DeepSpeech2(SHAPE), RECOGNISER_FACTS | {"recipe": recipe})
    assert f"shape `{named}`" in write_card(tmp_path, []).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("first", "written"),
    [
        ({"training": {"epochs": 7}}, "after at most 7 in the stage before."),
        (
            {"training": {"epochs": 7}, "first": {"training": {"epochs": 2}}},
            "after at most 2 and 7 in the stages before.",
        ),
    ],
)
def test_the_card_names_the_stages_before(first: dict[str, object], written: str, tmp_path: Path) -> None:
    recipe = {**RECOGNISER_FACTS["recipe"], "first": first}
    save_recogniser(tmp_path / pretrained.RECOGNISER, DeepSpeech2(SHAPE), RECOGNISER_FACTS | {"recipe": recipe})
    assert f"3 epochs, {written}" in write_card(tmp_path, []).read_text(encoding="utf-8")


def test_the_shell_packs_both_and_writes_the_card(runs: tuple[Path, Path], tmp_path: Path) -> None:
    packed = tmp_path / "by-shell"
    found = tmp_path / "evaluation.json"
    found.write_text(json.dumps({"corpus": "mine", "cer": 0.5, "wer": 0.9, "utterances": 2, "hours": 0.1}))
    assert _exit_code("model", "pack", *map(str, runs), "--into", str(packed)) == 0
    assert _exit_code("model", "card", str(packed), "--evaluation", str(found)) == 0
    assert sorted(path.name for path in packed.iterdir()) == [
        "README.md",
        "emotion.json",
        "emotion.safetensors",
        "recogniser.json",
        "recogniser.safetensors",
    ]
    text = (packed / "README.md").read_text(encoding="utf-8")
    assert "| mine | 0.500 | 0.900 | 2 | 0.10 | trained on | greedy |" in text


def test_scores_of_emotions_go_into_the_card(runs: tuple[Path, Path], tmp_path: Path) -> None:
    found = tmp_path / "scores.json"
    row = {"corpus": "savee", "condition": "telephone", "utterances": 1300, "uar": 0.5, "accuracy": 0.25, "ece": None}
    found.write_text(json.dumps({"scores": [row | {"stated": {"not sure": 0.125, "unfamiliar sound": 0.5}}]}))
    for run in runs:
        pack_run(run, tmp_path / "packed")
    text = write_card(tmp_path / "packed", [read_evaluation(found)]).read_text(encoding="utf-8")
    assert "| savee, telephone | 1,300 | 0.500 | 0.250 | - | 12.5% | 50.0% | 0.0% |" in text


def test_a_language_model_goes_along_and_into_the_card(runs: tuple[Path, Path], tmp_path: Path) -> None:
    alphabet = Alphabet(SHAPE.symbols)
    facts = {"recipe": {"corpora": [{"path": "speech/mine"}]}, "licence": "CC0", "texts": 1234, "characters": 56}
    ngrams = estimate([alphabet.encode("no ")], 2, len(alphabet.symbols))
    path = runs[0] / pretrained.LANGUAGE_MODEL
    save_language_model(path, alphabet, ngrams, 2, facts | {"validation_perplexity": 3.5})
    pack_run(runs[0], tmp_path / "packed")
    assert (tmp_path / "packed" / pretrained.LANGUAGE_MODEL).read_bytes() == path.read_bytes()
    text = write_card(tmp_path / "packed", []).read_text(encoding="utf-8")
    assert "1,234 different transcripts of `speech/mine`" in text
    assert "3.50 a character" in text


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no trained model"):
        pack_run(tmp_path, tmp_path / "packed")


@pytest.mark.parametrize("change", [{"recipe": {}}, {"recipe": None}, {"validation_cer": None}])
def test_a_model_of_unknown_training_gets_no_card(change: dict[str, object], tmp_path: Path) -> None:
    save_recogniser(tmp_path / pretrained.RECOGNISER, DeepSpeech2(SHAPE), RECOGNISER_FACTS | change)
    with pytest.raises(CheckpointError, match="too little of its training"):
        write_card(tmp_path, [])


@pytest.mark.parametrize("content", ["", "[]", json.dumps({"cer": 1}), json.dumps(dict.fromkeys(KEYS, "x")), "\xff"])
def test_what_is_no_evaluation_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(CheckpointError, match="no evaluation"):
        read_evaluation(path)
