"""Recipes: rows written out, settings merged, faults named; and what makes two of them different."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from affetto.errors import ConfigError
from affetto.experiment import ExperimentRecipe
from affetto.experiment.recipe import Augmentation
from affetto.experiment.run import differences

REPOSITORY = Path(__file__).resolve().parents[2]
RECIPES = [path for path in sorted((REPOSITORY / "recipes").glob("*.toml")) if "[[rows]]" in path.read_text()]
POOLING = {"kind": "mean_pooling", "layer": "gru1"}


def _parse(*rows: Any, **settings: Any) -> ExperimentRecipe:
    return ExperimentRecipe.parse({"corpus": "c", "rows": list(rows), **settings})


def test_a_row_stands_for_many() -> None:
    row = {
        "name": "MP-{x}",
        "x": [1, 2],
        "model": {"kind": "mean_pooling", "layer": "gru{x}"},
        "published": {"2": {"uar": 0.5}},
    }
    found = _parse(row, {"name": "other", "model": {"kind": "random"}})
    assert [each.name for each in found.rows] == ["MP-1", "MP-2", "other"]
    assert [getattr(each.model, "layer", None) for each in found.rows] == ["gru1", "gru2", None]
    assert [each.published for each in found.rows] == [{}, {"uar": 0.5}, {}]


def test_a_row_says_less_than_the_recipe_or_more() -> None:
    rows = [{"name": "a", "model": POOLING}, {"name": "b", "model": POOLING, "repeats": 3, "training": {"epochs": 9}}]
    first, second = _parse(*rows, repeats=2, training={"epochs": 5, "batch_size": 7}).rows
    assert (first.repeats, first.training.epochs, first.training.batch_size) == (2, 5, 7)
    assert (second.repeats, second.training.epochs, second.training.batch_size) == (3, 9, 7)


def test_labels_by_name() -> None:
    rows = {"name": "a", "model": POOLING}
    assert _parse(rows, labels="lakomkin2017") == _parse(rows, labels={"preset": "lakomkin2017"})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"name": "a-{x}", "model": POOLING}, "says {x} but has no x: 'a-{x}'"),
        ({"name": "a", "model": {"kind": "random"}, "hidden": {}}, "train heads, not a random row"),
        ({"name": "a", "model": POOLING, "linear": {}, "hidden": {}}, "a head is trained one way"),
        ({"name": "a", "model": POOLING, "hidden": {}}, "give the head some: hidden = 256"),
        ({"name": "a", "model": {**POOLING, "hidden": 8}, "linear": {}}, "solves a softmax alone"),
        (
            {"name": "a", "model": {**POOLING, "trained_from": "gru1"}, "by_speaker": True},
            "layers that stay",
        ),
        ({"name": "a-{x}", "x": [], "model": POOLING}, "x is a list of numbers or texts"),
        ({"name": "a-{x}", "x": 3, "model": POOLING}, "x is a list of numbers or texts"),
        ({"name": "a", "x": [1, 2], "model": POOLING}, "alike in all but punctuation: a, a"),
        ({"name": "a-{x}", "x": [1], "model": POOLING, "published": {"2": {}}}, "published for no x of 'a-{x}': 2"),
        ({"name": "a-{x}", "x": [1], "model": POOLING, "published": {"uar": 0.5}}, "published for no x .*: uar"),
        ({"name": "--", "model": POOLING}, "rows.0.name: .*needs a letter or digit"),
        ({"name": "a", "model": POOLING, "training": 3}, "rows.0.training: "),
        ({"name": "a", "model": POOLING, "repeats": 0}, "rows.0.repeats: "),
        ({"name": "a"}, "rows.0.model: Field required"),
        ("a", "rows.0: "),
    ],
)
def test_faulty_rows_are_named(row: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _parse(row)


def test_nothing_is_usual_of_strangers() -> None:
    row = {"name": "a", "model": POOLING, "by_speaker": True}
    assert _parse({**row, "linear": {"strength": 0.0}}, strangers=["calm"]).rows[0].by_speaker
    with pytest.raises(ConfigError, match="a: nothing is usual of strangers"):
        _parse({**row, "linear": {}}, strangers=["calm"])


@pytest.mark.parametrize(
    "settings",
    [{"rows": []}, {"rows": 3}, {"rows": {}}, {"training": 3}, {"classes": ["a", "a"]}, {"stack": 0}, {"labels": 3}],
)
def test_faulty_settings_are_named(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        ExperimentRecipe.parse({"corpus": "c", "rows": [{"name": "a", "model": POOLING}], **settings})


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(["name", "x", "model", "training", "repeats", "published"])


@given(rows=JUNK | st.lists(st.dictionaries(KEYS, JUNK | st.just(POOLING)), max_size=3), training=JUNK)
def test_no_recipe_is_more_than_refused(rows: Any, training: Any) -> None:
    try:
        found = ExperimentRecipe.parse({"corpus": "c", "rows": rows, "training": training})
    except ConfigError:
        return
    assert ExperimentRecipe.parse(tomllib.loads(tomli_w.dumps(found.resolved()))) == found


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_recipes_that_come_with_affetto(path: Path) -> None:
    recipe = ExperimentRecipe.read(path)
    written = tomli_w.dumps(recipe.resolved())
    assert ExperimentRecipe.parse(tomllib.loads(written)) == recipe
    assert differences(tomllib.loads(written), recipe.resolved()) == []


def _config(**changes: Any) -> dict[str, Any]:
    return {"seed": 1, "repeats": 1, "training": {"epochs": 3}, "rows": [{"name": "a", "repeats": 2}], **changes}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"repeats": 5}, []),
        ({"rows": [{"name": "a", "repeats": 3}, {"name": "b", "repeats": 1}]}, []),
        ({"rows": [{"name": "a", "repeats": 1}]}, ["rows.a.repeats (1, was 2)"]),
        ({"rows": [{"name": "ab", "repeats": 2}]}, ["rows.a (gone)"]),
        ({"rows": [{"name": "a", "repeats": 2}, {"name": "a.b", "repeats": 2}]}, []),
        ({"training": {"epochs": 4}}, ["training.epochs (4, was 3)"]),
        ({"augment": {"variants": 2}}, ["augment.variants (2, was not set)"]),
    ],
)
def test_differences(changes: dict[str, Any], expected: list[str]) -> None:
    assert differences(_config(), _config(**changes)) == expected


def test_variants_may_ask_for_conditions() -> None:
    augment = Augmentation.parse({"variants": 2, "tempo": [1, 1], "gain_db": [0, 0], "conditions": "everyday"})
    variants = augment.as_variants(seed=5)
    assert (variants.count, variants.seed, variants.perturbation.tempo) == (2, 5, (1.0, 1.0))
    assert "telephone" in variants.conditions
    assert Augmentation.parse(augment.model_dump(mode="json")) == augment


def test_babble_needs_a_corpus() -> None:
    with pytest.raises(ConfigError, match="babble is made of"):
        Augmentation.parse({"conditions": {"babble": {"chance": 1.0, "between": [5, 30]}}})
