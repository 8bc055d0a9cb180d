"""Recipes: unknown keys and wrong types are errors that name the key and the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from affetto.config import Config, read_toml
from affetto.errors import ConfigError


class Inner(Config):
    rate: float = 0.5


class Outer(Config):
    name: str
    inner: Inner = Inner()


def _recipe(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_reads_toml(tmp_path: Path) -> None:
    assert Outer.read(_recipe(tmp_path, 'name = "a"\n[inner]\nrate = 2')) == Outer(name="a", inner=Inner(rate=2))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('nmae = "a"', "name: Field required; nmae: Extra inputs are not permitted; mend these keys"),
        ('name = "a"\ninner.rat = 1', "inner.rat: Extra inputs"),
        ('name = "a"\ninner.rate = "fast"', "inner.rate: Input should be a valid number"),
        ("name = 3", "name: Input should be a valid string"),
        ("name = ", r"not TOML: Invalid value \(at end of document\); mend the recipe's syntax"),
    ],
)
def test_names_the_key_and_the_file(tmp_path: Path, text: str, message: str) -> None:
    path = _recipe(tmp_path, text)
    with pytest.raises(ConfigError, match=message) as caught:
        Outer.read(path)
    assert caught.value.where == path


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("width = 4", encoding="utf-8-sig")
    assert read_toml(tmp_path / "recipe.toml") == {"width": 4}


def test_a_recipe_may_be_like_another(tmp_path: Path) -> None:
    (tmp_path / "first.toml").write_text('name = "a"\n[inner]\nrate = 2.0\n')
    (tmp_path / "second.toml").write_text('like = "first.toml"\nname = "b"\n')
    (tmp_path / "third.toml").write_text('like = "second.toml"\n[inner]\nrate = 3.0\n')
    assert Outer.read(tmp_path / "second.toml") == Outer(name="b", inner=Inner(rate=2.0))
    assert Outer.read(tmp_path / "third.toml") == Outer(name="b", inner=Inner(rate=3.0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('like = "recipe.toml"', "is like itself"),
        ("like = 3", "like: 3; name another recipe"),
        ('like = "none.toml"', "No such file"),
    ],
)
def test_a_recipe_that_is_like_none(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Outer.read(_recipe(tmp_path, text))


def test_a_recipe_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"No such file.*; check the recipe's path"):
        Outer.read(tmp_path / "recipe.toml")


def test_a_recipe_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not TOML"):
        Outer.read(tmp_path / "recipe.toml")


@pytest.mark.parametrize("values", [None, 3, ["name"]])
def test_what_is_no_table_is_refused(values: object) -> None:
    with pytest.raises(ConfigError, match="the whole: "):
        Outer.parse(values)


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Inner().rate = 1.0  # type: ignore[misc]
