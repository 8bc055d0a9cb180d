"""What every probe has: its settings, what it reads, and the folder that it leaves.

::

    probe.json         version, kind, config, environment, digest of the manifest, counts, what was left out
    *.csv              tables, a line an entry
    *.safetensors      arrays

The folder is written as a hidden one and then renamed: it is finished exactly when it exists.
"""

from __future__ import annotations

import csv
import json
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import starmap
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from affetto import pretrained
from affetto.config import Config, Seed, stable_seed
from affetto.data.corpora import open_corpus
from affetto.data.labels import Labelling, label
from affetto.data.utterance import Utterance
from affetto.errors import ConfigError, RunError
from affetto.models.encoders.encoder import Encoder
from affetto.models.encoders.native import NetworkEncoder


class ProbeConfig(Config):
    """Settings of every probe."""

    corpus: Path = Path("crema-d")  # its folder or manifest, relative to the data folder
    # the emotions whose utterances are used; none named uses all
    classes: tuple[str, ...] = ("anger", "happiness", "neutral", "sadness")
    limit: Annotated[int, Field(ge=1)] | None = None  # so many utterances, spread evenly over the corpus
    recogniser: str = pretrained.DEFAULT  # whose layers are looked into, see `affetto.models.encoders.open_encoder`
    seed: Seed = 1  # of everything that chance decides


def read_utterances(config: ProbeConfig, data_root: Path) -> list[Utterance]:
    """The utterances to be read; each one's emotion is the class that it counts as."""
    found = list(open_corpus(data_root / config.corpus).utterances)
    if config.classes:
        found = [each.utterance for each in label(found, Labelling(), config.classes)]
    if config.limit is None or config.limit >= len(found):
        return found
    return [found[place * len(found) // config.limit] for place in range(config.limit)]


def untrained(encoder: Encoder, seed: int) -> Encoder:
    """A network of the same shape with the random weights that its training could have begun with.

    Raises ConfigError where the encoder is of a kind whose network is not at hand.

    >>> from affetto.models.encoders import open_encoder
    >>> first, second = (untrained(open_encoder("small", device="cpu"), 1) for _ in range(2))
    >>> first.fingerprint == second.fingerprint
    True
    """
    if not isinstance(encoder, NetworkEncoder):
        raise ConfigError("has no network to draw random weights for", "leave the control out", encoder.origin.name)
    with torch.random.fork_rng():
        torch.manual_seed(stable_seed(seed, "untrained"))
        network = type(encoder.network)(encoder.network.config)
    return type(encoder)(network, encoder.origin, encoder.facts).to(encoder.device)


VERSION = 1
FACTS = "probe.json"
_REMEDY = "restore the file, or run the probe into another folder"
N = TypeVar("N", bound=NamedTuple)


@contextmanager
def writing(root: Path) -> Iterator[Path]:
    """A folder to write to, which becomes ``root`` when all is done, and is removed if something fails."""
    check_free(root)
    draft = root.with_name(f".{root.name}.{uuid.uuid4().hex}")
    try:
        draft.mkdir(parents=True)
        yield draft
        draft.rename(root)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RunError(f"cannot be written ({reason})", "make room or give another place", root) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def check_free(root: Path) -> None:
    """Makes sure before the work that there is nothing yet."""
    if root.exists():
        raise RunError("is there already", "give another --output, or remove it", root)


def write_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """Writes ``probe.json``."""
    text = json.dumps({"version": VERSION, **facts}, indent=2, allow_nan=False)
    (folder / FACTS).write_text(text + "\n", encoding="utf-8")


def read_facts(root: Path, kind: str) -> dict[str, Any]:
    """Reads ``probe.json`` of a kind of probe."""
    path = root / FACTS
    if not path.is_file():
        raise RunError("no probe's folder", f"name the output folder of affetto probe {kind}", root)
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"cannot be read ({error})", _REMEDY, path) from error
    if not isinstance(facts, dict) or facts.get("version") != VERSION:
        raise RunError(f"not of version {VERSION}", "use the affetto that wrote it", path)
    if facts.get("kind") != kind:
        raise RunError(f"a probe of {facts.get('kind')}", f"name the folder of a probe of {kind}", root)
    return facts


def write_rows(path: Path, rows: Iterable[NamedTuple], fields: Sequence[str]) -> None:
    """Writes a CSV; what is not a number is left empty."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(fields)
        writer.writerows(map(_written, row) for row in rows)


def _written(value: object) -> object:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.6g}"
    return value


def read_rows(path: Path, kind: type[N]) -> list[N]:
    """Reads what `write_rows` wrote."""
    types = list(get_type_hints(kind).values())
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *lines = list(csv.reader(file, strict=True)) or [[]]
        if header != list(kind._fields):
            raise ValueError("the header is another")
        return [kind(*starmap(_read, zip(line, types, strict=True))) for line in lines]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise RunError(f"cannot be read ({error})", _REMEDY, path) from error


def _read(text: str, kind: type[Any]) -> Any:
    return kind(text or "nan") if kind is float else kind(text)


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes arrays by name."""
    save_file({name: np.ascontiguousarray(values) for name, values in arrays.items()}, path)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Reads what `write_arrays` wrote."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise RunError(f"cannot be read ({error})", _REMEDY, path) from error
