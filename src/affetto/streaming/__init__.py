"""Recordings of any length and number, recognised in batches of like segments, in bounded memory and in order."""

from affetto.streaming.batches import Failure, Piece, StreamResult, listen
from affetto.streaming.sources import Deferred, Samples, Source, Stretch, blocks, label, sound_files

__all__ = [
    "Deferred",
    "Failure",
    "Piece",
    "Samples",
    "Source",
    "StreamResult",
    "Stretch",
    "blocks",
    "label",
    "listen",
    "sound_files",
]
