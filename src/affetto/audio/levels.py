"""Which value stands for full scale, where samples are plainly not of the scale that their type says."""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)

_USUAL_BITS = (16, 24, 32)
_SILENT = 2.0**-16
_BEYOND = 4.0  # so far floats may go beyond their full scale
_LOUDEST_FLOAT = 256.0  # times full scale; sound that was divided by its deviation is much softer


def full_scale(peak: float, usual: float, where: object) -> float:
    """That of the type, unless the values can only be those of a narrower one, which is said in a warning.

    Args:
        peak: the largest absolute value.
        usual: full scale of the type: 1 for floats.
        where: what the warning calls the sound.

    >>> full_scale(0.7, 1.0, "a.wav"), full_scale(30_000, 2.0**31, "a.wav"), full_scale(30_000, 1.0, "a.wav")
    (1.0, 32768.0, 32768.0)
    >>> full_scale(1.5, 1.0, "a.wav"), full_scale(1e9, 2.0**31, "a.wav"), full_scale(5e6, 2.0**63, "a.wav")
    (1.0, 2147483648.0, 8388608.0)
    """
    beyond = _BEYOND if usual == 1 else 1.0
    bits = next((bits for bits in _USUAL_BITS if peak <= beyond * 2.0 ** (bits - 1)), 0)
    # As what their type says, such integers would be silence, and such floats far beyond full scale.
    doubtful = peak > _LOUDEST_FLOAT if usual == 1 else 0 < peak <= usual * _SILENT
    if not (doubtful and bits):
        return usual
    remedy = "if they are not, scale them to the range of their type"
    logger.warning("%s: values up to %.0f are taken for %d-bit samples; %s", where, peak, bits, remedy)
    return 2.0 ** (bits - 1)
