"""LJ Speech: ``wavs/`` and ``metadata.csv``, one reader.

https://keithito.com/LJ-Speech-Dataset
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from affetto.data.corpora.corpus import Corpus, Found, Skipped
from affetto.data.corpora.files import read_lines
from affetto.data.utterance import Utterance

SPEAKER = "LJ"


def read(path: Path) -> Iterator[Found]:
    """Reads ``id|text|normalised text``; the normalised text, where numbers are spelt out, is what is said."""
    for number, line in read_lines(path / "metadata.csv"):
        name, *cells = (cell.strip() for cell in line.split("|"))
        text = next(filter(None, reversed(cells)), "")
        if len(cells) not in (1, 2) or not name:
            yield Skipped(f"metadata.csv:{number}", "malformed line")
        elif not text:
            yield Skipped(name, "no transcript")
        else:
            yield Utterance(id=name, audio=path / "wavs" / name, speaker=SPEAKER, corpus=CORPUS.name, text=text)


CORPUS = Corpus(
    name="lj_speech",
    title="LJ Speech",
    licence="public domain",
    citation="Ito and Johnson (2017), The LJ Speech Dataset",
    detect=lambda path: (path / "metadata.csv").is_file() and (path / "wavs").is_dir(),
    read=read,
    language="en",
)
