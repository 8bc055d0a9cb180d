"""Begins a training with the numbers of a saved recogniser, or of a public one's encoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from affetto import pretrained
from affetto.errors import TrainingError
from affetto.models.encoders import locate, open_encoder
from affetto.models.network import RecogniserNetwork, load_recogniser
from affetto.models.whisper_ctc import WhisperCtc
from affetto.training.recogniser.recipe import PublicEncoder

_FREE = {"dropout": True, "head": {"dropout"}}  # What two networks of one shape may differ in


def begin_with(model: RecogniserNetwork, initial: str) -> Mapping[str, Any] | None:
    """Copies the weights of a saved recogniser, by its embedded model's name or its folder, into a network.

    Gives what its description holds of a public recogniser that it began with itself.
    """
    folder = pretrained.find(initial)
    saved, description = load_recogniser(folder / pretrained.RECOGNISER)
    _compare(model.config.model_dump(exclude=_FREE), saved.config.model_dump(exclude=_FREE), folder)
    model.load_state_dict(saved.state_dict())
    origin: Mapping[str, Any] | None = description.facts.get("origin")
    return origin


def begin_with_encoder(model: RecogniserNetwork, encoder: PublicEncoder, data_root: Path) -> dict[str, Any]:
    """Copies the weights of a public recogniser's encoder (perhaps in a folder below the data's) into a network's.

    Gives where they come from, for the trained model's description.
    """
    if not isinstance(model, WhisperCtc):
        raise TrainingError(
            f"a network of kind {model.config.kind!r} cannot begin with a public encoder",
            "take the key 'encoder' out, or train a network of kind 'whisper_ctc'",
        )
    here = data_root / encoder.name
    folder, origin = locate(here if here.is_dir() else encoder.name)
    saved: Any = open_encoder(folder, device="cpu").network
    theirs = getattr(saved, "config", None)
    shape = {} if theirs is None else theirs.model_dump(exclude={"level"})
    _compare(model.config.encoder.model_dump(exclude={"level"}), shape, folder)
    model.encoder.load_state_dict(saved.state_dict())
    return {"name": encoder.name, "revision": origin.revision, "licence": encoder.licence}


def _compare(mine: Mapping[str, Any], theirs: Mapping[str, Any], folder: Path) -> None:
    differing = [f"{key} ({theirs.get(key)!r}, not {mine[key]!r})" for key in mine if mine[key] != theirs.get(key)]
    if differing:
        raise TrainingError(
            f"the initial model is of another shape: {', '.join(differing)}",
            "give the recipe the initial model's shape, or begin with another one",
            folder,
        )
