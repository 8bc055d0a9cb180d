"""Recordings of any length and number, heard in batches of like segments, in bounded memory and in order."""

from affetto.streaming.batches import Failure, Piece, StreamResult, listen
from affetto.streaming.overlap import Chunk, Overlap, overlapping
from affetto.streaming.sources import Deferred, Samples, Source, Stretch, Watched, blocks, label, sound_files

__all__ = [
    "Chunk",
    "Deferred",
    "Failure",
    "Overlap",
    "Piece",
    "Samples",
    "Source",
    "StreamResult",
    "Stretch",
    "Watched",
    "blocks",
    "label",
    "listen",
    "overlapping",
    "sound_files",
]
