"""Networks by transformers' Auto classes, with every number from their files, and no code from them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from affetto.errors import CheckpointError, MissingExtraError
from affetto.models.transformers_folder import AGAIN

_UNUSED = ("masked_spec_embed", "pooler.")  # What is read in training or by heads alone, so that a file may lack it

# What stands in a config and no number depends on.
_ELSEWHERE = {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "architectures"}


def load_network(folder: Path, kind: str) -> Any:
    """A network by one of transformers' Auto classes, on the CPU, in float32.

    Raises CheckpointError where the folder holds none or a damaged one, MissingExtraError without transformers.
    """
    transformers = _transformers(folder)
    weights = {"dtype": torch.float32, "output_loading_info": True, "use_safetensors": True}
    model, found = _read(getattr(transformers, kind), folder, weights)
    missing = sorted(name for name in found["missing_keys"] if not any(each in name for each in _UNUSED))
    if missing:
        raise CheckpointError(f"holds no {missing[0]}", AGAIN, folder)
    return model


def settings(network: Any) -> dict[str, Any]:
    """Those of a network's config that its numbers may depend on."""
    return {key: value for key, value in network.config.to_dict().items() if key not in _ELSEWHERE}


def load_tokenizer(folder: Path) -> Any:
    """What divides words into a network's tokens; see `load_network`."""
    return _read(_transformers(folder).AutoTokenizer, folder, {})


def _transformers(folder: Path) -> Any:
    try:
        import transformers
    except ImportError as error:
        remedy = "install it with: pip install 'affetto[public]'"
        raise MissingExtraError("this family needs transformers", remedy, folder) from error
    return transformers


def _read(kind: Any, folder: Path, settings: dict[str, Any]) -> Any:
    try:
        with _quiet():
            return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **settings)
    except Exception as error:  # files of strangers: what reads tokenizers raises nothing more special
        reason = str(error).strip().partition("\n")[0]
        raise CheckpointError(f"cannot be loaded ({reason})", AGAIN, folder) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps transformers from drawing a bar and writing warnings of its own."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
