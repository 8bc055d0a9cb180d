"""Decoded sound, kept on disk: 16-bit samples of many utterances in one file, mapped into memory.

Reading it costs next to nothing beside decoding mp3 or opus in each epoch; an hour of speech takes 115 MB.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from affetto.data.transcribed import Transcribed, read_sound
from affetto.errors import AudioError, TrainingError

logger = logging.getLogger(__name__)

_FULL_SCALE = 2**15


class SoundCache:
    """Utterances' samples in one file.

    Args:
        samples: of all utterances, one after the other, int16.
        places: what an utterance is found by -> its first sample and the one after its last.
    """

    def __init__(self, samples: NDArray[np.int16], places: dict[str, tuple[int, int]]) -> None:
        self.samples = samples
        self.places = places

    @classmethod
    def make(cls, folder: Path, items: Sequence[Transcribed]) -> Self:
        """Decodes the sound of utterances, or opens what was decoded before.

        What cannot be read is left out with a warning, and read from its own file when asked for. The sound lies in a
        file that is named by the utterances, their files' sizes and times: others get another one.

        Args:
            folder: where to keep it.
            items: the utterances.

        Raises:
            TrainingError: it cannot be written.
        """
        name = hashlib.sha256("\n".join(sorted(map(_key, items))).encode()).hexdigest()[:16]
        path, index = folder / f"{name}.int16", folder / f"{name}.json"
        if not (path.exists() and index.exists()):
            draft = folder / f"{name}.{uuid.uuid4().hex}.partial"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                logger.info("decoding %d utterances into %s", len(items), path)
                places = _write(draft, items)
                _replace(draft, path)
                draft.write_text(json.dumps(places), encoding="utf-8")
                _replace(draft, index)
            except OSError as error:
                raise TrainingError(
                    f"decoded sound cannot be kept ({error.strerror})", "make room, or set cache_sound = false", path
                ) from error
            finally:
                draft.unlink(missing_ok=True)
        found = {key: (start, end) for key, (start, end) in json.loads(index.read_text(encoding="utf-8")).items()}
        samples = np.memmap(path, dtype="<i2", mode="r") if found else np.zeros(0, np.int16)
        return cls(samples, found)

    def read(self, item: Transcribed) -> Tensor:
        """The sound of an utterance: (samples,), float32.

        Raises:
            AudioError: it was left out, and still cannot be read.
        """
        place = self.places.get(_key(item))
        if place is None:
            return read_sound(item)
        return torch.from_numpy(self.samples[slice(*place)].astype(np.float32)) / _FULL_SCALE


def _key(item: Transcribed) -> str:
    utterance = item.utterance
    try:
        stat = utterance.audio.stat()
        state: tuple[int, ...] = (stat.st_size, stat.st_mtime_ns)
    except OSError:
        state = ()
    return json.dumps([str(utterance.audio.resolve()), utterance.start_s, utterance.end_s, *state])


def _write(path: Path, items: Sequence[Transcribed]) -> dict[str, tuple[int, int]]:
    places: dict[str, tuple[int, int]] = {}
    end = 0
    with path.open("wb") as file, ThreadPoolExecutor() as pool:
        for start in range(0, len(items), 256):  # so many in memory at once
            some = items[start : start + 256]
            for item, sound in zip(some, pool.map(_decode, some), strict=True):
                if sound is not None:
                    file.write(sound.tobytes())
                    places[_key(item)] = (end, end + len(sound))
                    end += len(sound)
    return places


def _decode(item: Transcribed) -> NDArray[np.int16] | None:
    try:
        wave = read_sound(item).numpy()
    except AudioError as error:
        logger.warning("left out: %s", error)
        return None
    coarse: NDArray[np.int16] = np.clip(np.rint(wave * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1).astype("<i2")
    return coarse


def _replace(draft: Path, path: Path) -> None:
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(path)
