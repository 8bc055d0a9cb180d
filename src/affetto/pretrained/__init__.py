"""The models that come with affetto, one folder each, and where any other is looked for.

A model is a folder with a recogniser (``recogniser.safetensors`` and ``.json``), an emotion head on top of it
(``emotion.safetensors`` and ``.json``) and a model card (``README.md``); perhaps also with a head that predicts
dimensions (``dimensions.safetensors`` and ``.json``) and a language model of characters (``language.safetensors`` and
``.json``), which helps the recogniser to spell.
"""

from __future__ import annotations

from pathlib import Path

from affetto.errors import CheckpointError

DEFAULT = "tiny"
RECOGNISER = "recogniser.safetensors"
EMOTION = "emotion.safetensors"
DIMENSIONS = "dimensions.safetensors"  # A second head, for emotion in numbers
LANGUAGE_MODEL = "language.safetensors"

_HERE = Path(__file__).parent


def names() -> list[str]:
    """The embedded models, sorted."""
    return sorted(path.parent.name for path in _HERE.glob(f"*/{RECOGNISER}"))


def heads() -> list[Path]:
    """The emotion heads for recognisers made elsewhere, a folder each."""
    return sorted(_HERE.glob(f"heads/*/{EMOTION}"))


def find(model: str | Path) -> Path:
    """The folder of an embedded model by its name, or of any other.

    >>> find("enormous")
    Traceback (most recent call last):
        ...
    affetto.errors.CheckpointError: enormous: no such model; ...
    """
    if str(model) in names():
        return _HERE / str(model)
    folder = Path(model)
    if folder.is_dir():
        return folder
    if folder.is_file():
        raise CheckpointError("a file, not a model", "name the folder that holds it", folder)
    known = f"choose {', '.join(names())}, or" if names() else "this affetto comes without one:"
    raise CheckpointError("no such model", f"{known} name a model's folder", model)
