"""LJ Speech: ``wavs/`` and ``metadata.csv``, one reader.

https://keithito.com/LJ-Speech-Dataset
"""

from __future__ import annotations

from pathlib import Path

from affetto.data.corpora.corpus import Corpus, Parsed, Skipped, collect
from affetto.data.corpora.files import AudioFolders, read_lines
from affetto.data.utterance import Utterance

SPEAKER = "LJ"


def detect(path: Path) -> bool:
    """Whether a path is an LJ Speech folder."""
    return (path / "metadata.csv").is_file() and (path / "wavs").is_dir()


def parse(path: Path) -> Parsed:
    """Reads ``id|text|normalised text``; the normalised text, where numbers are spelt out, is what is said.

    Raises:
        CorpusError: the list is missing or is not UTF-8.
    """
    audio, utterances, skipped = AudioFolders(), [], []
    for number, line in read_lines(path / "metadata.csv"):
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) not in (2, 3) or not cells[0]:
            skipped.append(Skipped(f"metadata.csv:{number}", "malformed line"))
            continue
        found = audio.find(path / "wavs" / cells[0])
        text = cells[-1] or cells[1]
        if not text:
            skipped.append(Skipped(cells[0], "no transcript"))
        elif found is None:
            skipped.append(Skipped(cells[0], "audio missing"))
        else:
            utterances.append(Utterance(id=cells[0], audio=found, speaker=SPEAKER, corpus=CORPUS.name, text=text))
    return collect(CORPUS.name, path, utterances, skipped)


CORPUS = Corpus(
    name="lj_speech",
    title="LJ Speech",
    licence="public domain",
    citation="Ito and Johnson (2017), The LJ Speech Dataset",
    detect=detect,
    parse=parse,
)
