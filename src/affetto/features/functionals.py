"""Functionals: one vector for a whole utterance, statistics of many low-level descriptors, computed by openSMILE.

They are the competitor that representations have to beat, never a part of affetto's own models, for openSMILE is
licensed for research and private use. Sources: F. Eyben et al. (2016), The Geneva Minimalistic Acoustic Parameter Set
(GeMAPS) for voice research and affective computing, IEEE Transactions on Affective Computing 7(2), 190-202; B. Schuller
et al. (2016), The INTERSPEECH 2016 Computational Paralinguistics Challenge, Proc. Interspeech, 2001-2005.
"""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from affetto.audio import SAMPLE_RATE
from affetto.errors import MissingExtraError
from affetto.frames import Frames, Waves

# The extended Geneva minimalistic set, and the large set of the ComParE challenges.
FeatureSet = Literal["eGeMAPSv02", "ComParE_2016"]
WIDTHS: dict[FeatureSet, int] = {"eGeMAPSv02": 88, "ComParE_2016": 6373}  # Functionals an utterance
SHORTEST_SAMPLES = 960  # 60 ms, openSMILE's longest window: of less it computes nothing
_HIGHEST = 32767 / 32768  # openSMILE reads 16 bits, and wraps what is above: full scale would become its opposite.


def available() -> bool:
    """Whether openSMILE is installed."""
    return importlib.util.find_spec("opensmile") is not None


def functionals(waves: Waves, feature_set: FeatureSet) -> Frames:
    """Computes openSMILE's functionals, one frame an utterance, (batch, 1, width), on as many threads as torch may use.

    A recording under 60 ms is prolonged by silence, samples beyond full scale are clipped, and a functional that is not
    a finite number (a ratio over nothing) is 0. Raises MissingExtraError where openSMILE is not installed.
    """
    smile = _smile(feature_set)

    def extract(wave: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(smile(wave[None], SAMPLE_RATE), dtype=np.float32).reshape(WIDTHS[feature_set])

    # openSMILE computes outside Python's lock, each recording in an instance of its own.
    with ThreadPoolExecutor(max_workers=torch.get_num_threads()) as threads:
        sounds = (
            functional.pad(sound[:length], (0, max(0, SHORTEST_SAMPLES - length))).numpy()
            for sound, length in zip(waves.values.clamp(-1.0, _HIGHEST).cpu(), waves.lengths.tolist(), strict=True)
        )
        rows = np.stack(list(threads.map(extract, sounds)))
    values = torch.from_numpy(np.nan_to_num(rows, nan=0.0, posinf=0.0, neginf=0.0))
    return Frames(values[:, None].to(waves.values.device), torch.ones_like(waves.lengths))


@lru_cache(maxsize=2)
def _smile(feature_set: FeatureSet) -> Any:
    """The extractor, made once a process: making it reads some hundred lines of configuration."""
    try:
        import opensmile
    except ImportError as error:
        raise MissingExtraError("opensmile is not installed", 'pip install "affetto[classical]"') from error
    return opensmile.Smile(feature_set=opensmile.FeatureSet[feature_set], feature_level="func", num_workers=1)
