"""Saved models: ``NAME.safetensors`` holds the numbers, ``NAME.json`` beside it says what they are.

Neither format can carry code, so a checkpoint from a stranger is safe to load.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from affetto.config import Config
from affetto.errors import CheckpointError, ConfigError
from affetto.files import draft
from affetto.models.transformers_folder import AGAIN, read_values, refused

FORMAT = "affetto"
VERSION = 1

# How matrices are stored: as they are, with 11 bits, or as whole numbers up to 127 with a factor for each part of each
# row. Vectors (biases, statistics) weigh little and stay as they are.
Precision = Literal["float32", "float16", "int8"]
_FACTORS = ":factors"  # after the name of a matrix of whole numbers
_PART = 32  # numbers of a row that share a factor, at most; older files have one a row

ConfigT = TypeVar("ConfigT", bound=Config)
ModuleT = TypeVar("ModuleT", bound=nn.Module)


class Description(Config):
    """The JSON of a checkpoint."""

    format: str = FORMAT  # always "affetto"; anything else is foreign
    version: int = VERSION  # of the layout of these files
    kind: str  # "recogniser" or "emotion head"
    config: dict[str, Any]  # the architecture, enough to build the network
    # training data, licence, recipe, commit and metrics, for the reader and the model card
    facts: dict[str, Any] = Field(default_factory=dict)
    weights_sha256: str | None = None  # of the ``.safetensors`` file it describes; `save` fills it in


def save(
    path: Path,
    weights: Mapping[str, Tensor],
    description: Description,
    *,
    precision: Precision = "float32",
    delicate: tuple[str, ...] = (),
) -> None:
    """Writes a checkpoint: weights by name, and their description beside them, to which their digest is added.

    Weights whose names begin with those of ``delicate`` parts keep 11 bits where others are whole numbers.

    Both files are written whole before they take the place of old ones. Two files cannot be replaced at once: the
    description names the weights it belongs to, and `load_weights` refuses others.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = dict[str, Tensor]()
    for name, tensor in weights.items():
        kept |= _stored(name, tensor, "float16" if precision == "int8" and name.startswith(delicate) else precision)
    content = to_bytes({name: tensor.contiguous() for name, tensor in kept.items()})
    card = (
        json.dumps({**description.model_dump(), "weights_sha256": hashlib.sha256(content).hexdigest()}, indent=2) + "\n"
    )
    with draft(path.with_suffix(".json")) as described, draft(path) as numbers:
        described.write_text(card, encoding="utf-8")
        numbers.write_bytes(content)


def _stored(name: str, tensor: Tensor, precision: Precision) -> dict[str, Tensor]:
    if not tensor.is_floating_point() or tensor.dim() < 2 or precision == "float32":
        return {name: tensor}
    if precision == "float16":
        return {name: tensor.half()}
    parts = _in_parts(tensor.detach().float(), max(1, math.ceil(math.prod(tensor.shape[1:]) / _PART)))
    factors = (parts.abs().amax(dim=2) / 127).bfloat16()
    numbers = (parts / factors.float().clamp(min=torch.finfo(torch.float32).tiny)[..., None]).round().clamp(-127, 127)
    return {name: _whole(numbers.to(torch.int8), tensor.shape), name + _FACTORS: factors}


def _in_parts(tensor: Tensor, count: int) -> Tensor:
    """The rows of a tensor in so many parts of one size, the last filled up with zeros: (rows, count, size)."""
    rows = tensor.flatten(1)
    size = math.ceil(rows.shape[1] / count)
    return nn.functional.pad(rows, (0, count * size - rows.shape[1])).view(len(rows), count, size)


def _whole(parts: Tensor, shape: torch.Size) -> Tensor:
    """The opposite."""
    return parts.flatten(1)[:, : math.prod(shape[1:])].reshape(shape)


def _restored(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    restored = {}
    for name, tensor in weights.items():
        factors = weights.get(name + _FACTORS)
        if tensor.dtype == torch.int8 and factors is not None and len(factors) == len(tensor):
            factors = factors.float().view(len(factors), -1, 1)
            restored[name] = _whole(_in_parts(tensor.float(), factors.shape[1]) * factors, tensor.shape)
        elif not name.endswith(_FACTORS):
            restored[name] = tensor.float() if tensor.is_floating_point() else tensor
    return restored


def describe(path: Path, kind: str) -> Description:
    """Reads the JSON beside a ``.safetensors`` file; CheckpointError if it is missing, damaged or of another kind."""
    card = path.with_suffix(".json")
    values = read_values(card, "name a model that affetto saved, with its .json beside it")
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise CheckpointError("was not written by affetto", "name a model that affetto saved", card)
    if values.get("version") != VERSION:
        problem = f"is of version {values.get('version')!r}, and this affetto reads version {VERSION}"
        raise CheckpointError(problem, "install the affetto that wrote it, or train again", card)
    with refused(ConfigError, "is damaged", card):
        description = Description.parse(values)
    if description.kind != kind:
        raise CheckpointError(f"is of kind {description.kind!r}", f"name a model of kind {kind!r}", card)
    return description


def load_weights(path: Path, description: Description) -> dict[str, Tensor]:
    """Reads the numbers of a checkpoint, as float32; CheckpointError if they are damaged or not those described."""
    with refused((SafetensorError, OSError), "cannot be loaded", path):
        content = path.read_bytes()
        weights = from_bytes(content)
    if description.weights_sha256 != hashlib.sha256(content).hexdigest():
        problem = "holds other weights than the .json beside it describes"
        raise CheckpointError(problem, "copy both files of the model again", path)
    return _restored(weights)


def restore(make: Callable[[], ModuleT], weights: Mapping[str, Tensor], path: Path) -> ModuleT:
    """Builds a network around loaded numbers, in evaluation mode; CheckpointError if names or shapes do not fit.

    It is built without numbers of its own: none are drawn in vain, and a description that lies about the size of the
    network is found out before any memory is taken for it. ``path`` is where the numbers come from.

    >>> restore(lambda: nn.Linear(1, 1), {"weight": torch.ones(1, 1), "bias": torch.ones(1)}, Path("a"))(torch.ones(1))
    tensor([2.], grad_fn=<ViewBackward0>)
    """
    try:
        with torch.device("meta"):
            module = make()
        module.load_state_dict(dict(weights), assign=True)
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise CheckpointError(f"does not fit its description ({first})", AGAIN, path) from error
    return module.eval()


def load(
    path: Path, kind: str, shape: type[ConfigT], make: Callable[[ConfigT], ModuleT]
) -> tuple[ModuleT, Description]:
    """Reads a whole checkpoint: the network that ``make`` builds of its config, for evaluation, and its description.

    CheckpointError: see `describe`, `load_weights` and `restore`; or the config describes no such network.
    """
    description = describe(path, kind)
    with refused(ConfigError, f"describes no {kind}", path):
        config = shape.parse(description.config)
    return restore(lambda: make(config), load_weights(path, description), path), description


def fingerprint(module: nn.Module, settings: Mapping[str, Any] | None = None) -> str:
    """A short digest of a network's numbers, and of what else its results depend on: equal only for equal networks.

    >>> len(fingerprint(nn.Linear(2, 2)))
    16
    """
    digest = hashlib.sha256(b"" if settings is None else json.dumps(settings, sort_keys=True, default=str).encode())
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
