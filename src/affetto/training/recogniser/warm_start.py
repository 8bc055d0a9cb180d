"""Begins a training with the numbers of a saved recogniser."""

from __future__ import annotations

from affetto import pretrained
from affetto.errors import TrainingError
from affetto.models.deepspeech2 import DeepSpeech2
from affetto.models.recogniser_checkpoint import load_recogniser

_FREE = {"dropout"}
"""What two networks of one shape may differ in."""


def begin_with(model: DeepSpeech2, initial: str) -> None:
    """Copies the weights of a saved recogniser into a network.

    Args:
        model: the network; it is changed.
        initial: the name of a model that comes with affetto, or the folder of one.

    Raises:
        CheckpointError: there is no such model, or it is damaged.
        TrainingError: it is of another shape.
    """
    folder = pretrained.find(initial)
    saved, _ = load_recogniser(folder / pretrained.RECOGNISER)
    mine, theirs = model.config.model_dump(exclude=_FREE), saved.config.model_dump(exclude=_FREE)
    differing = [f"{key} ({theirs[key]!r}, not {mine[key]!r})" for key in mine if mine[key] != theirs[key]]
    if differing:
        raise TrainingError(
            f"the initial model is of another shape: {', '.join(differing)}",
            "give the recipe the initial model's shape, or begin with another one",
            folder,
        )
    model.load_state_dict(saved.state_dict())
