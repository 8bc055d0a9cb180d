"""Recordings of any length and number, heard in batches of like segments, in bounded memory and in order."""

from affetto.streaming.batches import Failure, Heard, Piece, listen
from affetto.streaming.overlap import Chunk, Overlap, overlapping
from affetto.streaming.sources import Samples, Source, Stretch, Watched, blocks, label, sound_files

__all__ = [
    "Chunk",
    "Failure",
    "Heard",
    "Overlap",
    "Piece",
    "Samples",
    "Source",
    "Stretch",
    "Watched",
    "blocks",
    "label",
    "listen",
    "overlapping",
    "sound_files",
]
