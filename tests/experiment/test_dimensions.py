"""Emotion in numbers, from a recipe to a table and a head, on made-up speech whose pitch and loudness say it."""

from __future__ import annotations

import csv
import json
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from tests.data.iemocap_tree import even_turns, make_iemocap
from tests.experiment.conftest import EMOTIONS, SPEAKERS

from affetto import metrics
from affetto.data.manifest import write_manifest
from affetto.data.utterance import Utterance
from affetto.errors import AffettoError, ConfigError, CorpusError
from affetto.evaluate import RunFolder, ValueScores
from affetto.evaluate.predictions import Values
from affetto.experiment import run_experiment, train_emotion
from affetto.models.heads import load_head
from affetto.report import build_table, write_report
from affetto.report.render import to_csv, to_markdown, to_values

REPOSITORY = Path(__file__).parents[2]
STRENGTHS = {"ANG": 60.0, "SAD": 15.0, "DIS": 35.0}
ROWS = """
[[rows]]
name = "Baseline"
repeats = 2
[rows.model]
kind = "baseline"
standardise = true
branch = { units = 4, depth = 1, acoustic = { level = "absolute", loudness = true } }

[[rows]]
name = "MP-2"
model = { kind = "mean_pooling", layer = "gru2", standardise = true }
"""
RECIPE = """
recogniser = "{model}"
corpus = "rated"
dimensions = ["strength", "pleasure"]
protocol = {{ kind = "leave_one_speaker_out" }}
training = {{ epochs = 30, learning_rate = 0.02, batch_size = 16 }}
"""
HEAD = """
recogniser = "{model}"
corpus = "rated"
dimensions = ["strength"]
validation_speakers = ["1003"]
test_speakers = ["1004"]
training = {{ epochs = 30, learning_rate = 0.02, batch_size = 16 }}

[head]
kind = "progressive"
layer = "gru2"
standardise = true
branch = {{ units = 4, depth = 1, acoustic = {{ level = "absolute", loudness = true }} }}
"""


def rated(data_root: Path) -> list[Utterance]:
    """The strength and the pleasure of every clip; one of them has no pleasure."""
    rng = np.random.default_rng(0)
    found = []
    for path in sorted((data_root / "crema-d" / "AudioWAV").glob("*.wav")):
        speaker, _, emotion, _ = path.stem.split("_")
        strength = STRENGTHS[emotion] + rng.normal()
        known = {"strength": strength, "pleasure": 5 - strength / 20 + 0.1 * SPEAKERS.index(speaker)}
        found.append(Utterance(id=path.stem, audio=path, speaker=speaker, corpus="rated", dimensions=known))
    return [replace(found[0], dimensions={"strength": 60.0}), *found[1:]]


@pytest.fixture
def corpus(data_root: Path, tmp_path: Path) -> Path:
    (tmp_path / "data" / "rated").mkdir(parents=True)
    write_manifest(tmp_path / "data" / "rated" / "manifest.jsonl", rated(data_root))
    return tmp_path / "data"


@pytest.fixture
def write_recipe(tmp_path: Path, tiny_model: Path) -> Callable[..., Path]:
    def write(text: str, rows: str = "") -> Path:
        path = tmp_path / "recipe.toml"
        path.write_text(text.format(model=tiny_model) + rows)
        return path

    return write


def test_from_a_recipe_to_a_table_and_a_page(corpus: Path, tmp_path: Path, write_recipe: Callable[..., Path]) -> None:
    recipe = write_recipe(RECIPE, ROWS)
    done = run_experiment(recipe, corpus, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    assert run.dimensions == ("strength", "pleasure")
    assert len(run.utterances()) == len(SPEAKERS) * 3 * len(EMOTIONS) - 1  # one lacks a dimension

    answers = run.answers("Baseline")
    assert isinstance(answers, Values)
    repeats = np.array([repeat for repeat, _ in answers.cells])
    expected = [
        [metrics.ccc(answers.references[repeats == repeat, place], answers.predicted[repeats == repeat, place])]
        for repeat in range(2)
        for place in range(2)
    ]
    ccc = np.reshape(expected, (2, 2))  # (repeats, dimensions)
    row = next(row for row in build_table(run).rows if row.name == "Baseline")
    assert [figure.mean for figure in row.scores.values()] == pytest.approx([ccc.mean(), *ccc.mean(axis=0)])
    assert list(row.scores) == list(done.rows[0].scores) == ["ccc", "ccc_strength", "ccc_pleasure"]
    assert row.main.low < row.main.mean < row.main.high
    assert ccc.min() > 0.8  # loudness says it all
    assert row.comparison is None

    table = build_table(run)
    assert table.baseline == "Baseline"
    assert table.rows[1].comparison is not None
    line = next(csv.DictReader(to_csv(table).splitlines()))
    assert float(line["ccc_strength_mean"]) == pytest.approx(ccc[:, 0].mean())
    assert to_values(table)["rows"][0]["ccc_pleasure"]["low"] == row.scores["ccc_pleasure"].low
    assert "CCC strength" in to_markdown(table)
    assert "strength 1" in " ".join(table.notes)  # its range
    page = write_report(run.root).page.read_text()
    assert "CCC of every row" in page
    assert "Confusion" not in page

    before = (tmp_path / "run" / "rows" / "mp-2" / "repeat-00-fold-00" / "predictions.csv").stat().st_mtime_ns
    assert run_experiment(recipe, corpus, tmp_path / "run") == done
    assert before == (tmp_path / "run" / "rows" / "mp-2" / "repeat-00-fold-00" / "predictions.csv").stat().st_mtime_ns


def test_test_speakers_decide_nothing(
    data_root: Path, corpus: Path, tmp_path: Path, write_recipe: Callable[..., Path]
) -> None:
    recipe = write_recipe(HEAD)
    run = train_emotion(recipe, corpus, tmp_path / "one")
    other = [
        replace(each, dimensions={"strength": 5 * (each.dimensions or {})["strength"]})
        if each.speaker == "1004"
        else each
        for each in rated(data_root)
    ]
    write_manifest(corpus / "rated" / "manifest.jsonl", other)
    again = train_emotion(recipe, corpus, tmp_path / "other")
    said = [
        [line["predicted_strength"] for line in csv.DictReader((tmp_path / name / "predictions.csv").open())]
        for name in ("one", "other")
    ]
    assert said[0] == said[1]
    assert isinstance(run.scores, ValueScores)
    assert isinstance(again.scores, ValueScores)
    assert run.scores.ccc["strength"] > 0.8
    assert again.scores.ccc["strength"] < 0.3


def test_a_head_that_is_kept_predicts_in_the_corpus_units(
    corpus: Path, tmp_path: Path, write_recipe: Callable[..., Path]
) -> None:
    run = train_emotion(write_recipe(HEAD), corpus, tmp_path / "run")
    assert run.head.name == "dimensions.safetensors"
    head, description = load_head(run.head)
    assert (head.classes, head.dimensions) == ((), ("strength",))
    low, high = description.facts["range"]["strength"]
    assert 10 < low < 20
    assert 55 < high < 65
    assert description.facts["test"] == {"ccc": run.scores._asdict()["ccc"]}
    lines = list(csv.DictReader((tmp_path / "run" / "predictions.csv").open()))
    values = np.array([(float(each["true_strength"]), float(each["predicted_strength"])) for each in lines]).T
    assert metrics.ccc(*values) == pytest.approx(description.facts["test"]["ccc"]["strength"], abs=1e-4)
    assert head.units.mean.item() == pytest.approx(values[0].mean(), rel=0.2)
    assert json.loads((tmp_path / "run" / "run.json").read_text()) == description.facts


def test_the_recipe_for_iemocap_on_made_up_turns(tmp_path: Path, tiny_model: Path) -> None:
    turns = [
        turn._replace(emotion="xxx" if number % 5 == 0 else turn.emotion, dimensions=f"{1 + number % 9 / 2}, 3.0, 2.5")
        for number, turn in enumerate(even_turns())
    ]
    make_iemocap(tmp_path, turns)
    recipe = tomllib.loads((REPOSITORY / "recipes" / "iemocap-dimensions.toml").read_text(encoding="utf-8"))
    baseline, pooling, _ = recipe["rows"]
    recipe["rows"] = [{**baseline, "x": [2]}, {**pooling, "x": [1, 2]}]
    recipe |= {"recogniser": str(tiny_model), "repeats": 1, "training": {"epochs": 2}}
    (tmp_path / "recipe.toml").write_text(tomli_w.dumps(recipe), encoding="utf-8")
    done = run_experiment(tmp_path / "recipe.toml", tmp_path, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    assert len(run.utterances()) == len(turns)  # those without a majority, too
    assert len(run.folds()) == 4
    names = ["ccc", "ccc_valence", "ccc_activation", "ccc_dominance"]
    assert [list(row.scores) for row in done.rows] == [names] * 3
    assert build_table(run).rows[0].name == "Baseline 2 units"


SVM = '[[rows]]\nname = "SVM"\nmodel = { kind = "functionals_svm" }\n'


@pytest.mark.parametrize(
    ("text", "rows", "error", "problem"),
    [
        (RECIPE.replace("pleasure", "valence"), ROWS, CorpusError, "no utterance has strength and valence"),
        (RECIPE.replace('"rated"', '"crema-d"'), ROWS, CorpusError, "no utterance has strength and pleasure"),
        (RECIPE, SVM, ConfigError, "a functionals_svm row has classes, not dimensions"),
        (RECIPE.replace("epochs = 30", "balanced = true"), ROWS, ConfigError, "balanced weighs classes"),
        (RECIPE, ROWS + "linear = {}\n", ConfigError, r"trained in epochs; leave out \[linear\]"),
        (RECIPE.replace("pleasure", "strength"), ROWS, ConfigError, "name each once"),
        (
            RECIPE.replace("dimensions", "classes").replace(', "pleasure"', ""),
            ROWS,
            ConfigError,
            "classes: .*name two at least",
        ),
    ],
)
def test_what_is_at_fault_is_said_before_anything_is_trained(  # noqa: PLR0917
    text: str,
    rows: str,
    error: type[AffettoError],
    problem: str,
    data_root: Path,
    corpus: Path,
    tmp_path: Path,
    write_recipe: Callable[..., Path],
) -> None:
    (corpus / "crema-d").symlink_to(data_root / "crema-d")
    with pytest.raises(error, match=problem):
        run_experiment(write_recipe(text, rows), corpus, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("table", ["[linear]", "[hidden]"])
def test_dimensions_are_trained_in_epochs(
    table: str, corpus: Path, tmp_path: Path, write_recipe: Callable[..., Path]
) -> None:
    with pytest.raises(ConfigError, match="trained in epochs"):
        train_emotion(write_recipe(HEAD, f"\n{table}\n"), corpus, tmp_path / "run")


def test_damage_is_found(corpus: Path, tmp_path: Path, write_recipe: Callable[..., Path]) -> None:
    run_experiment(write_recipe(RECIPE, ROWS), corpus, tmp_path / "run", only=["MP-2"])
    file = tmp_path / "run" / "rows" / "mp-2" / "repeat-00-fold-02" / "predictions.csv"
    whole = file.read_text()
    first, second, *_ = whole.splitlines()
    for content, problem in (
        (whole.replace(second.split(",")[4], "1.0"), "no utterance .* that counts as"),
        (whole.replace(second.split(",")[-1], "nan"), ":2: damaged .a value is not a number"),
        ("\n".join([first, second, ""]), "utterances are missing"),
        (
            whole.replace("true_pleasure", "true_valence").replace("predicted_pleasure", "predicted_valence"),
            "holds other",
        ),
        (whole.replace("true_", "p_"), "not a file of predictions"),
    ):
        file.write_text(content)
        with pytest.raises(AffettoError, match=problem):
            build_table(RunFolder(tmp_path / "run"))
