"""``affetto evaluate``: any corpora and conditions in one table, as JSON and Markdown, and faults that are named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from affetto.features.conditions import EFFECTS

Run = Callable[..., "tuple[int, str, str]"]


@pytest.fixture
def corpora(make_sound: Callable[..., Path], tmp_path: Path) -> list[Path]:
    """Two, of two speakers each, with a label that the model does not know."""
    for name in ("first", "second"):
        for place in ("anger/ann", "sadness/bob", "disgust/ann"):
            (tmp_path / name / place).mkdir(parents=True)
            make_sound(f"{name}/{place}/1.wav", duration_s=1.0)
    return [tmp_path / "first", tmp_path / "second"]


@pytest.fixture
def evaluate(run: Run, tiny_model: Path) -> Run:
    return lambda *arguments: run("evaluate", *arguments, "--model", tiny_model)


def test_a_table_has_a_row_for_each_corpus_and_condition(evaluate: Run, corpora: list[Path]) -> None:
    code, out, err = evaluate(*corpora, "--condition", "clean, eq+opus-8")
    assert (code, err) == (0, "")
    rows = ["first, clean", "first, eq+opus-8", "second, clean", "second, eq+opus-8"]
    assert all(out.count(row) == 2 for row in rows)
    assert "- second: left out, of no class of the model: disgust 1" in out


def test_json_tells_all_and_the_folder_keeps_it(
    evaluate: Run, corpora: list[Path], tmp_path: Path, tiny_model: Path
) -> None:
    folder = tmp_path / "out"
    code, out, _ = evaluate(corpora[0], "--condition", "telephone", "--format", "json", "--output", folder)
    values = json.loads(out)
    assert code == 0
    assert values == json.loads((folder / "scores.json").read_text())
    assert (values["version"], values["model"]) == (1, str(tiny_model))
    assert values["classes"] == ["anger", "happiness", "neutral", "sadness"]
    assert {"fingerprint", "judgement", "held_out_by", "environment"} < set(values)
    (scores,) = values["scores"]
    assert (scores["condition"], scores["utterances"], scores["left_out"]) == ("telephone", 2, {"disgust": 1})
    assert sum(scores["stated"].values()) == pytest.approx(1)
    assert sorted(path.name for path in folder.iterdir()) == ["predictions.csv", "scores.json", "scores.md"]


def test_markdown_is_that_of_the_folder(evaluate: Run, corpora: list[Path], tmp_path: Path) -> None:
    code, out, _ = evaluate(corpora[0], "--format", "markdown", "--output", tmp_path / "out")
    assert code == 0
    assert out == (tmp_path / "out" / "scores.md").read_text()


def test_corpora_of_one_name_are_told_apart(evaluate: Run, corpora: list[Path], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    twin = corpora[1].rename(tmp_path / "other" / "first")
    _, out, _ = evaluate(corpora[0], twin, "--format", "json")
    assert [each["corpus"] for each in json.loads(out)["scores"]] == [str(corpora[0]), str(twin)]


RECIPE = """\
corpus = "first"
classes = ["anger", "sadness"]
validation_speakers = ["cyd"]
test_speakers = ["bob"]
[head]
kind = "mean_pooling"
layer = "gru1"
"""


def test_a_recipe_tells_whom_it_held_out_of_its_own_corpus(evaluate: Run, corpora: list[Path], tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text(RECIPE, encoding="utf-8")
    code, out, _ = evaluate(*corpora, "--held-out-by", recipe, "--format", "json")
    assert code == 0
    values = json.loads(out)
    assert values["held_out_by"] == "mine"
    assert [[*each["speakers"]] for each in values["scores"]] == [["bob"], ["ann", "bob"]]
    code, _, err = evaluate(corpora[1], "--held-out-by", recipe)
    assert code == 2
    assert "name first among them" in err


def test_only_some_speakers(evaluate: Run, corpora: list[Path]) -> None:
    _, out, _ = evaluate(*corpora, "--speakers", "ann", "--format", "json")
    assert [[*each["speakers"]] for each in json.loads(out)["scores"]] == [["ann"], ["ann"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--condition", "telefone"], "choose among clean, eq, reverb-N"),
        (["--condition", "pink"], "write pink-N, N from -20 to 60"),
        (["--speakers", "cyd"], "no speaker cyd"),
        (["--held-out-by", "nowhere.toml"], "nowhere.toml"),
    ],
)
def test_faults_are_named_before_anything_is_recognised(
    arguments: list[str], message: str, evaluate: Run, corpora: list[Path]
) -> None:
    code, out, err = evaluate(*corpora, *arguments)
    assert (code, out) == (2, "")
    assert message in " ".join(err.split())


def test_help_names_every_condition(run: Run) -> None:
    _, out, _ = run("evaluate", "--help")
    assert all(name in out for name in EFFECTS)
