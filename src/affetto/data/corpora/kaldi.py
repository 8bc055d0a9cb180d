"""Kaldi data folders: ``text``, ``wav.scp``, ``utt2spk`` and perhaps ``segments``; alone or parted.

The layout: https://kaldi-asr.org/doc/data_prep.html
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from affetto.data.corpora.corpus import Corpus, Found, Skipped
from affetto.data.corpora.files import AudioFolders, read_lines, read_table
from affetto.data.utterance import Utterance

PARTITIONS = ("train", "dev", "valid", "validation", "eval", "test")  # Folder names of official parts


class Segment(NamedTuple):
    """Where an utterance lies: seconds into a recording; an end of None is the recording's."""

    recording: str
    start_s: float
    end_s: float | None


def read(path: Path) -> Iterator[Found]:
    """Reads one data folder, or all the parts in a folder.

    Paths in ``wav.scp`` are taken relative to the folder around the data folder, then to the data folder itself.
    Piped commands in ``wav.scp`` are never run: their utterances are skipped.
    """
    audio = AudioFolders()
    for folder in _data_folders(path):
        yield from _read_data_folder(folder, audio)


def _data_folders(path: Path) -> list[Path]:
    return [folder for folder in (path, *(path / name for name in PARTITIONS)) if (folder / "wav.scp").is_file()]


def _read_data_folder(folder: Path, audio: AudioFolders) -> Iterator[Found]:
    partition = folder.name if folder.name in PARTITIONS else None
    corpus = folder.absolute().parent.name if partition else folder.absolute().name
    texts, speakers, recordings = (read_table(folder / name) for name in ("text", "utt2spk", "wav.scp"))
    skipped: list[Skipped] = []
    segments = _read_segments(folder / "segments", recordings, skipped)
    yield from skipped
    for name in sorted(texts.keys() | segments.keys()):
        segment = segments.get(name)
        source = recordings.get(segment.recording, "") if segment else ""
        found = audio.find(folder.parent / source) or audio.find(folder / source)
        if source.endswith("|"):
            yield Skipped(name, "piped command, not run")
        elif segment is None or not source or found is None:
            yield Skipped(name, "audio missing")
        elif not texts.get(name):
            yield Skipped(name, "no transcript")
        elif not speakers.get(name):
            yield Skipped(name, "no speaker")
        else:
            yield Utterance(
                id=name,
                audio=found,
                speaker=speakers[name],
                corpus=corpus or CORPUS.name,
                start_s=segment.start_s,
                end_s=segment.end_s,
                text=texts[name],
                partition=partition,
            )


def _read_segments(path: Path, recordings: dict[str, str], skipped: list[Skipped]) -> dict[str, Segment]:
    """Utterance -> segment; every recording is one utterance where there is no such file."""
    if not path.is_file():
        return {name: Segment(name, 0.0, None) for name in recordings}
    segments: dict[str, Segment] = {}
    for number, line in read_lines(path):
        try:
            name, recording, start, end = line.split()
            segments[name] = _segment(recording, float(start), float(end))
        except ValueError:
            skipped.append(Skipped(f"{path.name}:{number}", "malformed segment"))
    return segments


def _segment(recording: str, start_s: float, end_s: float) -> Segment:
    """An end of -1 is the recording's; raises ValueError where the times are none."""
    if not (0 <= start_s < math.inf and (start_s < end_s < math.inf or end_s == -1)):
        raise ValueError(f"{start_s} to {end_s}")
    return Segment(recording, start_s, None if end_s == -1 else end_s)


CORPUS = Corpus(
    name="kaldi",
    title="Kaldi data folder",
    licence="that of the corpus described",
    citation="Povey et al. (2011), The Kaldi Speech Recognition Toolkit (for the layout)",
    detect=lambda path: bool(_data_folders(path)),
    read=read,
)
