"""Typed configuration, read from TOML: unknown keys and wrong types are errors that name the key."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from affetto.errors import ConfigError

# What every generator of random numbers takes, torch's, numpy's and Lightning's.
Seed = Annotated[int, Field(ge=0, lt=2**32)]


def stable_seed(*parts: int | str) -> int:
    """A seed that depends on its parts alone: not on the process, the machine or the order of work.

    >>> stable_seed(1, "fold", 3) == stable_seed(1, "fold", 3) != stable_seed(1, "fold", 4)
    True
    """
    return int.from_bytes(hashlib.sha256(json.dumps(parts).encode()).digest()[:4])


class Config(BaseModel):
    """The parent of every configuration class: frozen, strict about keys.

    >>> class Size(Config):
    ...     width: int = 3
    >>> Size.parse({"width": 4}).width
    4
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def parse(cls, values: object, where: object | None = None) -> Self:
        """Checks plain values (from TOML or JSON); ConfigError where a key is unknown or missing, or a value wrong."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, each['loc'])) or 'the whole'}: {each['msg']}" for each in error.errors()]
            raise ConfigError("; ".join(faults), "mend these keys", where) from error

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads a TOML recipe; one that begins with ``like = "other.toml"`` has that one's keys, but for its own.

        Raises:
            ConfigError: a file is missing, is not TOML, or does not fit this class; recipes are like each other.
        """
        return cls.parse(_with_others(path, ()), where=path)


def _with_others(path: Path, before: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in before:
        raise ConfigError("is like itself", "leave out the key like in one of these recipes", path)
    values = read_toml(path)
    other = values.pop("like", None)
    if other is None:
        return values
    if not isinstance(other, str):
        raise ConfigError(f"like: {other!r}", "name another recipe, relative to this one", path)
    return merged(_with_others(path.parent / other, (*before, path.resolve())), values)


def merged(values: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Values with some of them changed, within tables too; lists are replaced whole.

    >>> merged({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}})
    {'a': {'b': 1, 'c': 3}}
    """
    tables = [key for key, value in change.items() if isinstance(value, dict) and isinstance(values.get(key), dict)]
    return values | change | {key: merged(values[key], change[key]) for key in tables}


def read_toml(path: Path) -> dict[str, Any]:
    """Plain values of a TOML file; ConfigError if it is missing or is not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(error.strerror or str(error), "check the recipe's path", path) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"not TOML: {error}", "mend the recipe's syntax", path) from error
