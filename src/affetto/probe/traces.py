"""A unit and what it follows, over the time of single utterances: what a picture like the paper's figure 6 needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affetto.data.utterance import Utterance
from affetto.models.encoders.encoder import Encoder
from affetto.probe.correlation import correlations
from affetto.probe.frame_reader import FrameReader, Part
from affetto.probe.selection import BestUnit
from affetto.probe.targets import TARGETS


def traces(
    encoder: Encoder, best: Sequence[BestUnit], utterances: Sequence[Utterance]
) -> tuple[list[dict[str, Any]], dict[str, NDArray[Any]]]:
    """Reads some utterances again and keeps the best unit of each target, frame by frame.

    Args:
        encoder: whose units they are.
        best: rows of the table; those that are first at the level of frames by Pearson's r are kept.
        utterances: to read.

    Returns:
        For ``probe.json``, what there is (utterance, emotion, text, target, layer, number, r); and arrays by
        "utterance/target": (3, frames), the times in seconds, the activation, and the target, not a number where it
        does not count.
    """
    followed = [row for row in best if (row.level, row.method, row.place) == ("frame", "pearson", 1)]
    index: list[dict[str, Any]] = []
    arrays: dict[str, NDArray[Any]] = {}
    reader = FrameReader(encoder)
    for batch in reader.batches(utterances):
        for frames in batch:
            utterance = utterances[frames.place]
            for each in followed:
                drawn, r = _trace(reader, frames.parts, each)
                arrays[f"{utterance.id}/{each.target}"] = drawn
                facts = {"utterance": utterance.id, "emotion": utterance.emotion, "text": utterance.text}
                index.append({**facts, "target": each.target, "layer": each.layer, "number": each.number, "r": r})
    order = {each.id: place for place, each in enumerate(utterances)}
    return sorted(index, key=lambda each: order[each["utterance"]]), arrays


def _trace(reader: FrameReader, parts: Sequence[Part], followed: BestUnit) -> tuple[NDArray[np.float32], float | None]:
    """Time, activation and target, (3, frames), and their correlation, None where there is none."""
    for group, part in zip(reader.groups, parts, strict=True):
        first = 0
        for layer in group.layers:
            if layer.name == followed.layer:
                column = TARGETS.index(followed.target)
                valid = part.prosody.valid[:, column]
                activation = part.units[first + followed.number]
                target = np.where(valid, part.prosody.values[:, column], np.nan)
                times_s = np.arange(len(activation)) / group.rate_hz
                r = correlations(activation[None, valid], target[None, valid])[0, 0]
                drawn = np.stack([times_s, activation, target]).astype(np.float32)
                return drawn, None if np.isnan(r) else round(float(r), 4)
            first += layer.width
    raise AssertionError("the table names layers that there are")
