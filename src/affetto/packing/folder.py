"""Puts what trainings left into a model folder, as small weights."""

from __future__ import annotations

import shutil
from pathlib import Path

from affetto import pretrained
from affetto.errors import CheckpointError
from affetto.models import checkpoint
from affetto.models.encoders import open_encoder
from affetto.models.heads import load_head, save_head
from affetto.models.language_model import load_language_model
from affetto.models.network import load_recogniser, save_recogniser


def pack_recogniser(run: Path, folder: Path, precision: checkpoint.Precision = "float16") -> None:
    """Puts a trained recogniser into a model folder; CheckpointError if the run holds none.

    An emotion head must be trained on the packed recogniser, whose numbers are rounded.
    """
    model, description = load_recogniser(run / pretrained.RECOGNISER)
    facts = {**description.facts, "precision": precision}
    save_recogniser(folder / pretrained.RECOGNISER, model, facts, precision=precision)


def pack_head(
    run: Path, folder: Path, name: str = pretrained.EMOTION, precision: checkpoint.Precision = "float16"
) -> None:
    """Puts a trained head, of this file's name, into the folder of the recogniser it was trained on.

    A head on a recogniser made elsewhere gets a folder of its own, and says which recogniser that is. Raises
    CheckpointError where the run holds no head, or one that was trained on another recogniser.
    """
    head, description = load_head(run / name)
    public = not (folder / pretrained.RECOGNISER).exists() and description.facts.get("encoder")
    encoder = open_encoder(str(public or folder), device="cpu")
    if description.facts.get("encoder_fingerprint") != encoder.fingerprint:
        raise CheckpointError("was trained on another recogniser", f"train it on the one in {folder}", run / name)
    save_head(folder / name, head, description.facts, precision=precision)


def pack_language_model(run: Path, folder: Path) -> None:
    """Puts a language model into a model folder, as it is; CheckpointError if it is missing or damaged."""
    path = run / pretrained.LANGUAGE_MODEL
    load_language_model(path)
    folder.mkdir(parents=True, exist_ok=True)
    for each in (path, path.with_suffix(".json")):
        shutil.copyfile(each, folder / each.name)


def pack_run(run: Path, folder: Path, precision: checkpoint.Precision = "float16") -> None:
    """Packs what a training left: a recogniser, with its language model if it has one, or heads.

    Raises CheckpointError where it left neither, or as `pack_recogniser` and `pack_head` do.
    """
    speech, language = ((run / name).exists() for name in (pretrained.RECOGNISER, pretrained.LANGUAGE_MODEL))
    heads = [name for name in (pretrained.EMOTION, pretrained.DIMENSIONS) if (run / name).exists()]
    if not speech and not language and not heads:
        raise CheckpointError("holds no trained model", "name the output folder of a training that ended", run)
    if speech:
        pack_recogniser(run, folder, precision)
    if language:
        pack_language_model(run, folder)
    if speech or language:
        return
    for name in heads:
        pack_head(run, folder, name, precision)
