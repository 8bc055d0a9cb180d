"""What frozen networks and feature extractors compute of every utterance, computed once and kept on disk."""

from affetto.represent.bank import Bank
from affetto.represent.cache import Progress, Variants, represent
from affetto.represent.extractors import Acoustics, Extractor, Functionals, Inputs, Layers

__all__ = ["Acoustics", "Bank", "Extractor", "Functionals", "Inputs", "Layers", "Progress", "Variants", "represent"]
