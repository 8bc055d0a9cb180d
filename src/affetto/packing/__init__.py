"""Makes a model folder out of trainings: small weights, and a model card that says what was measured."""

from affetto.packing.card import read_evaluation, write_card
from affetto.packing.folder import pack_head, pack_language_model, pack_recogniser, pack_run

__all__ = ["pack_head", "pack_language_model", "pack_recogniser", "pack_run", "read_evaluation", "write_card"]
