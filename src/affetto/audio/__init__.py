"""Any sound file to 16 kHz mono float32, and back to FLAC or through a lossy codec; nothing else opens one."""

from affetto.audio.decoding import SAMPLE_RATE, AudioInfo, duration, info, load, stream
from affetto.audio.mixing import Centre, Channels, full_scale, tracks
from affetto.audio.opening import PROGRAM_SUFFIXES, SOUND_SUFFIXES, SUFFIXES
from affetto.audio.program import HIGHEST_RATE, LOWEST_RATE
from affetto.audio.writing import G711, Codec, mp3, opus, recode, write_flac

__all__ = [
    "G711",
    "HIGHEST_RATE",
    "LOWEST_RATE",
    "PROGRAM_SUFFIXES",
    "SAMPLE_RATE",
    "SOUND_SUFFIXES",
    "SUFFIXES",
    "AudioInfo",
    "Centre",
    "Channels",
    "Codec",
    "duration",
    "full_scale",
    "info",
    "load",
    "mp3",
    "opus",
    "recode",
    "stream",
    "tracks",
    "write_flac",
]
