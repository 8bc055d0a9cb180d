"""What frozen networks and feature extractors compute of every utterance, computed once and kept on disk."""

from affetto.represent.bank import Bank, SpeakersOwn
from affetto.represent.cache import (
    Acoustics,
    Extractor,
    Functionals,
    Inputs,
    Layers,
    Progress,
    Variants,
    Words,
    represent,
)

__all__ = [
    "Acoustics",
    "Bank",
    "Extractor",
    "Functionals",
    "Inputs",
    "Layers",
    "Progress",
    "SpeakersOwn",
    "Variants",
    "Words",
    "represent",
]
