"""Kaldi data folders: ``text``, ``wav.scp``, ``utt2spk`` and perhaps ``segments``; alone or parted.

The layout: https://kaldi-asr.org/doc/data_prep.html
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from affetto.data.corpora.corpus import Corpus, Parsed, Skipped, collect
from affetto.data.corpora.files import AudioFolders, read_lines
from affetto.data.utterance import Utterance

PARTITIONS = ("train", "dev", "valid", "validation", "eval", "test")
"""Folder names of official parts."""


class Segment(NamedTuple):
    """Where an utterance lies: seconds into a recording; an end of None is the recording's."""

    recording: str
    start_s: float
    end_s: float | None


def detect(path: Path) -> bool:
    """Whether a path is a data folder or holds parted ones."""
    return bool(_data_folders(path))


def parse(path: Path) -> Parsed:
    """Reads one data folder, or all the parts in a folder.

    Paths in ``wav.scp`` are taken relative to the folder around the data folder, then to the data folder itself.
    Piped commands in ``wav.scp`` are never run: their utterances are skipped.

    Raises:
        CorpusError: a list is missing or is not UTF-8.
    """
    skipped: list[Skipped] = []
    audio = AudioFolders()
    utterances = [
        utterance for folder in _data_folders(path) for utterance in _read_data_folder(folder, audio, skipped)
    ]
    return collect(CORPUS.name, path, utterances, skipped)


def _data_folders(path: Path) -> list[Path]:
    return [folder for folder in (path, *(path / name for name in PARTITIONS)) if (folder / "wav.scp").is_file()]


def _read_data_folder(folder: Path, audio: AudioFolders, skipped: list[Skipped]) -> Iterator[Utterance]:
    partition = folder.name if folder.name in PARTITIONS else None
    corpus = folder.absolute().parent.name if partition else folder.absolute().name
    texts = _read_table(folder / "text")
    speakers = _read_table(folder / "utt2spk")
    recordings = _read_table(folder / "wav.scp")
    segments = _read_segments(folder / "segments", recordings, skipped)
    for utterance_id in sorted(texts.keys() | segments.keys()):
        segment = segments.get(utterance_id)
        source = recordings.get(segment.recording, "") if segment else ""
        found = None if source.endswith("|") else _find(source, folder, audio)
        text, speaker = texts.get(utterance_id, ""), speakers.get(utterance_id, "")
        if source.endswith("|"):
            skipped.append(Skipped(utterance_id, "piped command, not run"))
        elif segment is None or found is None:
            skipped.append(Skipped(utterance_id, "audio missing"))
        elif not text:
            skipped.append(Skipped(utterance_id, "no transcript"))
        elif not speaker:
            skipped.append(Skipped(utterance_id, "no speaker"))
        else:
            yield Utterance(
                id=utterance_id,
                audio=found,
                speaker=speaker,
                corpus=corpus or CORPUS.name,
                start_s=segment.start_s,
                end_s=segment.end_s,
                text=text,
                partition=partition,
            )


def _find(source: str, folder: Path, audio: AudioFolders) -> Path | None:
    if not source:
        return None
    return audio.find(folder.parent / source) or audio.find(folder / source)


def _read_table(path: Path) -> dict[str, str]:
    """First word -> the rest of the line, "" where there is none."""
    pairs = (line.split(maxsplit=1) for _, line in read_lines(path))
    return {words[0]: words[1].strip() if len(words) > 1 else "" for words in pairs}


def _read_segments(path: Path, recordings: dict[str, str], skipped: list[Skipped]) -> dict[str, Segment]:
    """Utterance -> segment; every recording is one utterance where there is no such file."""
    if not path.is_file():
        return {name: Segment(name, 0.0, None) for name in recordings}
    segments: dict[str, Segment] = {}
    for number, line in read_lines(path):
        words = line.split()
        segment = _segment(words)
        if segment is None:
            skipped.append(Skipped(f"{path.name}:{number}", "malformed segment"))
        else:
            segments[words[0]] = segment
    return segments


def _segment(words: list[str]) -> Segment | None:
    """A segment from "utterance recording start end"; an end of -1 is the recording's."""
    try:
        _, recording, start, end = words
        start_s, end_s = float(start), float(end)
    except ValueError:
        return None
    if not (math.isfinite(start_s) and math.isfinite(end_s) and start_s >= 0 and (end_s > start_s or end_s == -1)):
        return None
    return Segment(recording, start_s, None if end_s == -1 else end_s)


CORPUS = Corpus(
    name="kaldi",
    title="Kaldi data folder",
    licence="that of the corpus described",
    citation="Povey et al. (2011), The Kaldi Speech Recognition Toolkit (for the layout)",
    detect=detect,
    parse=parse,
)
