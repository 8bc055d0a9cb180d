"""What lies beside the graph of an exported model: all that one has to know to use it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import Field

from affetto.config import Config
from affetto.errors import CheckpointError, ConfigError

GRAPH, DETECTOR, DESCRIPTION = "model.onnx", "detector.onnx", "model.json"

Precision = Literal["float32", "int8"]


class OnnxDescription(Config):
    """The graph's input is ``wave``, (samples,) float32, one stretch of speech of at most 30 s, full scale at 1, and
    ``speech``, (2,) int64: the first sample of the speech in it and the one after the last.

    Its outputs are ``log_probs``, (frames, classes), of CTC's blank and then the characters; ``probabilities``,
    (emotions,); and ``distance``, (), from the speech that the emotion head was trained on.
    """

    format: Literal["affetto onnx"] = "affetto onnx"
    version: Literal[1] = 1
    model: str  # what was exported
    fingerprint: str  # of the model's numbers
    precision: Precision  # of the large products
    licence: str  # of the weights, recogniser's and head's
    sample_rate_hz: int  # of the sound
    characters: str  # what the classes of ``log_probs`` stand for; the blank is before them, class 0
    character_rate_hz: float = Field(gt=0)  # frames a second of ``log_probs``
    emotions: tuple[str, ...] = Field(min_length=1)  # what ``probabilities`` are of, in their order
    temperature: float = Field(gt=0)  # that they are calibrated with, in the graph
    familiar_up_to: float | None  # the ``distance`` beyond which sound is unfamiliar; None: it is not told
    speech_only: bool  # whether emotion is read off the frames between the samples of ``speech`` alone

    def write(self, folder: Path) -> None:
        """Writes it into the folder of an exported model."""
        (folder / DESCRIPTION).write_text(json.dumps(self.model_dump(mode="json"), indent=2) + "\n", encoding="utf-8")


def is_exported(model: str | Path) -> bool:
    """Whether it is a folder that ``affetto model export`` wrote, by what lies in it.

    >>> is_exported("tiny")
    False
    """
    return (Path(model) / DESCRIPTION).is_file() and (Path(model) / GRAPH).is_file()


def read_description(folder: Path) -> OnnxDescription:
    """Reads the description of an exported model; CheckpointError where there is none or it is damaged.

    >>> read_description(Path("nowhere"))
    Traceback (most recent call last):
        ...
    affetto.errors.CheckpointError: nowhere/model.json: cannot be read (No such file or directory); ...
    """
    path = folder / DESCRIPTION
    remedy = "name a folder that affetto model export wrote"
    try:
        return OnnxDescription.parse(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise CheckpointError(f"cannot be read ({error.strerror})", remedy, path) from error
    except (ConfigError, ValueError) as error:
        raise CheckpointError(f"describes no exported model ({error})", remedy, path) from error
