"""Recordings of any length and number, heard in batches of like segments, in bounded memory and in order."""

from affetto.streaming.batches import Failure, Heard, Piece, listen
from affetto.streaming.sources import Samples, Source, Stretch, Watched, sound_files

__all__ = ["Failure", "Heard", "Piece", "Samples", "Source", "Stretch", "Watched", "listen", "sound_files"]
