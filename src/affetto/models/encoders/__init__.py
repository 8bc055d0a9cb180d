"""Anything whose hidden layers can be reused, behind one contract (`affetto.models.encoders.encoder.Encoder`).

A model is one that comes with affetto, a folder, or a repository of the Hugging Face hub, looked for in this order, in
affetto's files or as transformers writes it.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from affetto import pretrained
from affetto.devices import Precision, choose_device, choose_precision, survive_forks
from affetto.errors import CheckpointError
from affetto.models import checkpoint
from affetto.models.encoders import hub
from affetto.models.encoders.encoder import Encoder, Origin
from affetto.models.transformers_folder import CONFIG, read_config
from affetto.registry import Registry

_NATIVE = "affetto"
_LIKE_WAV2VEC2 = "affetto.models.encoders.wav2vec2:Wav2Vec2"

ENCODERS = Registry(
    "encoders",
    {
        _NATIVE: "affetto.models.encoders.native:NativeEncoder",
        "whisper": "affetto.models.encoders.native:Whisper",
        **dict.fromkeys(("hubert", "unispeech", "unispeech-sat", "wav2vec2", "wavlm"), _LIKE_WAV2VEC2),
    },
)
"""Families of encoders by the ``model_type`` of their ``config.json``; ``tests/models/test_encoders.py`` holds each to
the contract. A family is a class with ``open(folder, origin)``; docs/encoders.md shows how to add one."""


def locate(name: str | Path) -> tuple[Path, Origin]:
    """The folder of a model, and where it comes from; a repository of the hub is fetched unless it is there already.

    ``name`` is an embedded model, a folder, or "owner/name" on the hub, with "@revision" after it to pin one.

    Raises:
        CheckpointError: there is no such model, or it cannot be fetched.
        MissingExtraError: it is on the hub, and what fetches from there is not installed.
    """
    text = str(name)
    if text in pretrained.names():
        return pretrained.find(text), Origin(text, "affetto")
    if not Path(text).exists() and (asked := hub.parse(text)) is not None:
        folder, revision = hub.fetch(asked)
        return folder, Origin(asked.repository, "hub", revision)
    return pretrained.find(text), Origin(text, "folder")


def open_encoder(name: str | Path, *, device: str = "auto", precision: Precision = "float32") -> Encoder:
    """Opens any recogniser whose layers can be reused, by a name that `locate` knows, on a device (see
    `choose_device`), in a precision (see `choose_precision`) if it has a choice.

    Raises:
        CheckpointError: there is no such model, it is damaged, or nothing that affetto can open.
        ConfigError: there is no such device.
        MissingExtraError: what it needs is not installed.

    >>> encoder = open_encoder("small", device="cpu")
    >>> encoder.origin.name, encoder.layers[4]
    ('small', LayerInfo(name='gru3', width=256, frame_rate_hz=25.0))
    """
    chosen = choose_device(device)
    survive_forks()
    folder, origin = locate(name)
    if (named := _encoder_of(folder)) is not None:
        folder, origin = locate(named)
    encoder: Encoder = ENCODERS.load(_family(folder, origin)).open(folder, origin._replace(folder=folder)).to(chosen)
    _ = encoder.fingerprint  # of the numbers as they are stored
    if encoder.network is not None:
        encoder.network.compute_in(choose_precision(precision, chosen))
    return encoder


class Heads(NamedTuple):
    """The files of an emotion head, and of a head that predicts dimensions, if there is one."""

    emotion: Path
    dimensions: Path | None


def find_heads(encoder: Encoder, model: str | Path) -> Heads:
    """The heads for an encoder: in the folder of its model, or among those that come with affetto.

    A folder with nothing but a head that predicts dimensions goes with the emotion head of its recogniser.

    Raises:
        CheckpointError: there is no emotion head.

    >>> find_heads(open_encoder("small", device="cpu"), "small").emotion.name
    'emotion.safetensors'
    """
    asked, origin = hub.parse(str(model)), encoder.origin
    is_its_own = asked is not None and origin.source == "hub" and asked.repository == origin.name
    folder = origin.folder if is_its_own else locate(model)[0]  # one that was fetched is not asked for again
    assert folder is not None, "it was opened from a folder"
    dimensions = folder / pretrained.DIMENSIONS
    values = dimensions if _is_there(dimensions) else None
    for place in (folder, origin.folder):
        if place is not None and _is_there(place / pretrained.EMOTION):
            return Heads(place / pretrained.EMOTION, values)
    for path in pretrained.heads():
        if checkpoint.describe(path, "emotion head").facts.get("encoder_fingerprint") == encoder.fingerprint:
            return Heads(path, values)
    remedy = "train one (affetto train), or ask for words alone (affetto recognise --words-only)"
    raise CheckpointError("has no emotion head", remedy, model)


def _is_there(head: Path) -> bool:
    """Whether any of its files is: a head that is damaged is not passed over."""
    return head.exists() or head.with_suffix(".json").exists()


def _encoder_of(folder: Path) -> str | None:
    """The recogniser that a folder with nothing but heads was trained on."""
    heads = [folder / name for name in (pretrained.EMOTION, pretrained.DIMENSIONS)]
    head = next((each for each in heads if each.with_suffix(".json").exists()), None)
    if head is None or (folder / CONFIG).exists():
        return None
    if any(folder.glob(f"{Path(pretrained.RECOGNISER).stem}.*")):
        return None
    named = checkpoint.describe(head, "emotion head").facts.get("encoder")
    if not isinstance(named, str):
        raise CheckpointError("does not say which recogniser it was trained on", "put that beside it", head)
    return named


def _family(folder: Path, origin: Origin) -> str:
    """The name of a model's family among `ENCODERS`; CheckpointError if the folder holds no model of a known one."""
    if any(folder.glob(f"{Path(pretrained.RECOGNISER).stem}.*")):
        return _NATIVE
    if not (folder / CONFIG).is_file():
        raise CheckpointError(f"holds no model: neither {pretrained.RECOGNISER} nor {CONFIG}", "name another", origin)
    kind = str(read_config(folder).get("model_type"))
    known = [each for each in ENCODERS.names() if each != _NATIVE]
    if kind not in known:
        remedy = f"choose one of {', '.join(known)}"
        raise CheckpointError(f"is of the kind {kind!r}, no speech encoder known here", remedy, origin)
    return kind
