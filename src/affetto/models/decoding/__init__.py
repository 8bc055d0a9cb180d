"""From the recogniser's character probabilities to text, its words, their times and how sure they are."""

from affetto.models.decoding.beam import BeamConfig, beam_search
from affetto.models.decoding.decoder import Decoder, DecoderChoice, find_decoder
from affetto.models.decoding.paths import greedy
from affetto.models.decoding.word_search import WordBeamConfig, WordSearch, load_word_model

__all__ = [
    "BeamConfig",
    "Decoder",
    "DecoderChoice",
    "WordBeamConfig",
    "WordSearch",
    "beam_search",
    "find_decoder",
    "greedy",
    "load_word_model",
]
